//! `millstream replay`: the graph of a script over recordings or files, and nothing live.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use engine::graph::Input;
use engine::runtime::status::State;
use engine::{Error, Graph, Result};

use crate::cli::{self, End};
use crate::exit::Failure;
use crate::places::real;
use crate::progress::{EVERY, Progress};
use crate::replay::{self, Manner, Origin};
use crate::script::{self, Text};
use crate::supervise::supervise;
use crate::{report, terminal};

pub(super) async fn replay(arguments: &cli::Replay) -> Result<(), Failure> {
    let text = Text::read(&arguments.script.file)?;
    let plan = script::plan_to_run(&text, &script::overrides(&arguments.script.options)?)?;
    let input = |error: Error| Failure::input(&error);
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && from >= to
    {
        return Err(Failure::usage(
            "--from is not before --to: no row is between them",
        ));
    }
    let paths = paths(&arguments.sources, &plan.graph).map_err(input)?;
    if let Some(output) = &arguments.output {
        apart(output, &paths).map_err(input)?;
    }
    let origin = |path: PathBuf| Origin {
        path,
        from: arguments.from,
        to: arguments.to,
    };
    let origins: Vec<Origin> = paths.into_iter().map(origin).collect();
    let manner = Manner {
        speed: arguments.speed,
        close: arguments.end.map(|end| end == End::Close),
    };
    let prepared = replay::prepare(&plan.graph, &origins, manner, arguments.output.as_deref());
    let prepared = prepared.map_err(input)?;
    for table in &prepared.by_event_time {
        terminal::say(&format!(
            "'{table}' is replayed by event time: its files are no recording, so the order in \
             which rows arrived, and which were late, is not known"
        ));
    }
    let mut progress = Progress::new(Some(prepared.rows));
    let mut job = prepared.replay.start();
    supervise(&mut job, None, EVERY, |status| progress.show(status)).await?;
    let status = job.status();
    let mut figures = report::figures_of(&status, progress.elapsed(), false);
    for table in &status.tables {
        if let Some(first) = &table.first_dead {
            let _ = writeln!(figures, "dead {}: the first by {first}", table.name);
        }
    }
    if status.state == State::Finished {
        return terminal::print(&figures);
    }
    figures.push_str("stopped before the end: rows and digests are those of the part replayed\n");
    terminal::print(&figures)?;
    Err(Failure::negative())
}

/// Refuses to write into what is read: the rows would be taken for rows of the recording.
fn apart(output: &Path, sources: &[PathBuf]) -> Result<()> {
    let output_at = real(output);
    let inside = |source: &&PathBuf| source.is_dir() && output_at.starts_with(real(source));
    match sources.iter().find(inside) {
        None => Ok(()),
        Some(source) => Err(Error::invalid(format!(
            "--output '{}' is within '{}', which is read: choose a folder outside",
            output.display(),
            source.display()
        ))),
    }
}

/// The path of every table that is read, in the graph's order.
fn paths(sources: &[String], graph: &Graph) -> Result<Vec<PathBuf>> {
    let pair = |source: &String| match source.split_once('=') {
        Some((name, path)) => Ok((name.to_owned(), PathBuf::from(path))),
        None => Err(Error::invalid(format!(
            "'{source}' names no table: write --source trades=PATH"
        ))),
    };
    let given: Vec<_> = sources.iter().map(pair).collect::<Result<_>>()?;
    replay::for_each_table(graph, given, |input: &Input| {
        let table = &input.stream.name;
        Err(Error::invalid(format!(
            "the script also reads '{table}': write --source {table}=PATH"
        )))
    })
}
