//! `millstream run`: a job with its log, from its sources to its sinks.

use std::path::PathBuf;

use engine::runtime::status::State;

use super::local::Local;
use crate::cli::{self, Origin};
use crate::exit::Failure;
use crate::folder::{Folder, Past};
use crate::launch::{Grounded, Launch};
use crate::progress::{EVERY, Progress};
use crate::recordings::check_recorded;
use crate::supervise::supervise;
use crate::{bind, report, savepoints, terminal};

pub(super) async fn run(arguments: &cli::Run) -> Result<(), Failure> {
    let from = match arguments.fresh {
        true => &Origin::Empty,
        false => &arguments.from,
    };
    if arguments.allow_dropped_state && !matches!(from, Origin::Savepoint(_)) {
        return Err(Failure::usage(
            "--allow-dropped-state is about a start with --from savepoint:NAME",
        ));
    }
    let goes_on = matches!(from, Origin::State | Origin::Offset);
    if arguments.take_over && !goes_on {
        return Err(Failure::usage(
            "--take-over goes on with the log of whoever runs the job, and --fresh and --from begin \
             another: start with --take-over alone, stop, and start from there",
        ));
    }
    let job = Local::read(&arguments.script, arguments.data.as_ref())?;
    let (name, data, graph) = (&job.name, &job.data, &job.plan.graph);
    bind::refuse_pushed(graph).map_err(|error| Failure::input(&error))?;
    if *from == Origin::Recording {
        check_recorded(graph).map_err(|error| Failure::input(&error))?;
    }
    let folder = match arguments.take_over {
        true => Folder::take_over(data),
        false => Folder::open(data),
    };
    let folder = folder.map_err(|error| Failure::run(&error))?;
    begin(&job, &folder, from, arguments.allow_dropped_state).await?;
    let grounded = |grounded| match grounded {
        Grounded::Folder(error) => job.failed(&error),
        Grounded::Ends(error) => Failure::input(&error),
    };
    let launch = Launch::prepare(&job.plan, name, &folder, arguments.digest).await;
    let mut launch = launch.map_err(grounded)?;
    if *from == Origin::Offset {
        launch.skip_gaps();
    }
    if *from == Origin::Recording {
        let taken = launch.take_recordings(name, &folder).await;
        taken.map_err(grounded)?;
    }
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

/// Puts into the log what the job is to start with, where that is another than it has.
async fn begin(job: &Local, folder: &Folder, from: &Origin, may_drop: bool) -> Result<(), Failure> {
    let graph = &job.plan.graph;
    match from {
        Origin::State | Origin::Recording | Origin::Offset => {}
        Origin::Empty => {
            let removed = folder.clear(graph).await;
            let removed = removed.map_err(|error| job.failed(&error))?;
            terminal::say(&told(&removed));
        }
        Origin::Savepoint(savepoint) => {
            let inherited = savepoints::inherited(&job.data, graph, savepoint, may_drop).await;
            let inherited = inherited.map_err(|error| Failure::input(&error))?;
            let state = &inherited.state;
            let staged = folder.stage(graph, &job.name, savepoint, state).await;
            let begun = staged.and_then(|()| folder.replace_log());
            begun.map_err(|error| job.failed(&error))?;
            terminal::say(&savepoints::told(savepoint, &inherited));
        }
    }
    Ok(())
}

/// What a start from nothing did.
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
