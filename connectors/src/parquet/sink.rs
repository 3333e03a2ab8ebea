//! Committed rows into rolls of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use engine::{Emit, Epoch, Error, Result, Sink, StreamSpec};
use parquet::file::properties::WriterProperties;
use tokio::time::{Duration, Instant};

use super::layout::{Finished, Layout};
use super::writer::{self, Writer};
use super::{Compression, Partition, SinkOptions, local};
use crate::{Owner, instant, options};

/// Writes what is committed, one roll of epochs after the other.
///
/// It writes and syncs on the thread that calls it. After an error it refuses everything: the
/// log still has the epochs of the roll that failed, and hands them over at the next start.
#[derive(Debug)]
pub struct ParquetSink {
    schema: SchemaRef,
    properties: WriterProperties,
    layout: Layout,
    /// The column that tells the day.
    date: Option<usize>,
    size: u64,
    interval: Duration,
    published: Option<Epoch>,
    roll: Option<Roll>,
    failed: bool,
}

/// Files that grow together.
#[derive(Debug)]
struct Roll {
    first: Epoch,
    last: Epoch,
    begun: Instant,
    /// By folder.
    files: BTreeMap<String, Writer>,
}

/// What a sink is made of besides its rows.
pub(super) struct Setup {
    pub(super) layout: Layout,
    pub(super) date: Option<usize>,
    pub(super) size: Option<u64>,
    pub(super) interval: Option<Duration>,
    pub(super) compression: Compression,
}

impl ParquetSink {
    /// Reads the options; the folder is first touched by `published`.
    pub fn new(stream: &StreamSpec, owner: &Owner) -> Result<Self> {
        let options: SinkOptions = options::parse(stream)?;
        let date = match options.partition {
            Partition::None => None,
            Partition::Date => {
                let fields = stream.schema.fields();
                let dated = fields.iter().position(|field| {
                    matches!(
                        field.data_type(),
                        DataType::Timestamp(_, _) | DataType::Date32
                    )
                });
                Some(dated.ok_or_else(|| {
                    let message = "is 'date', but the table has no TIMESTAMP or DATE column";
                    options::invalid(stream, "partition", message)
                })?)
            }
        };
        let layout = Layout::new(local(stream, &options.path)?, owner);
        let setup = Setup {
            layout,
            date,
            size: options.size.map(|size| size.0),
            interval: options.interval.map(|interval| interval.0),
            compression: options.compression,
        };
        Self::build(&stream.schema, setup)
    }

    pub(super) fn build(schema: &Schema, setup: Setup) -> Result<Self> {
        let nullable = |field: &Arc<Field>| Field::clone(field).with_nullable(true);
        let fields = schema.fields().iter().map(nullable);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self {
            properties: writer::properties(&schema, setup.compression)?,
            schema,
            layout: setup.layout,
            date: setup.date,
            size: setup.size.unwrap_or(64 << 20),
            interval: setup.interval.unwrap_or(Duration::from_mins(5)),
            published: None,
            roll: None,
            failed: false,
        })
    }

    fn recovered(&mut self) -> Result<Epoch> {
        if let Some(published) = self.published {
            return Ok(published);
        }
        let published = self.layout.recover()?;
        self.published = Some(published);
        Ok(published)
    }

    fn take(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        let published = self.recovered()?;
        let last = self.roll.as_ref().map_or(published, |roll| roll.last);
        let empty = rows.iter().all(|batch| batch.num_rows() == 0);
        if epoch <= last || (empty && self.roll.is_none()) {
            return Ok(());
        }
        let begun = Instant::now();
        let roll = self.roll.get_or_insert_with(|| Roll {
            first: epoch,
            last: epoch,
            begun,
            files: BTreeMap::new(),
        });
        roll.last = epoch;
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            let batch = fitted(batch, &self.schema)?;
            let parts = match self.date {
                Some(column) => by_date(&batch, column)?,
                None => vec![(String::new(), batch)],
            };
            for (folder, part) in parts {
                if !roll.files.contains_key(&folder) {
                    let path = self.layout.temporary(&folder, roll.first);
                    let writer = Writer::create(path, &self.schema, &self.properties)?;
                    roll.files.insert(folder.clone(), writer);
                }
                if let Some(writer) = roll.files.get_mut(&folder) {
                    writer.write(&part)?;
                }
            }
        }
        let bytes: u64 = roll.files.values().map(Writer::bytes).sum();
        if bytes >= self.size || begun.duration_since(roll.begun) >= self.interval {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(roll) = self.roll.take() else {
            return Ok(());
        };
        let mut finished = vec![];
        for (folder, writer) in roll.files {
            finished.push(Finished {
                folder,
                temporary: writer.finish()?,
            });
        }
        self.layout.publish(&finished, roll.first, roll.last)?;
        self.published = Some(roll.last);
        Ok(())
    }

    /// Runs a step; the first one that fails is the last.
    fn once<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.failed {
            let path = self.layout.root.display();
            return Err(Error::invalid(format!(
                "'{path}' could not be written before; start the job again, nothing is lost"
            )));
        }
        let result = step(self);
        if result.is_err() {
            self.failed = true;
            self.roll = None;
        }
        result
    }
}

#[async_trait]
impl Sink for ParquetSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        self.once(|sink| sink.take(epoch, rows))
    }

    async fn published(&mut self) -> Result<Epoch> {
        self.once(Self::recovered)
    }

    async fn flush(&mut self) -> Result<()> {
        self.once(Self::finish)
    }
}

/// The rows with exactly the columns of the file.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = vec![];
    for (i, field) in schema.fields().iter().enumerate() {
        let column = batch.columns().get(i).ok_or_else(|| {
            Error::internal(format!(
                "rows for Parquet have no column '{}'",
                field.name()
            ))
        })?;
        columns.push(if column.data_type() == field.data_type() {
            ArrayRef::clone(column)
        } else {
            cast(column, field.data_type())?
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        SchemaRef::clone(schema),
        columns,
        &options,
    )?)
}

/// The rows of each day, in the order of the days, with the name of their folder.
fn by_date(batch: &RecordBatch, column: usize) -> Result<Vec<(String, RecordBatch)>> {
    let days = days(batch.column(column))?;
    let mut distinct = days.iter().collect::<Vec<_>>();
    distinct.sort_unstable();
    distinct.dedup();
    let mut parts = vec![];
    for day in &distinct {
        let mut folder = b"date=".to_vec();
        match day {
            Some(day) => instant::write_date(&mut folder, *day),
            None => folder.extend_from_slice(b"__HIVE_DEFAULT_PARTITION__"),
        }
        let folder = String::from_utf8_lossy(&folder).into_owned();
        if distinct.len() == 1 {
            return Ok(vec![(folder, batch.clone())]);
        }
        let same = days
            .iter()
            .map(|other| Some(other == *day))
            .collect::<BooleanArray>();
        parts.push((folder, filter_record_batch(batch, &same)?));
    }
    Ok(parts)
}

/// The day of every row since 1970-01-01.
fn days(column: &ArrayRef) -> Result<Int64Array> {
    if *column.data_type() == DataType::Date32 {
        let dates = column.as_primitive::<Date32Type>();
        return Ok(dates.unary(i64::from));
    }
    let nanos = cast(column, &engine::time::TIMESTAMP)?;
    let nanos = cast(&nanos, &DataType::Int64)?;
    Ok(nanos
        .as_primitive::<Int64Type>()
        .unary(|nanos| nanos.div_euclid(instant::DAY)))
}
