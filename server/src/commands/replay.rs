//! `millstream replay`: the graph of a script over recordings or files, and nothing live.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use connectors::{Owner, options};
use engine::graph::Input;
use engine::runtime::Replay;
use engine::runtime::status::State;
use engine::{Error, ErrorKind, Graph, Result, Sink};

use crate::cli::{self, End};
use crate::exit::Failure;
use crate::places::real;
use crate::progress::{EVERY, Progress};
use crate::recordings::{self, Opened};
use crate::script::{self, Text};
use crate::supervise::supervise;
use crate::{bind, report, terminal};

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
    let open = |(table, path): (&Input, &PathBuf)| {
        recordings::open(table, path, arguments.from, arguments.to)
    };
    let opened = plan.graph.inputs.iter().zip(&paths).map(open);
    let opened: Vec<Opened> = opened
        .collect::<Result<_>>()
        .map_err(|error| unread(&error))?;
    for (table, opened) in plan.graph.inputs.iter().zip(&opened) {
        if !opened.recorded {
            terminal::say(&format!(
                "'{}' is replayed by event time: its files are no recording, so the order in \
                 which rows arrived, and which were late, is not known",
                table.stream.name
            ));
        }
    }
    let close = match arguments.end {
        Some(end) => end == End::Close,
        None => opened.iter().all(|opened| !opened.recorded),
    };
    if let Some(output) = &arguments.output {
        apart(output, &paths).map_err(input)?;
    }
    let targets = targets(&plan.graph, arguments.output.as_deref()).map_err(input)?;
    let rows = opened.iter().map(|opened| opened.rows).sum();
    let replay = Replay {
        graph: plan.graph,
        readers: opened.into_iter().map(|opened| opened.reader).collect(),
        targets,
        speed: arguments.speed,
        close,
    };
    let mut progress = Progress::new(Some(rows));
    let mut job = replay.start();
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

/// What cannot be read is bad input, but a damaged recording was well asked for.
fn unread(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::Corrupt => Failure::run(error),
        _ => Failure::input(error),
    }
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
    let tables = || graph.inputs.iter().map(|input| input.stream.name.as_str());
    let mut given = BTreeMap::new();
    for source in sources {
        let Some((name, path)) = source.split_once('=') else {
            return Err(Error::invalid(format!(
                "'{source}' names no table: write --source trades=PATH"
            )));
        };
        let Some(table) = sql::catalog::named(name, tables()) else {
            let hint = match options::nearest(name, tables()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it reads {}", tables().collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::not_found(format!(
                "the script reads no table '{name}'; {hint}"
            )));
        };
        if given.insert(table, PathBuf::from(path)).is_some() {
            return Err(Error::invalid(format!("table '{table}' has two sources")));
        }
    }
    let path = |table: &str| {
        given.get(table).cloned().ok_or_else(|| {
            Error::invalid(format!(
                "the script also reads '{table}': write --source {table}=PATH"
            ))
        })
    };
    tables().map(path).collect()
}

/// Where the rows go: nowhere, or to a folder per table; never to where the script says.
fn targets(graph: &Graph, output: Option<&Path>) -> Result<Vec<Box<dyn Sink>>> {
    let owner = Owner {
        job: "replay".to_owned(),
        shard: 0,
    };
    let target = |target: &engine::graph::Target| {
        let (name, schema) = (&target.stream.name, &target.stream.schema);
        let Some(output) = output else {
            return bind::nowhere(name, schema, &owner);
        };
        let path = output.join(name);
        let used = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
        if used {
            return Err(Error::invalid(format!(
                "'{}' is not empty, and nothing is overwritten: choose another --output",
                path.display()
            )));
        }
        bind::folder(name, schema, &path, &owner)
    };
    graph.targets.iter().map(target).collect()
}
