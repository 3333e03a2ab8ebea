//! `benches [NAME…] [--quick] [--out FILE]`: runs benchmarks, prints them as Markdown.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use benches::{ALL, Benchmark, CHILD, Size, machine, report};
use mimalloc::MiMalloc;

/// That of the `millstream` program; every contestant has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What was asked for.
struct Request {
    benchmarks: Vec<Benchmark>,
    size: Size,
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, rest @ ..] = arguments.as_slice()
        && flag == CHILD
    {
        return benches::child(name, rest);
    }
    let request = read(&arguments)?;
    let machine = format!("{}, {}", machine::line(), machine::day());
    let mut sections = vec![];
    let mut failed = vec![];
    for (name, run) in request.benchmarks {
        let mut command = format!("make bench BENCH={name}");
        if request.size == Size::Quick {
            command = format!("make bench BENCH='{name} --quick'");
        }
        if cfg!(debug_assertions) {
            command.push_str(" (in a build that is not optimised)");
        }
        let mut stdout = std::io::stdout();
        match run(request.size) {
            Ok(section) => {
                let text = section.markdown(name, &command, &machine);
                write!(stdout, "{text}")?;
                stdout.flush()?;
                sections.push((name, text));
            }
            Err(error) => {
                writeln!(stdout, "## {name}\n\nfailed: {error:#}\n")?;
                failed.push(name);
            }
        }
    }
    if let Some(out) = request.out {
        let before = match std::fs::read_to_string(&out) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| out.display().to_string()),
        };
        let names = ALL.map(|(name, _)| name);
        let text = report::merged(&before, &names, &sections);
        std::fs::write(&out, text).with_context(|| out.display().to_string())?;
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!("these benchmarks failed: {}", failed.join(", ")),
    }
}

fn read(arguments: &[String]) -> Result<Request> {
    let mut request = Request {
        benchmarks: vec![],
        size: Size::Full,
        out: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => request.size = Size::Quick,
            "--out" => {
                let path = arguments.next().context("--out needs a file")?;
                request.out = Some(path.into());
            }
            name => {
                let names = ALL.map(|(name, _)| name).join(", ");
                let known = ALL.into_iter().find(|(known, _)| *known == name);
                let unknown = || format!("no benchmark is called '{name}'; there are {names}");
                request.benchmarks.push(known.with_context(unknown)?);
            }
        }
    }
    if request.benchmarks.is_empty() {
        request.benchmarks = ALL.to_vec();
    }
    Ok(request)
}
