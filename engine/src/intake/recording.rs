//! A recording: a table's arrivals as rows, for the log and for Parquet.
//!
//! Columns: those of the source, all nullable, then `_arrived_at` (unique and increasing,
//! except that all splits announced at once share one), `_split`, `_offset`, `_record_time`,
//! `_kind` (0 row, 1 rejected record, 2 tick, 3 split announced, 4 end, 5 advance: the time is
//! in `_record_time`, 6 split read up to `_offset`), `_reason` and `_payload` (of rejected records).
//! Late and future rows are rows like any other: a replay decides anew, and the same.

pub(crate) mod run;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray, UInt8Array, new_null_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType, UInt8Type,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::{Arrival, Records, Redriven};
use crate::error::{Error, Result};
use crate::source::{Rejected, Split};
use crate::stream::ARRIVED_AT;
use crate::time::TIMESTAMP;

/// How many columns follow those of the source.
const SYSTEM_COLUMNS: usize = 7;

const ROW: u8 = 0;
const REJECTED: u8 = 1;
const TICK: u8 = 2;
const SPLITS: u8 = 3;
const END: u8 = 4;
const ADVANCE: u8 = 5;
const REACHED: u8 = 6;

/// Hands over a recording of one table, in order.
#[async_trait]
pub trait Reader: Send {
    /// The next rows, of [`schema`]; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>>;
}

/// The columns of a recording of a table with these source columns.
#[must_use]
pub fn schema(source: &Schema) -> SchemaRef {
    let columns = source
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_nullable(true));
    let split = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let system = [
        Field::new(ARRIVED_AT, TIMESTAMP, false),
        Field::new("_split", split, true),
        Field::new("_offset", DataType::Int64, true),
        Field::new("_record_time", TIMESTAMP, true),
        Field::new("_kind", DataType::UInt8, false),
        Field::new("_reason", DataType::Utf8, true),
        Field::new("_payload", DataType::Binary, true),
    ];
    Arc::new(Schema::new(columns.chain(system).collect::<Vec<_>>()))
}

/// The rows of a recording that stand for an arrival; none for another table's.
pub fn encode(schema: &SchemaRef, arrival: &Arrival, table: usize) -> Result<Vec<RecordBatch>> {
    let marker = |kind, at| Marker {
        kind,
        at,
        splits: &[None],
        offset: None,
        time: None,
    };
    Ok(match arrival {
        Arrival::Records(records) | Arrival::Redriven(Redriven { records, .. })
            if records.table == table =>
        {
            encode_records(schema, records)?
        }
        Arrival::Splits {
            table: of,
            splits,
            at,
        } if *of == table => {
            let names: Vec<_> = splits.iter().map(|split| Some(split.0.as_ref())).collect();
            vec![
                Marker {
                    splits: &names,
                    ..marker(SPLITS, *at)
                }
                .encode(schema)?,
            ]
        }
        Arrival::Advance {
            table: of,
            time,
            at,
        } if *of == table => {
            vec![
                Marker {
                    time: Some(*time),
                    ..marker(ADVANCE, *at)
                }
                .encode(schema)?,
            ]
        }
        Arrival::Reached {
            table: of,
            split,
            next_offset,
            at,
        } if *of == table => {
            let (splits, offset) = (&[Some(split.0.as_ref())], Some(*next_offset));
            vec![
                Marker {
                    splits,
                    offset,
                    ..marker(REACHED, *at)
                }
                .encode(schema)?,
            ]
        }
        Arrival::Tick { at } => vec![marker(TICK, *at).encode(schema)?],
        Arrival::End { table: of, at } if *of == table => vec![marker(END, *at).encode(schema)?],
        _ => vec![],
    })
}

