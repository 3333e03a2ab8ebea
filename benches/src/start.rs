//! How soon the demo shows its first row.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::report::{Goal, Section, number};
use crate::{CHILD, Size, job};

/// What the demo says about itself where its output is no terminal.
const SAYS: &str = "first row after ";

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let mut section = Section::default();
    let job = times(size, first_row)?;
    section.say(
        "*The job alone*: a new process reads `demo.sql`, starts it and says so when its first \
         row has left the graph, measured from outside. *The demo*: what `millstream demo` itself \
         says, from its start to the first row on the screen.",
    );
    let mut lines = vec![line("the job alone", &job)];
    let program = std::env::current_exe()?.with_file_name("millstream");
    if program.exists() {
        let demo = times(size, || demo(&program))?;
        lines.push(line("the demo", &demo));
        section.goal(Goal::at_most(
            "start to first row of the demo",
            demo[demo.len() / 2],
            0.5,
            " s",
        ));
    } else {
        lines.push(vec![
            "the demo".to_owned(),
            "not measured: build it with `cargo build --release --bin millstream`".to_owned(),
        ]);
        section.goal(Goal::at_most(
            "start to first row of the job",
            job[job.len() / 2],
            0.5,
            " s",
        ));
    }
    section.table(&["", "seconds, best / median"], &lines);
    Ok(section)
}

fn line(name: &str, times: &[f64]) -> Vec<String> {
    let [best, median] = [times[0], times[times.len() / 2]].map(number);
    vec![name.to_owned(), format!("{best} / {median}")]
}

fn times(size: Size, run: impl Fn() -> Result<f64>) -> Result<Vec<f64>> {
    let mut times = (0..size.rounds())
        .map(|_| run())
        .collect::<Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Seconds until a new process has its first row.
fn first_row() -> Result<f64> {
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args([CHILD, "start"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    let seconds = started.elapsed().as_secs_f64();
    let status = child.wait()?;
    ensure!(
        status.success() && line == "row\n",
        "the process failed: {line}"
    );
    Ok(seconds)
}

/// Seconds that the demo names.
fn demo(program: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(program)
        .args(["demo", "--duration", "3s", "--data"])
        .arg(folder.path().join("demo"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the demo failed: {errors}");
    let said = text.split(SAYS).nth(1);
    let said = said.and_then(|said| said.lines().next());
    let said = said.with_context(|| format!("the demo does not say '{SAYS}…': {text}"))?;
    let duration = sql::catalog::parse_duration(said.trim());
    Ok(duration
        .with_context(|| format!("'{said}' is no duration"))?
        .as_secs_f64())
}

/// Runs the demo's job until its first row.
pub fn child() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let graph = job::compile(job::DEMO, &job::demo_options(folder.path()))?;
    job::runtime()?.block_on(async {
        let mut job = job::start(&graph, &folder.path().join("log"))?;
        let started = Instant::now();
        while job.status().targets.iter().all(|target| target.rows == 0) {
            ensure!(started.elapsed() < Duration::from_secs(30), "no row came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut stdout = std::io::stdout();
        writeln!(stdout, "row")?;
        stdout.flush()?;
        job.stop();
        Ok(job.wait().await?)
    })
}
