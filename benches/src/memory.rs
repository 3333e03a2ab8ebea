//! How much memory a running job takes at most, in a process of its own.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::measure::peak_memory;
use crate::report::{Goal, Section, number};
use crate::{CHILD, Size, job};

/// What runs: its name in the table, and its script.
const JOBS: [&str; 2] = ["twelve columns", "the demo's indicators, bars and alerts"];

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let count = size.rows(3_000_000).to_string();
    let mut section = Section::default();
    section.say(format!(
        "The most memory that was resident (`VmHWM`) in a process with nothing but the job: \
         {count} rows of the market simulator, 1,000 symbols, as fast as they go, with the log on \
         disk; rows of the first go nowhere, those of the demo into Parquet, its input is recorded."
    ));
    let mut lines = vec![];
    for name in JOBS {
        let program = std::env::current_exe()?;
        let output = Command::new(program)
            .args([CHILD, "memory", name, &count])
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "the process of '{name}' failed: {errors}"
        );
        let bytes: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        let megabytes = bytes / 1e6;
        lines.push(vec![name.to_owned(), number(megabytes)]);
        section.goal(Goal::at_most(name, megabytes, 150.0, " MB"));
    }
    section.table(&["job", "MB"], &lines);
    Ok(section)
}

/// Runs a job to its end and prints the peak in bytes.
pub fn child(arguments: &[String]) -> Result<()> {
    let [name, count] = arguments else {
        bail!("the process of 'memory' is given a job and how many rows");
    };
    let count: usize = count.parse().context("how many rows")?;
    let folder = tempfile::tempdir()?;
    let graph = if name == JOBS[0] {
        let source = job::market("max", Some(count));
        job::compile(&job::twelve(&source, job::BLACKHOLE), &[])?
    } else {
        let mut options = job::demo_options(folder.path());
        options.extend([
            "trades.symbols=1000".to_owned(),
            "trades.rate=max".to_owned(),
            "trades.late.ratio=0".to_owned(),
            format!("trades.rows={count}"),
        ]);
        job::compile(job::DEMO, &options)?
    };
    job::finish(&job::runtime()?, &graph, &folder.path().join("log"))?;
    writeln!(std::io::stdout(), "{}", peak_memory("self")?)?;
    Ok(())
}