fn encode_records(schema: &SchemaRef, records: &Records) -> Result<Vec<RecordBatch>> {
    let mut batches = vec![];
    let rows = records.rows.num_rows();
    if rows > 0 {
        let mut columns = records.rows.columns().to_vec();
        let record_times: ArrayRef = match &records.record_times {
            Some(times) => Arc::new(TimestampNanosecondArray::new(times.clone(), None)),
            None => new_null_array(&TIMESTAMP, rows),
        };
        columns.extend([
            Arc::new(TimestampNanosecondArray::new(
                records.arrived_at.clone(),
                None,
            )) as ArrayRef,
            constant_split(&records.split, rows)?,
            Arc::new(Int64Array::new(records.offsets.clone(), None)),
            record_times,
            Arc::new(UInt8Array::from_value(ROW, rows)),
            new_null_array(&DataType::Utf8, rows),
            new_null_array(&DataType::Binary, rows),
        ]);
        batches.push(RecordBatch::try_new(Arc::clone(schema), columns)?);
    }
    let rejected = records.rejected.len();
    if rejected > 0 {
        let each = || records.rejected.iter();
        let mut columns = null_columns(schema, rejected);
        let times = each().map(|(_, r)| r.record_time);
        let payloads = each().map(|(_, r)| r.payload.as_ref());
        columns.extend([
            Arc::new(TimestampNanosecondArray::from_iter_values(
                each().map(|(at, _)| *at),
            )) as ArrayRef,
            constant_split(&records.split, rejected)?,
            Arc::new(Int64Array::from_iter_values(each().map(|(_, r)| r.offset))),
            Arc::new(times.collect::<TimestampNanosecondArray>()),
            Arc::new(UInt8Array::from_value(REJECTED, rejected)),
            Arc::new(StringArray::from_iter_values(
                each().map(|(_, r)| &r.reason),
            )),
            Arc::new(BinaryArray::from_iter_values(payloads)),
        ]);
        batches.push(RecordBatch::try_new(Arc::clone(schema), columns)?);
    }
    Ok(batches)
}

/// Rows that stand for an arrival without records: one per split named.
#[derive(Debug, Clone, Copy)]
struct Marker<'a> {
    kind: u8,
    at: i64,
    splits: &'a [Option<&'a str>],
    offset: Option<i64>,
    time: Option<i64>,
}

