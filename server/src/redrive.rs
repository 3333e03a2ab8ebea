//! Giving dead rows back: which of `<table>$dead` are meant, and what rows they make.
//!
//! What a source could not read is read again, as it came; what the intake or a step gave up is
//! taken from its JSON. A row that still cannot be read stays where it is. Late rows are no dead
//! rows: they have entered the graph and are in `<table>$late`, to be queried.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, new_null_array,
};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampNanosecondType};
use connectors::format::{self, Decoder};
use connectors::parquet;
use engine::graph::Input;
use engine::intake::dead::{DEAD_SUFFIX, dead_schema};
use engine::intake::{Origin, Redrive};
use engine::runtime::Redriver;
use engine::runtime::redrive::unpublished;
use engine::{Epoch, Error, ErrorKind, Graph, Result, Split};
use sql::filter::Filter;

use crate::folder;

/// Rows that are given to the job at once.
const AT_ONCE: usize = 8_192;
/// How often dead rows are looked for that move from the log to their files meanwhile.
const ATTEMPTS: usize = 5;

/// The job that rows are given back to; it runs.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// Its graph.
    pub(crate) graph: &'a Graph,
    /// Who takes the rows.
    pub(crate) redriver: &'a Redriver,
    /// The last epoch that is committed.
    pub(crate) committed: Epoch,
    /// Its data folder.
    pub(crate) home: &'a Path,
}

/// Which dead rows are meant: those that fulfil everything that is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// A part of the reason.
    pub(crate) reason: Option<String>,
    /// A condition over the columns of `<table>$dead`.
    pub(crate) condition: Option<Filter>,
    /// Those that arrived before, in nanoseconds.
    pub(crate) until: Option<i64>,
    /// Also such as were given back before.
    pub(crate) again: bool,
}

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many rows were meant.
    pub(crate) matched: usize,
    /// How many came in.
    pub(crate) redriven: usize,
    /// How many had been given back before.
    pub(crate) known: usize,
    /// How many cannot be read as rows of the table, now as then.
    pub(crate) unreadable: usize,
    /// How many nothing says the split of, in a table that needs it.
    pub(crate) unplaced: usize,
    /// The epoch with the last of them, which is committed.
    pub(crate) epoch: Option<Epoch>,
}

/// The condition as it is compiled over the columns of dead rows.
pub(crate) fn condition(text: &str) -> std::result::Result<Filter, Vec<sql::Error>> {
    Filter::compile(text, &dead_schema())
}

/// The table of a graph that is meant, which may be left out where there is one.
pub(crate) fn table(graph: &Graph, name: Option<&str>) -> Result<usize> {
    let names = graph.inputs.iter().map(|input| &input.stream.name);
    let names: Vec<&String> = names.collect();
    let Some(name) = name else {
        return match names.as_slice() {
            [_] => Ok(0),
            names => {
                let names = names.iter().map(|name| format!("'{name}'"));
                Err(Error::invalid(format!(
                    "the job reads {}: say which 'table'",
                    names.collect::<Vec<_>>().join(", ")
                )))
            }
        };
    };
    let unknown = || Error::not_found(format!("the job reads no table '{name}'"));
    names.iter().position(|of| *of == name).ok_or_else(unknown)
}

/// Gives dead rows of a table back to its job.
pub(crate) async fn redrive(job: &Job<'_>, table: usize, wish: &Wish) -> Result<Summary> {
    let Job {
        graph, redriver, ..
    } = job;
    let dead = dead_rows(graph, job.home, table, job.committed).await?;
    let mut reading = Reading::new(&graph.inputs[table]);
    let mut summary = Summary::default();
    for batch in dead {
        let meant = wish.of(&batch)?;
        summary.matched += meant.num_rows();
        reading.read(&meant)?;
    }
    summary.unreadable = reading.unreadable;
    let (rows, origins) = reading.finish()?;
    for from in (0..rows.num_rows()).step_by(AT_ONCE) {
        let count = AT_ONCE.min(rows.num_rows() - from);
        let outcome = redriver
            .redrive(Redrive {
                table,
                rows: rows.slice(from, count),
                origins: origins[from..from + count].to_vec(),
                again: wish.again,
            })
            .await?;
        summary.redriven += outcome.redriven;
        summary.known += outcome.known;
        summary.unplaced += outcome.lost;
        if outcome.redriven > 0 {
            summary.epoch = Some(outcome.epoch);
        }
    }
    Ok(summary)
}

/// All dead rows that are committed: those in files, and those that the log still holds.
async fn dead_rows(
    graph: &Graph,
    home: &Path,
    table: usize,
    committed: Epoch,
) -> Result<Vec<RecordBatch>> {
    let name = format!("{}{DEAD_SUFFIX}", graph.inputs[table].stream.name);
    let (folder, log) = (home.join("tables").join(name), folder::log_in(home)?);
    let Some(owner) = folder::owner_in(home)? else {
        return Ok(vec![]);
    };
    let mut attempt = 1;
    loop {
        let published = parquet::published(&folder, &owner)?;
        let recent = unpublished(&log, graph, table, published.epoch, committed).await;
        match recent {
            // A record that was cut away holds rows that are in files by now.
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
            Ok(recent) => {
                let mut rows = vec![];
                for file in &published.files {
                    rows.extend(read(file)?);
                }
                rows.extend(recent);
                return Ok(rows);
            }
        }
    }
}

fn read(file: &Path) -> Result<Vec<RecordBatch>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::corrupt(format!("'{}' cannot be read: {error}", file.display()))
    };
    let open = File::open(file).map_err(|error| unreadable(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open);
    let reader = builder.and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.map_err(|error| unreadable(&error))?;
    reader
        .map(|rows| rows.map_err(|error| unreadable(&error)))
        .collect()
}

