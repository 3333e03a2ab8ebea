//! How a graph's named inputs and outputs become sources and sinks, and where late rows, dead
//! letters and recordings go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use connectors::http::push::{self, Pusher};
use connectors::{Owner, Targets, parquet};
use engine::graph::Input;
use engine::intake::{dead, recording};
use engine::runtime::Bindings;
use engine::{Error, Graph, Result, Sink, Source, StreamSpec, Taps};

/// How long late and dead rows wait for their file, while a job runs.
const ROLLING: &str = "1 min";

/// Sources and sinks as the script says; late and dead rows below `tables`. A table whose rows are
/// pushed is refused: nobody takes them here.
pub(crate) fn live(graph: &Graph, owner: &Owner, tables: &Path) -> Result<Bindings> {
    refuse_pushed(graph)?;
    Ok(served(graph, owner, tables)?.0)
}

/// Refuses a graph with a table whose rows are pushed.
pub(crate) fn refuse_pushed(graph: &Graph) -> Result<()> {
    let mut streams = graph.inputs.iter().map(|input| &input.stream);
    match streams.find(|stream| push::is_pushed(stream)) {
        None => Ok(()),
        Some(stream) => Err(Error::invalid(format!(
            "the rows of table '{}' are pushed, and only a server takes them: submit the job to \
             `millstream serve`",
            stream.name
        ))),
    }
}

/// As [`live`], with the other ends of the tables whose rows are pushed.
pub(crate) fn served(
    graph: &Graph,
    owner: &Owner,
    tables: &Path,
) -> Result<(Bindings, Vec<Pusher>)> {
    let inputs = || graph.inputs.iter();
    let (sources, pushers) = sources(graph)?;
    let Targets {
        sinks,
        commit_point,
    } = connectors::targets(graph, owner)?;
    let bindings = Bindings {
        sources,
        targets: sinks,
        commit_point,
        late: inputs()
            .map(|input| late(input, owner, tables))
            .collect::<Result<_>>()?,
        dead: inputs()
            .map(|input| dead(input, owner, tables))
            .collect::<Result<_>>()?,
        recorders: recorders(graph, owner)?,
        taps: Taps::default(),
    };
    Ok((bindings, pushers))
}

/// Lets the folders of Parquet that a job writes be queried from its start.
pub(crate) fn declare(graph: &Graph) -> Result<()> {
    let streams = graph.targets.iter().map(|target| &target.stream);
    let mut local = streams.filter(|stream| stream.connector == parquet::NAME);
    local.try_for_each(parquet::declare_table)
}

type Sources = Vec<Box<dyn Source>>;

fn sources(graph: &Graph) -> Result<(Sources, Vec<Pusher>)> {
    let (mut sources, mut pushers) = (vec![], vec![]);
    for stream in graph.inputs.iter().map(|input| &input.stream) {
        sources.push(match push::is_pushed(stream) {
            true => {
                let (pusher, source) = push::open(stream)?;
                pushers.push(pusher);
                source
            }
            false => connectors::find(&stream.connector)?.source(stream)?,
        });
    }
    Ok((sources, pushers))
}

/// The recorders of the tables with an `archive`.
pub(crate) fn recorders(graph: &Graph, owner: &Owner) -> Result<Vec<Option<Box<dyn Sink>>>> {
    let recorder = |input: &Input| -> Result<Option<Box<dyn Sink>>> {
        let Some(path) = &input.archive else {
            return Ok(None);
        };
        let schema = recording::schema(&input.stream.source_schema());
        let table = &input.stream.name;
        parquet::recorder::recorder(Path::new(path), table, owner, &schema).map(Some)
    };
    graph.inputs.iter().map(recorder).collect()
}

fn late(input: &Input, owner: &Owner, tables: &Path) -> Result<Box<dyn Sink>> {
    let name = format!("{}{}", input.stream.name, dead::LATE_SUFFIX);
    system(&name, &dead::late_schema(&input.schema), tables, owner)
}

fn dead(input: &Input, owner: &Owner, tables: &Path) -> Result<Box<dyn Sink>> {
    let name = format!("{}{}", input.stream.name, dead::DEAD_SUFFIX);
    system(&name, &dead::dead_schema(), tables, owner)
}

fn system(name: &str, schema: &SchemaRef, tables: &Path, owner: &Owner) -> Result<Box<dyn Sink>> {
    folder(name, schema, &tables.join(name), owner)
}

/// A table of Parquet files in a folder, which can be queried before it has a row.
pub(crate) fn folder(
    name: &str,
    schema: &SchemaRef,
    path: &Path,
    owner: &Owner,
) -> Result<Box<dyn Sink>> {
    parquet::declare(path, schema)?;
    let options = [
        ("path", path.to_string_lossy().into_owned()),
        ("rolling.interval", ROLLING.to_owned()),
    ];
    sink("parquet", name, schema, &options, owner)
}

/// A table that forgets its rows.
pub(crate) fn nowhere(name: &str, schema: &SchemaRef, owner: &Owner) -> Result<Box<dyn Sink>> {
    sink("blackhole", name, schema, &[], owner)
}

fn sink(
    connector: &str,
    name: &str,
    schema: &SchemaRef,
    options: &[(&str, String)],
    owner: &Owner,
) -> Result<Box<dyn Sink>> {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let stream = StreamSpec {
        name: name.to_owned(),
        connector: connector.to_owned(),
        options: options.collect::<BTreeMap<_, _>>(),
        schema: Arc::clone(schema),
        metadata: vec![],
        key: vec![],
    };
    connectors::find(connector)?.sink(&stream, owner)
}