impl Marker<'_> {
    fn encode(self, schema: &SchemaRef) -> Result<RecordBatch> {
        let rows = self.splits.len();
        let mut columns = null_columns(schema, rows);
        let split: ArrayRef = Arc::new(self.splits.iter().copied().collect::<StringArray>());
        let system = schema.fields().len() - SYSTEM_COLUMNS;
        columns.extend([
            Arc::new(TimestampNanosecondArray::from_value(self.at, rows)) as ArrayRef,
            cast(&split, schema.field(system + 1).data_type())?,
            Arc::new(Int64Array::from(vec![self.offset; rows])),
            Arc::new(TimestampNanosecondArray::from(vec![self.time; rows])),
            Arc::new(UInt8Array::from_value(self.kind, rows)),
            new_null_array(&DataType::Utf8, rows),
            new_null_array(&DataType::Binary, rows),
        ]);
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

fn null_columns(schema: &Schema, rows: usize) -> Vec<ArrayRef> {
    let source = &schema.fields()[..schema.fields().len() - SYSTEM_COLUMNS];
    source
        .iter()
        .map(|field| new_null_array(field.data_type(), rows))
        .collect()
}

fn constant_split(split: &Split, rows: usize) -> Result<ArrayRef> {
    let keys = Int32Array::from_value(0, rows);
    let values: ArrayRef = Arc::new(StringArray::from(vec![split.0.as_ref()]));
    Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
}

/// The arrivals that rows of a recording stand for, in order.
pub fn decode(batch: &RecordBatch, table: usize) -> Result<Vec<Arrival>> {
    let rows = Rows::of(batch)?;
    let mut arrivals = vec![];
    let mut from = 0;
    while from < batch.num_rows() {
        // Rejected records stay apart: rows of another table may have arrived between two.
        let same = |row: &usize| {
            rows.kind[*row] == rows.kind[from]
                && match rows.kind[from] {
                    ROW => rows.split(*row) == rows.split(from),
                    REJECTED => false,
                    _ => rows.at[*row] == rows.at[from],
                }
        };
        let to = (from + 1..batch.num_rows())
            .find(|row| !same(row))
            .unwrap_or(batch.num_rows());
        arrivals.push(rows.arrival(table, from, to)?);
        from = to;
    }
    Ok(arrivals)
}

/// The columns of a recording, typed.
struct Rows<'a> {
    source: RecordBatch,
    at: &'a ScalarBuffer<i64>,
    split: StringArray,
    offset: &'a Int64Array,
    record_time: &'a TimestampNanosecondArray,
    kind: &'a ScalarBuffer<u8>,
    reason: &'a StringArray,
    payload: &'a BinaryArray,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let damaged = || Error::corrupt("these rows are not of a recording");
        let source = batch
            .num_columns()
            .checked_sub(SYSTEM_COLUMNS)
            .ok_or_else(damaged)?;
        let column = |i: usize| batch.column(source + i);
        let times = |i| column(i).as_primitive_opt::<TimestampNanosecondType>();
        Ok(Self {
            source: batch.project(&(0..source).collect::<Vec<_>>())?,
            at: times(0).ok_or_else(damaged)?.values(),
            split: cast(column(1), &DataType::Utf8)?.as_string().clone(),
            offset: column(2)
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(damaged)?,
            record_time: times(3).ok_or_else(damaged)?,
            kind: column(4)
                .as_primitive_opt::<UInt8Type>()
                .ok_or_else(damaged)?
                .values(),
            reason: column(5).as_string_opt().ok_or_else(damaged)?,
            payload: column(6).as_binary_opt().ok_or_else(damaged)?,
        })
    }

    fn split(&self, row: usize) -> Option<&str> {
        self.split.is_valid(row).then(|| self.split.value(row))
    }

    fn arrival(&self, table: usize, from: usize, to: usize) -> Result<Arrival> {
        let at = self.at[from];
        let name = |row| Split::new(self.split(row).unwrap_or_default());
        let time = self
            .record_time
            .is_valid(from)
            .then(|| self.record_time.value(from));
        Ok(match self.kind[from] {
            ROW => Arrival::Records(self.rows(table, from, to)),
            REJECTED => Arrival::Records(self.rejected(table, from, to)),
            TICK => Arrival::Tick { at },
            SPLITS => Arrival::Splits {
                table,
                splits: (from..to).map(name).collect(),
                at,
            },
            REACHED => Arrival::Reached {
                table,
                split: name(from),
                next_offset: self.offset.value(from),
                at,
            },
            END => Arrival::End { table, at },
            ADVANCE => Arrival::Advance {
                table,
                time: time.unwrap_or(i64::MIN),
                at,
            },
            kind => {
                return Err(Error::corrupt(format!(
                    "a recording has rows of kind {kind}"
                )));
            }
        })
    }

    fn rows(&self, table: usize, from: usize, to: usize) -> Records {
        let times = self.record_time.slice(from, to - from);
        Records {
            table,
            split: Split::new(self.split(from).unwrap_or_default()),
            rows: self.source.slice(from, to - from),
            offsets: self.offset.values().slice(from, to - from),
            record_times: (times.null_count() == 0).then(|| times.values().clone()),
            arrived_at: self.at.slice(from, to - from),
            rejected: vec![],
            next_offset: self.offset.value(to - 1) + 1,
        }
    }

    fn rejected(&self, table: usize, from: usize, to: usize) -> Records {
        let record_time = |row| {
            self.record_time
                .is_valid(row)
                .then(|| self.record_time.value(row))
        };
        let rejected = |row: usize| {
            let rejected = Rejected {
                offset: self.offset.value(row),
                record_time: record_time(row),
                payload: Bytes::copy_from_slice(self.payload.value(row)),
                reason: self.reason.value(row).to_string(),
            };
            (self.at[row], rejected)
        };
        Records {
            table,
            split: Split::new(self.split(from).unwrap_or_default()),
            rows: self.source.slice(from, 0),
            offsets: ScalarBuffer::from(vec![]),
            record_times: None,
            arrived_at: ScalarBuffer::from(vec![]),
            rejected: (from..to).map(rejected).collect(),
            next_offset: self.offset.value(to - 1) + 1,
        }
    }
}