impl Wish {
    /// The rows of a batch that are meant.
    fn of(&self, dead: &RecordBatch) -> Result<RecordBatch> {
        let rows = Dead::of(dead)?;
        let meant = |row: usize| {
            let reason = self.reason.as_deref();
            let early = self
                .until
                .is_none_or(|until| rows.arrived_at.value(row) < until);
            early && reason.is_none_or(|part| rows.reason.value(row).contains(part))
        };
        let meant: BooleanArray = (0..dead.num_rows()).map(|row| Some(meant(row))).collect();
        let meant = filter_record_batch(dead, &meant)?;
        match &self.condition {
            Some(condition) => Ok(filter_record_batch(&meant, &condition.mask(&meant)?)?),
            None => Ok(meant),
        }
    }
}

/// The columns of `<table>$dead`, typed.
struct Dead {
    arrived_at: TimestampNanosecondArray,
    split: StringArray,
    offset: Int64Array,
    record_time: TimestampNanosecondArray,
    stage: StringArray,
    reason: StringArray,
    payload: BinaryArray,
}

impl Dead {
    fn of(rows: &RecordBatch) -> Result<Self> {
        let schema = dead_schema();
        let column = |name: &str| -> Result<ArrayRef> {
            let missing = || Error::corrupt(format!("a file of dead rows has no column {name}"));
            let column = rows.column_by_name(name).ok_or_else(missing)?;
            Ok(cast(column, schema.field_with_name(name)?.data_type())?)
        };
        let text = |name| Ok::<_, Error>(column(name)?.as_string::<i32>().clone());
        let time = |name| {
            Ok::<_, Error>(
                column(name)?
                    .as_primitive::<TimestampNanosecondType>()
                    .clone(),
            )
        };
        Ok(Self {
            arrived_at: time("arrived_at")?,
            split: text("split")?,
            offset: column("offset")?.as_primitive::<Int64Type>().clone(),
            record_time: time("record_time")?,
            stage: text("stage")?,
            reason: text("reason")?,
            payload: column("payload")?.as_binary::<i32>().clone(),
        })
    }
}

/// Rows of a table as they are read again.
struct Reading<'a> {
    input: &'a Input,
    schema: SchemaRef,
    /// The names that a row of the table may have in its JSON.
    names: BTreeSet<&'a str>,
    /// Of what its source received, where it has a format.
    decoder: Option<Box<dyn Decoder>>,
    rows: Vec<RecordBatch>,
    origins: Vec<Origin>,
    unreadable: usize,
}

impl<'a> Reading<'a> {
    fn new(input: &'a Input) -> Self {
        let schema = input.stream.source_schema();
        let names = input
            .schema
            .fields()
            .iter()
            .chain(input.stream.schema.fields());
        let metadata = input.stream.metadata.iter().map(|column| &column.field);
        let names = names.chain(metadata).map(|field| field.name().as_str());
        Self {
            names: names.collect(),
            decoder: format::decoder(&input.stream).ok(),
            input,
            schema,
            rows: vec![],
            origins: vec![],
            unreadable: 0,
        }
    }

    fn read(&mut self, dead: &RecordBatch) -> Result<()> {
        let dead = Dead::of(dead)?;
        for row in 0..dead.arrived_at.len() {
            let read = match dead.stage.value(row) {
                "source" => self.received(&dead, row)?,
                _ => self.given_up(dead.payload.value(row)),
            };
            let Some(read) = read else {
                self.unreadable += 1;
                continue;
            };
            self.rows.push(read);
            self.origins.push(Origin {
                arrived_at: dead.arrived_at.value(row),
                split: dead
                    .split
                    .is_valid(row)
                    .then(|| Split::new(dead.split.value(row))),
                offset: match dead.offset.is_valid(row) {
                    true => dead.offset.value(row),
                    false => -1,
                },
            });
        }
        Ok(())
    }

    /// The row that a source received, with what the transport says of it as far as it is known.
    fn received(&mut self, dead: &Dead, row: usize) -> Result<Option<RecordBatch>> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(None);
        };
        if decoder.decode(dead.payload.value(row)).is_err() {
            return Ok(None);
        }
        let mut columns = decoder.take()?.columns().to_vec();
        for metadata in &self.input.stream.metadata {
            let to = metadata.field.data_type();
            let known: ArrayRef = match metadata.key.as_str() {
                "offset" => Arc::new(dead.offset.slice(row, 1)),
                "timestamp" => Arc::new(dead.record_time.slice(row, 1)),
                "partition" => Arc::new(dead.split.slice(row, 1)),
                _ => new_null_array(to, 1),
            };
            columns.push(cast(&known, to)?);
        }
        Ok(Some(RecordBatch::try_new(
            Arc::clone(&self.schema),
            columns,
        )?))
    }

    /// The row that the intake or a step gave up; `None` where it is none of the table, as what a
    /// window gave out is not.
    fn given_up(&self, json: &[u8]) -> Option<RecordBatch> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).ok()?;
        if !object.keys().all(|name| self.names.contains(name.as_str())) {
            return None;
        }
        let reader = arrow::json::ReaderBuilder::new(Arc::clone(&self.schema));
        let mut rows = reader.build(Cursor::new(json)).ok()?;
        let first = rows.next()?.ok()?;
        (first.num_rows() == 1).then_some(first)
    }

    fn finish(self) -> Result<(RecordBatch, Vec<Origin>)> {
        let schema: &Schema = &self.schema;
        let rows = concat_batches(&Arc::new(schema.clone()), &self.rows)?;
        Ok((rows, self.origins))
    }
}
