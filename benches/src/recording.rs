//! A job with its input recorded, and the same without.

use anyhow::Result;

use crate::Size;
use crate::job;
use crate::measure::{Sample, Scope, contest, contestant, sample};
use crate::report::Section;

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let count = size.rows(2_000_000);
    let runtime = job::runtime()?;
    let measured = |archived: bool| -> Result<Sample> {
        let folder = tempfile::tempdir()?;
        let mut source = job::market("max", Some(count));
        if archived {
            let path = folder.path().join("recording");
            source = format!("{source}, 'archive' = '{}'", path.display());
        }
        let graph = job::compile(&job::twelve(&source, job::BLACKHOLE), &[])?;
        sample(Scope::Process, count, || {
            job::finish(&runtime, &graph, &folder.path().join("log")).map(drop)
        })
    };
    let off = contestant("recording off", || measured(false));
    let on = contestant("recording on", || measured(true));
    let series = contest(size.rounds(), vec![off, on])?;
    let mut section = Section::default();
    section.say(
        "The market simulator, 1,000 symbols, as fast as it goes, through the twelve columns of \
         `over` into a sink that forgets; with `archive` every row goes into the log and from \
         there into Parquet (zstd). The log is on disk, a commit every second. This is the cost of \
         a recorded row as such: a row of the simulator costs next to nothing else. What it adds \
         to a job that reads messages is in `kafka`.",
    );
    section.compare("rows", &series);
    Ok(section)
}
