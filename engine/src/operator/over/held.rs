//! Rows that wait for the watermark, as the batches they came in.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, not};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};

use crate::error::{Error, Result};

/// The waiting rows, in the order in which they came.
pub(super) struct Held {
    schema: SchemaRef,
    time: usize,
    batches: VecDeque<Waiting>,
}

struct Waiting {
    rows: RecordBatch,
    first: i64,
    last: i64,
}

impl Held {
    pub(super) fn new(schema: SchemaRef, time: usize) -> Self {
        Self {
            schema,
            time,
            batches: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let times = times(rows.column(self.time))?;
        let (first, last) = (times.iter().min().copied(), times.iter().max().copied());
        if let Some((first, last)) = first.zip(last) {
            self.batches.push_back(Waiting { rows, first, last });
        }
        Ok(())
    }

    /// Takes out the rows whose time has passed, all in one batch, so that peers are together.
    /// Rows of several splits may not be in time order; those of one key are.
    pub(super) fn release(&mut self, passed: impl Fn(i64) -> bool) -> Result<Option<RecordBatch>> {
        let mut released = vec![];
        let mut kept = VecDeque::with_capacity(self.batches.len());
        for waiting in self.batches.drain(..) {
            if passed(waiting.last) {
                released.push(waiting.rows);
            } else if passed(waiting.first) {
                let (go, stay) = cut(&waiting.rows, self.time, &passed)?;
                released.push(go);
                let times = times(stay.column(self.time))?;
                let first = times.iter().min().copied().unwrap_or(waiting.last);
                kept.push_back(Waiting {
                    rows: stay,
                    first,
                    last: waiting.last,
                });
            } else {
                kept.push_back(waiting);
            }
        }
        self.batches = kept;
        match released.as_slice() {
            [] => Ok(None),
            [_] => Ok(released.pop()),
            _ => Ok(Some(concat_batches(&self.schema, &released)?)),
        }
    }

    /// All waiting rows; they go on waiting.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        let batches = self.batches.iter().map(|waiting| &waiting.rows);
        Ok(concat_batches(&self.schema, batches)?)
    }
}

/// The rows whose time has passed and the others: slices where the former come first.
fn cut(
    rows: &RecordBatch,
    time: usize,
    passed: impl Fn(i64) -> bool,
) -> Result<(RecordBatch, RecordBatch)> {
    let column = times(rows.column(time))?;
    let count = column.iter().take_while(|time| passed(**time)).count();
    if column[count..].iter().any(|time| passed(*time)) {
        let goes: BooleanArray = column.iter().map(|time| Some(passed(*time))).collect();
        let stay = filter_record_batch(rows, &not(&goes)?)?;
        return Ok((filter_record_batch(rows, &goes)?, stay));
    }
    Ok((
        rows.slice(0, count),
        rows.slice(count, rows.num_rows() - count),
    ))
}

fn times(column: &ArrayRef) -> Result<&[i64]> {
    let times = column.as_primitive_opt::<TimestampNanosecondType>();
    let times = times.ok_or_else(|| Error::internal("over: the time is not TIMESTAMP(9)"))?;
    Ok(times.values())
}
