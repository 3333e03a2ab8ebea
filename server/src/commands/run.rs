//! `millstream run`: a job with its log, from its sources to its sinks.

use std::path::{Path, PathBuf};

use engine::runtime::status::State;

use crate::cli;
use crate::exit::Failure;
use crate::folder::{Folder, Past};
use crate::launch::{Grounded, Launch};
use crate::progress::{EVERY, Progress};
use crate::script::{self, Text};
use crate::supervise::supervise;
use crate::{bind, report, terminal};

pub(super) async fn run(arguments: &cli::Run) -> Result<(), Failure> {
    let text = Text::read(&arguments.script.file)?;
    let overrides = script::overrides(&arguments.script.options)?;
    let plan = script::plan_to_run(&text, &overrides)?;
    bind::refuse_pushed(&plan.graph).map_err(|error| Failure::input(&error))?;
    let data = arguments.data.clone();
    let data = data.unwrap_or_else(|| Path::new("data").join(&text.stem));
    let failed = |error: &engine::Error| {
        Failure::failed(&format!(
            "{} (data folder '{}')",
            error.chain(),
            data.display()
        ))
    };
    let folder = match arguments.take_over {
        true => Folder::take_over(&data),
        false => Folder::open(&data),
    };
    let folder = folder.map_err(|error| Failure::run(&error))?;
    if arguments.fresh {
        let removed = folder.clear(&plan.graph).await;
        let removed = removed.map_err(|error| failed(&error))?;
        terminal::say(&told(&removed));
    }
    let name = plan.script.settings.name.as_ref().unwrap_or(&text.stem);
    let launch = Launch::prepare(&plan, name, &folder, arguments.digest).await;
    let launch = launch.map_err(|grounded| match grounded {
        Grounded::Folder(error) => failed(&error),
        Grounded::Ends(error) => Failure::input(&error),
    })?;
    for warning in launch.warnings() {
        terminal::say(&warning);
    }
    let past = launch.past;
    if past != Past::Finished {
        let stop = match arguments.duration {
            Some(_) => "",
            None => "; Ctrl-C stops it, the same command goes on",
        };
        terminal::say(&format!("job '{name}' in '{}'{stop}", data.display()));
    }
    let mut job = launch.start(&folder);
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
    let again = past != Past::Nothing;
    terminal::say(report::figures_of(&status, progress.elapsed(), again).trim_end());
    if past == Past::Finished {
        terminal::say(&format!(
            "job '{name}' has finished before: all its inputs are at their end; --fresh runs it again"
        ));
        return Ok(());
    }
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
