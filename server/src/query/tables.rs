//! Which rows a name means, at one cut.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use connectors::parquet;
use engine::graph::Graph;
use engine::intake::dead;
use engine::intake::dead::{DEAD_SUFFIX, LATE_SUFFIX};
use engine::{Epoch, Error, Result};

use crate::folder;
use crate::jobs::Slot;
use crate::state::AppState;

/// A table at an instant: the rows of all epochs up to one.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Rows that are published.
    pub(crate) files: Vec<PathBuf>,
    /// Rows that are not yet.
    pub(crate) recent: Vec<RecordBatch>,
    /// The last epoch that is in it.
    pub(crate) epoch: Epoch,
}

/// Where the rows of a name may be.
struct Candidate {
    job: Arc<Slot>,
    table: String,
    schema: SchemaRef,
    /// The folder with what is published; `None` where the rows go elsewhere.
    folder: Option<PathBuf>,
    /// What an error calls the place where they go.
    connector: String,
}

/// Every table that a text names, as it is now. A table is called by its name, or by `job.table`
/// where several jobs have one of that name.
pub(crate) fn find(state: &AppState, text: &str) -> Result<BTreeMap<String, Cut>, Vec<sql::Error>> {
    let mut cuts = BTreeMap::new();
    let mut errors = vec![];
    for name in sql::batch::tables(text)? {
        match one(state, &name) {
            Ok(Some(cut)) => {
                cuts.insert(name, cut);
            }
            // The query tells where it names what is not there.
            Ok(None) => {}
            Err(error) => errors.push(sql::Error {
                kind: error.kind(),
                ..sql::Error::of_whole(error.chain())
            }),
        }
    }
    match errors.is_empty() {
        true => Ok(cuts),
        false => Err(errors),
    }
}

fn one(state: &AppState, name: &str) -> Result<Option<Cut>> {
    let mut found: Vec<Candidate> = vec![];
    for slot in state.jobs.list() {
        let own = name.strip_prefix(slot.name.as_str());
        let own = own.and_then(|rest| rest.strip_prefix('.'));
        for table in [Some(name), own].into_iter().flatten() {
            found.extend(candidate(state, &slot, table)?);
        }
    }
    if let [_, _, ..] = found.as_slice() {
        let names: Vec<String> = found
            .iter()
            .map(|candidate| format!("\"{}.{}\"", candidate.job.name, candidate.table))
            .collect();
        return Err(Error::invalid(format!(
            "several jobs have a table '{name}': write {}",
            names.join(" or ")
        )));
    }
    found
        .pop()
        .map(|candidate| cut(state, &candidate))
        .transpose()
}

/// The table of a job, if it has one of that name to be read.
fn candidate(state: &AppState, slot: &Arc<Slot>, table: &str) -> Result<Option<Candidate>> {
    let plain = table
        .trim_end_matches(LATE_SUFFIX)
        .trim_end_matches(DEAD_SUFFIX);
    let Some(graph) = slot.graph_with(plain) else {
        return Ok(None);
    };
    let found = match output(&graph, table)? {
        Some(found) => Some(found),
        None => system(&graph, table).map(|(schema, name)| {
            let folder = state.jobs.home(slot).join("tables").join(name);
            (schema, Some(folder), parquet::NAME.to_owned())
        }),
    };
    Ok(found.map(|(schema, folder, connector)| Candidate {
        job: Arc::clone(slot),
        table: table.to_owned(),
        schema,
        folder,
        connector,
    }))
}

type Found = (SchemaRef, Option<PathBuf>, String);

fn output(graph: &Graph, table: &str) -> Result<Option<Found>> {
    let streams = graph.targets.iter().map(|target| &target.stream);
    let mut named = streams.filter(|stream| stream.name == table);
    let Some(stream) = named.next() else {
        return Ok(None);
    };
    let folder = match stream.connector == parquet::NAME {
        true => Some(parquet::written_to(stream)?),
        false => None,
    };
    let schema = nullable(&stream.schema);
    Ok(Some((schema, folder, stream.connector.clone())))
}

/// The late or dead rows of a table that is read.
fn system(graph: &Graph, table: &str) -> Option<(SchemaRef, String)> {
    let (name, late) = match table.strip_suffix(LATE_SUFFIX) {
        Some(name) => (name, true),
        None => (table.strip_suffix(DEAD_SUFFIX)?, false),
    };
    let mut inputs = graph.inputs.iter();
    let input = inputs.find(|input| input.stream.name == name)?;
    let schema = match late {
        true => dead::late_schema(&input.schema),
        false => dead::dead_schema(),
    };
    Some((nullable(&schema), table.to_owned()))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

fn cut(state: &AppState, candidate: &Candidate) -> Result<Cut> {
    let Candidate {
        job,
        table,
        schema,
        folder,
        connector,
    } = candidate;
    let owner = folder::owner_in(&state.jobs.home(job))?;
    let (mut files, mut epoch) = (vec![], Epoch(0));
    if let (Some(folder), Some(owner)) = (folder, &owner) {
        let published = parquet::published(folder, owner)?;
        (files, epoch) = (published.files, published.epoch);
    }
    let live = state.hubs.of(&job.name, table);
    let rows = match (&live, folder) {
        // Where the ring no longer reaches back to what is published, that alone is whole.
        (Some(hub), Some(_)) => Some(hub.after(epoch).unwrap_or_default()),
        (Some(hub), None) => Some(hub.newest(usize::MAX)),
        (None, Some(_)) => Some(vec![]),
        (None, None) => None,
    };
    match rows {
        Some(rows) => Ok(Cut {
            schema: Arc::clone(schema),
            files,
            epoch: rows.last().map_or(epoch, |(last, _)| *last),
            recent: rows.into_iter().map(|(_, rows)| rows).collect(),
        }),
        None => Err(Error::invalid(format!(
            "the rows of table '{table}' go to '{connector}', and its job does not run: start it to \
             ask for its newest rows, or let it write them to a table with the connector 'parquet' \
             too"
        ))),
    }
}
