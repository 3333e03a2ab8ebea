//! What a replay reads: recordings in the order of arrival, other Parquet in the order of event
//! time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use connectors::Owner;
use connectors::parquet::read::{self, Ordered, Request};
use connectors::parquet::{self, recorder};
use engine::graph::Input;
use engine::intake::recording::{self, Reader};
use engine::intake::{Arrival, Records};
use engine::runtime::Recorded;
use engine::stream::ARRIVED_AT;
use engine::time::TIMESTAMP;
use engine::{Epoch, Error, Graph, Result, Split};

use crate::bind;

/// The only split of files that were never received.
const SPLIT: &str = "0";

/// A table's rows, ready to be replayed.
pub(crate) struct Opened {
    /// The arrivals.
    pub(crate) reader: Box<dyn Reader>,
    /// How many rows there are, about: the marks of a recording count as rows.
    pub(crate) rows: u64,
    /// Whether it is a recording.
    pub(crate) recorded: bool,
}

/// Opens what `path` means for a table: a recording (also the folder given as `archive`), or
/// Parquet files. Rows before `from` and at or after `to`, in nanoseconds, are left out.
pub(crate) fn open(
    input: &Input,
    path: &Path,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Opened> {
    let path = resolve(path, &input.stream.name)?;
    let request = |schema: &SchemaRef, order_by: &str| Request {
        schema: Arc::clone(schema),
        required: required(&input.stream.schema),
        order_by: order_by.to_owned(),
        from,
        to,
    };
    let source = input.stream.source_schema();
    let recorded = is_recording(&path)?;
    let (ordered, time) = if recorded {
        let schema = recording::schema(&source);
        (Ordered::open(&path, &request(&schema, ARRIVED_AT))?, None)
    } else {
        let (name, column) = event_time(input, &source)?;
        let ordered = Ordered::open(&path, &request(&source, &name))?;
        (ordered, Some(column))
    };
    let rows = ordered.rows();
    if rows == 0
        && (from.is_some() || to.is_some())
        && let Some((first, last)) = ordered.span()
    {
        return Err(outside(&path, first, last));
    }
    let reader: Box<dyn Reader> = match time {
        None => Box::new(ordered),
        Some(column) => Box::new(Foreign::new(ordered, &source, column)),
    };
    Ok(Opened {
        reader,
        rows,
        recorded,
    })
}

/// Refuses a graph with a table that is not recorded.
pub(crate) fn check_recorded(graph: &Graph) -> Result<()> {
    let mut inputs = graph.inputs.iter();
    match inputs.find(|input| input.archive.is_none()) {
        None => Ok(()),
        Some(input) => Err(not_recorded(input)),
    }
}

fn not_recorded(input: &Input) -> Error {
    Error::invalid(format!(
        "table '{}' has no 'archive', so nothing of it was recorded: start the job from 'state' or \
         'empty'",
        input.stream.name
    ))
}

/// What a job has recorded, by table, and up to which epoch. Files that a kill left half done are
/// completed or removed first.
pub(crate) async fn of_job(graph: &Arc<Graph>, owner: &Owner) -> Result<Vec<Recorded>> {
    let sinks = bind::recorders(graph, owner)?;
    let mut recorded = vec![];
    for (table, sink) in sinks.into_iter().enumerate() {
        let input = &graph.inputs[table];
        let (Some(mut sink), Some(archive)) = (sink, &input.archive) else {
            return Err(not_recorded(input));
        };
        let through = sink.published().await?;
        let reader: Box<dyn Reader> = match through {
            // What there is of it is in the log still.
            Epoch(0) => Box::new(Nothing),
            _ => {
                let path = recorder::of_job(Path::new(archive), &input.stream.name, owner);
                let graph = Arc::clone(graph);
                let opening = move || open(&graph.inputs[table], &path, None, None);
                let opened = tokio::task::spawn_blocking(opening).await;
                let broken = |error| Error::internal("opening broke down").caused_by(error);
                opened.map_err(broken)??.reader
            }
        };
        recorded.push(Recorded { reader, through });
    }
    Ok(recorded)
}

/// A recording without rows.
struct Nothing;

#[async_trait]
impl Reader for Nothing {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}

/// The columns that a file must have.
fn required(table: &SchemaRef) -> Vec<String> {
    let fields = table.fields().iter().filter(|field| !field.is_nullable());
    fields.map(|field| field.name().clone()).collect()
}

/// The error of bounds that leave out everything.
fn outside(path: &Path, first: i64, last: i64) -> Error {
    let told = |at: i64| {
        let array = TimestampNanosecondArray::from_value(at, 1).with_timezone("UTC");
        let told = cast(&array, &DataType::Utf8);
        told.map_or_else(
            |_| at.to_string(),
            |told| told.as_string::<i32>().value(0).to_owned(),
        )
    };
    Error::invalid(format!(
        "no row of '{}' is within 'from' and 'to': its rows are from {} to {}",
        path.display(),
        told(first),
        told(last)
    ))
}

/// The column that files are read in the order of.
fn event_time(input: &Input, source: &SchemaRef) -> Result<(String, usize)> {
    let table = &input.stream.name;
    let time = input.event_time.ok_or_else(|| {
        Error::invalid(format!(
            "table '{table}' has no WATERMARK, so files that are no recording have no order; \
             declare WATERMARK FOR its time column"
        ))
    })?;
    let name = input.schema.field(time.column).name();
    let column = source.index_of(name).map_err(|_| {
        Error::invalid(format!(
            "the time column '{name}' of table '{table}' is computed, and files are read in the \
             order of a stored column; declare it as TIMESTAMP"
        ))
    })?;
    Ok((name.clone(), column))
}

/// The folder of one job's recording, where `path` is above it.
fn resolve(path: &Path, table: &str) -> Result<PathBuf> {
    let archive = recorder::folder(path, table);
    let path = if archive.is_dir() {
        archive
    } else {
        path.to_owned()
    };
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // A job that was killed before its first roll left an empty folder.
    let recorded =
        |name: &String| name.starts_with("job=") && first_file(&path.join(name)).is_some();
    let mut jobs: Vec<String> = names.filter(recorded).collect();
    jobs.sort();
    if jobs.len() > 1 {
        return Err(Error::invalid(format!(
            "'{}' holds the recordings of {} jobs; name one: {}",
            path.display(),
            jobs.len(),
            jobs.join(", ")
        )));
    }
    Ok(path)
}

/// Whether the first file has the columns of a recording.
fn is_recording(path: &Path) -> Result<bool> {
    // What cannot be found is told by who reads it.
    let Some(file) = first_file(&parquet::plain_root(path)) else {
        return Ok(false);
    };
    let schema = read::columns(&file)?;
    let has = |name: &str| schema.index_of(name).is_ok();
    Ok(has(ARRIVED_AT) && has("_kind"))
}

fn first_file(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let entries = fs::read_dir(path).ok()?.flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let seen = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let parquet = path
            .extension()
            .is_some_and(|extension| extension == "parquet");
        !name.starts_with(['.', '_']) && (parquet || path.is_dir())
    };
    paths.iter().filter(seen).find_map(|path| first_file(path))
}

