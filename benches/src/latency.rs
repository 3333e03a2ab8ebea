//! How long a row is under way in a live job, and how soon a killed job goes on.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use engine::Graph;
use engine::runtime::status::State;

use crate::report::{Goal, Section, number};
use crate::{CHILD, Size, job};

/// Rows a second of a live market.
const LIVE: &str = "20000";
/// The feeds of the jobs that are killed. One cannot be read twice, so its rows are in the log;
/// the other is asked again, and gives its rows as fast as they are taken: at a rate, it would
/// take as long for them as it did before.
fn feeds() -> [(&'static str, String); 2] {
    let live = format!("{}, 'start' = 'now'", job::market("200000", None));
    let again = job::market("max", None);
    [
        ("200,000 rows/s, kept in the log", live),
        ("as fast as it goes, asked again", again),
    ]
}

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let mut section = Section::default();
    live(&mut section, size)?;
    section.say(
        "A job over 1,000 symbols is killed (SIGKILL) and started again from its log in another \
         process; seconds from reading the script on. A snapshot follows every 2 M rows; what came \
         after it is run again.",
    );
    let mut lines = vec![];
    for (name, source) in feeds() {
        let mut slowest = 0.0_f64;
        for _ in 0..size.rounds() {
            let restart = restart(&source, size)?;
            slowest = slowest.max(restart.first_row);
            lines.push(vec![
                name.to_owned(),
                number(restart.rows as f64 / 1e6),
                number(restart.running),
                number(restart.first_row),
            ]);
        }
        let what = format!("start to first new row, slowest: {name}");
        section.goal(Goal::at_most(what, slowest, 1.0, " s"));
    }
    let heads = [
        "feed",
        "M rows before",
        "until it runs",
        "until the first new row",
    ];
    section.table(&heads, &lines);
    Ok(section)
}

fn graph(source: &str) -> Result<Arc<Graph>> {
    job::compile(&job::twelve(source, job::BLACKHOLE), &[])
}

/// The job's own histogram of a live run.
fn live(section: &mut Section, size: Size) -> Result<()> {
    let (graph, folder) = (graph(&job::market(LIVE, None))?, tempfile::tempdir()?);
    let status = job::runtime()?.block_on(async {
        let mut job = job::start(&graph, folder.path())?;
        tokio::time::sleep(Duration::from_secs_f64(size.seconds(10.0))).await;
        job.stop();
        job.wait().await?;
        anyhow::Ok(job.status())
    })?;
    let milliseconds = |share| {
        let nanoseconds = status
            .latency
            .quantile(share)
            .context("no row left the graph")?;
        anyhow::Ok(nanoseconds as f64 / 1e6)
    };
    section.say(format!(
        "The market simulator, {LIVE} rows/s of 1,000 symbols, through the twelve columns of \
         `over`, a commit every second, {} rows. From a batch's arrival at the intake until its \
         rows leave the graph; what the feed itself gathers (10 ms) comes before.",
        status.targets[0].rows
    ));
    let quantiles = [0.5, 0.99, 0.999].map(milliseconds);
    let lines = quantiles.into_iter().map(|ms| Ok(number(ms?)));
    section.table(
        &["p50 ms", "p99 ms", "p99.9 ms"],
        &[lines.collect::<Result<_>>()?],
    );
    Ok(())
}

/// What a restart took, in seconds.
struct Restart {
    rows: u64,
    running: f64,
    first_row: f64,
}

fn restart(source: &str, size: Size) -> Result<Restart> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy();
    let mut child = Command::new(std::env::current_exe()?)
        .args([CHILD, "latency", source, &path])
        .spawn()?;
    std::thread::sleep(Duration::from_secs_f64(size.seconds(4.0).max(2.5)));
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(
        ended.is_none(),
        "the job ended before it was killed: {ended:?}"
    );
    let started = Instant::now();
    let graph = graph(source)?;
    job::runtime()?.block_on(async {
        let mut job = job::start(&graph, folder.path())?;
        let mut running = None;
        let (first_row, (running, committed, _)) = loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let status = job.status();
            match status.state {
                State::Recovering => {}
                State::Running => {
                    let since = started.elapsed().as_secs_f64();
                    // The figures go on where they were before the kill.
                    let rows = status.targets[0].rows;
                    let running = *running.get_or_insert((since, status.committed, rows));
                    if rows > running.2 {
                        break (since, running);
                    }
                }
                other => bail!("the job that was started again is {other:?}"),
            }
        };
        ensure!(committed.0 > 0, "nothing was committed before the kill");
        let rows = job.status().tables[0].counts.arrived;
        job.stop();
        job.wait().await?;
        Ok(Restart {
            rows,
            running,
            first_row,
        })
    })
}

/// Runs the job until it is killed; or at most a minute.
pub fn child(arguments: &[String]) -> Result<()> {
    let [source, folder] = arguments else {
        bail!("the process of 'latency' is given a feed and a folder");
    };
    job::runtime()?.block_on(async {
        let mut job = job::start(&graph(source)?, Path::new(folder))?;
        let ended = tokio::time::timeout(Duration::from_mins(1), job.wait()).await;
        Ok(ended.unwrap_or(Ok(()))?)
    })
}
