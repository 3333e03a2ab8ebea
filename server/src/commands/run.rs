//! `millstream run`: a job with its log, from its sources to its sinks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::SystemClock;
use engine::runtime::status::State;
use engine::runtime::{Backlog, Job, JobSpec};

use crate::cli;
use crate::exit::Failure;
use crate::folder::{Folder, Past};
use crate::progress::{EVERY, Progress};
use crate::script::{self, Plan, Text};
use crate::supervise::supervise;
use crate::{bind, places, report, terminal};

/// How often results are committed where the script does not say.
const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn run(arguments: &cli::Run) -> Result<(), Failure> {
    let text = Text::read(&arguments.script.file)?;
    let overrides = script::overrides(&arguments.script.options)?;
    let Plan { script, graph, .. } = script::plan_to_run(&text, &overrides)?;
    let data = arguments.data.clone();
    let data = data.unwrap_or_else(|| Path::new("data").join(&text.stem));
    let failed = |error: &engine::Error| {
        Failure::failed(&format!(
            "{} (data folder '{}')",
            error.chain(),
            data.display()
        ))
    };
    let folder = Folder::open(&data).map_err(|error| Failure::run(&error))?;
    if arguments.fresh {
        let removed = folder.clear(&graph).await;
        let removed = removed.map_err(|error| failed(&error))?;
        terminal::say(&told(&removed));
    }
    let past = folder.past().await.map_err(|error| failed(&error))?;
    let name = script.settings.name.as_ref().unwrap_or(&text.stem);
    let owner = folder.owner(name).map_err(|error| failed(&error))?;
    let bindings = bind::live(&graph, &owner, &folder.tables());
    let bindings = bindings.map_err(|error| Failure::input(&error))?;
    bind::declare(&graph).map_err(|error| failed(&error))?;
    let spec = JobSpec {
        graph,
        commit_interval: script.settings.commit_interval.unwrap_or(COMMIT_INTERVAL),
        snapshot_after: Backlog::A_SECOND,
        digests: arguments.digest,
    };
    if past == Past::Nothing {
        for warning in places::behind_their_time(&spec.graph) {
            terminal::say(&warning);
        }
    }
    if past != Past::Finished {
        let stop = match arguments.duration {
            Some(_) => "",
            None => "; Ctrl-C stops it, the same command goes on",
        };
        terminal::say(&format!("job '{name}' in '{}'{stop}", data.display()));
    }
    let mut job = Job::start(spec, bindings, folder.log().clone(), Arc::new(SystemClock));
    let mut progress = Progress::new(None);
    supervise(&mut job, arguments.duration, EVERY, |status| {
        progress.show(status);
    })
    .await?;
    let status = job.status();
    if past == Past::Finished && status.state != State::Finished {
        // What it lacks was told.
        return Ok(());
    }
    if past == Past::Finished {
        terminal::say(&format!(
            "job '{name}' has finished before: all its inputs are at their end; --fresh runs it again"
        ));
        return Ok(());
    }
    terminal::say(
        report::figures_of(&status, progress.elapsed(), past == Past::UnderWay).trim_end(),
    );
    terminal::say(match status.state {
        State::Finished => "finished: all inputs are at their end",
        _ => "stopped: the same command goes on from here",
    });
    Ok(())
}

/// What `--fresh` did.
fn told(removed: &[PathBuf]) -> String {
    let folders = removed
        .iter()
        .map(|folder| format!("'{}'", folder.display()));
    match folders.collect::<Vec<_>>() {
        folders if folders.is_empty() => "starting empty: there was nothing to remove".to_owned(),
        folders => format!(
            "starting empty: removed {}; outputs and recordings stay as they are",
            folders.join(" and ")
        ),
    }
}
