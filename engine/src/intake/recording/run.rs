//! Rows of a recording that arrived together, as the log keeps them: without the columns that
//! follow from the first row, which are most of the bytes of a row that has few columns itself.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type,
};
use serde::{Deserialize, Serialize};

use super::{ROW, SYSTEM_COLUMNS, encode_records, schema};
use crate::error::{Error, Result};
use crate::intake::Records;
use crate::source::Split;

/// What follows from it: rows of one split that arrived a nanosecond apart and have one offset
/// after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    split: Split,
    /// When the first row arrived.
    at: i64,
    /// The offset of the first row.
    offset: i64,
    /// Whether `_record_time` is the last column of the rows; it is NULL otherwise.
    timed: bool,
}

/// The run that these rows of a recording are, with their columns that do not follow from it;
/// `None` where they are none.
pub(crate) fn shorten(batch: &RecordBatch) -> Result<Option<(Run, RecordBatch)>> {
    let (rows, columns) = (batch.num_rows(), batch.num_columns());
    let Some(source) = columns.checked_sub(SYSTEM_COLUMNS).filter(|of| *of > 0) else {
        return Ok(None);
    };
    let column = |i: usize| batch.column(source + i);
    let is_null = |i: usize| column(i).null_count() == rows;
    let kinds = column(4).as_primitive_opt::<UInt8Type>();
    let plain = kinds.is_some_and(|kinds| each(kinds.values().iter(), |kind| *kind == ROW));
    let timed = column(3).null_count() == 0;
    if !plain || !is_null(5) || !is_null(6) || !(timed || is_null(3)) {
        return Ok(None);
    }
    let first = counting::<TimestampNanosecondType>(column(0));
    let offset = counting::<Int64Type>(column(2));
    let (Some(split), Some(at), Some(offset)) = (only(column(1)), first, offset) else {
        return Ok(None);
    };
    let run = Run {
        split,
        at,
        offset,
        timed,
    };
    let mut kept: Vec<usize> = (0..source).collect();
    kept.extend(timed.then_some(source + 3));
    Ok(Some((run, batch.project(&kept)?)))
}

/// The first of values that are each one more than the one before, and that one more could follow.
fn counting<T: ArrowPrimitiveType<Native = i64>>(column: &dyn Array) -> Option<i64> {
    let column = column.as_primitive_opt::<T>()?;
    let first = *column
        .values()
        .first()
        .filter(|_| column.null_count() == 0)?;
    let end = first.checked_add(column.len() as i64)?;
    each(
        column.values().iter().zip(first..end),
        |(value, counted)| *value == counted,
    )
    .then_some(first)
}

/// Whether all are so. It does not stop at the first that is not: nearly always all are, and so
/// several are compared by one instruction.
fn each<T>(values: impl Iterator<Item = T>, is_so: impl Fn(T) -> bool) -> bool {
    values.fold(true, |all, value| all & is_so(value))
}

/// The split that all rows are from.
fn only(column: &dyn Array) -> Option<Split> {
    let column = column.as_dictionary_opt::<Int32Type>()?;
    let (keys, texts) = (column.keys(), column.values().as_string_opt::<i32>()?);
    let key = *keys.values().first().filter(|_| keys.null_count() == 0)?;
    let same = each(keys.values().iter(), |other| *other == key);
    let text = usize::try_from(key)
        .ok()
        .filter(|key| same && texts.is_valid(*key))?;
    Some(Split::new(texts.value(text)))
}

impl Run {
    /// The rows again, as they were before [`shorten`].
    pub(crate) fn lengthen(self, rows: &RecordBatch) -> Result<RecordBatch> {
        let damaged = || Error::corrupt("kept rows are not of the run that they are said to be");
        let count = rows.num_rows() as i64;
        let source = rows.num_columns().checked_sub(usize::from(self.timed));
        let source = rows.project(&(0..source.ok_or_else(damaged)?).collect::<Vec<_>>())?;
        let record_times = match self.timed {
            true => {
                let times = rows.columns().last().ok_or_else(damaged)?;
                let times = times.as_primitive_opt::<TimestampNanosecondType>();
                Some(times.ok_or_else(damaged)?.values().clone())
            }
            false => None,
        };
        let to = |first: i64| first.checked_add(count).ok_or_else(damaged);
        let (next_at, next_offset) = (to(self.at)?, to(self.offset)?);
        let schema = schema(&source.schema());
        let records = Records {
            table: 0,
            split: self.split,
            rows: source,
            offsets: (self.offset..next_offset).collect::<ScalarBuffer<i64>>(),
            record_times,
            arrived_at: (self.at..next_at).collect::<ScalarBuffer<i64>>(),
            rejected: vec![],
            next_offset,
        };
        encode_records(&schema, &records)?.pop().ok_or_else(damaged)
    }
}
