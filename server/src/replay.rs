//! Preparing a replay: which recording or file each table is read from, and how it ends. What the
//! command line and the server run is put together here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::{Owner, options};
use engine::graph::{Input, Target};
use engine::runtime::{Replay, Speed};
use engine::{Error, Graph, Result, Sink};

use crate::bind;
use crate::recordings::{self, Opened};

/// Where the rows of a table come from. Rows before `from` and at or after `to`, in nanoseconds,
/// are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// A recording, or Parquet files.
    pub(crate) path: PathBuf,
    /// In nanoseconds.
    pub(crate) from: Option<i64>,
    /// In nanoseconds.
    pub(crate) to: Option<i64>,
}

/// How a replay is to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Manner {
    /// How fast.
    pub(crate) speed: Speed,
    /// Whether open windows close at the end; where it is not said, unless a recording is read.
    pub(crate) close: Option<bool>,
}

/// A replay, ready to start.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What runs.
    pub(crate) replay: Replay,
    /// How many rows there are, about.
    pub(crate) rows: u64,
    /// The tables whose files are no recording.
    pub(crate) by_event_time: Vec<String>,
}

/// Opens the origins, in the order of the graph's inputs, and the targets: below `output`, or
/// nowhere; never where the script says. It reads files.
pub(crate) fn prepare(
    graph: &Arc<Graph>,
    origins: &[Origin],
    manner: Manner,
    output: Option<&Path>,
) -> Result<Prepared> {
    let open = |(table, origin): (&Input, &Origin)| {
        recordings::open(table, &origin.path, origin.from, origin.to)
    };
    let opened: Vec<Opened> = graph
        .inputs
        .iter()
        .zip(origins)
        .map(open)
        .collect::<Result<_>>()?;
    let by_event_time = graph.inputs.iter().zip(&opened);
    let by_event_time = by_event_time.filter(|(_, opened)| !opened.recorded);
    let by_event_time = by_event_time
        .map(|(table, _)| table.stream.name.clone())
        .collect();
    let foreign = opened.iter().all(|opened| !opened.recorded);
    let rows = opened.iter().map(|opened| opened.rows).sum();
    let replay = Replay {
        graph: Arc::clone(graph),
        readers: opened.into_iter().map(|opened| opened.reader).collect(),
        targets: targets(graph, output)?,
        speed: manner.speed,
        close: manner.close.unwrap_or(foreign),
    };
    Ok(Prepared {
        replay,
        rows,
        by_event_time,
    })
}

/// What was given for each table of the graph, in its order. A name that no table has is an error,
/// and so is a table without anything, whose remedy is `missing`.
pub(crate) fn for_each_table<T>(
    graph: &Graph,
    given: impl IntoIterator<Item = (String, T)>,
    missing: impl Fn(&Input) -> Result<T>,
) -> Result<Vec<T>> {
    let tables = || graph.inputs.iter().map(|input| input.stream.name.as_str());
    let mut named = BTreeMap::new();
    for (name, value) in given {
        let Some(table) = sql::catalog::named(&name, tables()) else {
            let hint = match options::nearest(&name, tables()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it reads {}", tables().collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::not_found(format!(
                "the script reads no table '{name}'; {hint}"
            )));
        };
        if named.insert(table.to_owned(), value).is_some() {
            return Err(Error::invalid(format!("table '{table}' has two sources")));
        }
    }
    let mut value = |input: &Input| match named.remove(&input.stream.name) {
        Some(value) => Ok(value),
        None => missing(input),
    };
    graph.inputs.iter().map(&mut value).collect()
}

/// Where the rows go: nowhere, or to a folder per table.
fn targets(graph: &Graph, output: Option<&Path>) -> Result<Vec<Box<dyn Sink>>> {
    let owner = Owner {
        job: "replay".to_owned(),
        shard: 0,
    };
    let target = |target: &Target| {
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