/// Rows that were never received: each is taken to have arrived at its event time, or a
/// nanosecond after the row before it.
struct Foreign {
    rows: Ordered,
    schema: SchemaRef,
    /// The column with the event time.
    time: usize,
    /// When the row before arrived.
    last: i64,
    /// The number of the next row.
    next: i64,
}

impl Foreign {
    fn new(rows: Ordered, source: &SchemaRef, time: usize) -> Self {
        Self {
            rows,
            schema: recording::schema(source),
            time,
            last: i64::MIN,
            next: 0,
        }
    }
}

#[async_trait]
impl Reader for Foreign {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.rows.next_batch()? else {
            return Ok(None);
        };
        let times = cast(&cast(rows.column(self.time), &TIMESTAMP)?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        let mut arrived_at = Vec::with_capacity(times.len());
        for time in times {
            let after = self.last.saturating_add(1);
            self.last = time.map_or(after, |time| time.max(after));
            arrived_at.push(self.last);
        }
        let first = self.next;
        self.next += rows.num_rows() as i64;
        let records = Records {
            table: 0,
            split: Split::new(SPLIT),
            rows,
            offsets: (first..self.next).collect(),
            record_times: None,
            arrived_at: arrived_at.into(),
            rejected: vec![],
            next_offset: self.next,
        };
        let mut batches = recording::encode(&self.schema, &Arrival::Records(records), 0)?;
        Ok(batches.pop())
    }
}
