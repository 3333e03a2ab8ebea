//! `hop`: the overlapping windows of a fixed size that each row falls in.

use std::fmt;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use super::window::{append_bounds, beyond_time, times, window_start, with_bounds};
use crate::error::Result;
use crate::operator::{Map, Operator, OperatorSpec, Output, Stateless, row_by_row};

/// `HOP(table, time, slide, size[, offset])`: each row once per window it falls in, earliest
/// window first, with `window_start` and `window_end` appended. A row falls in `size / slide`
/// windows, rounded up or down; in none where `slide > size` and it lies in a gap.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Columns in.
    pub input: SchemaRef,
    /// Position of the time column.
    pub time: usize,
    /// From one window's start to the next; not zero.
    pub slide: Duration,
    /// Length of a window; not zero.
    pub size: Duration,
    /// Where the grid begins, in nanoseconds.
    pub offset: i64,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.input.field(self.time).name();
        write!(f, "Hop: {time} slide {:?} size {:?}", self.slide, self.size)?;
        if self.offset != 0 {
            write!(f, " offset {} ns", self.offset)?;
        }
        Ok(())
    }
}

impl OperatorSpec for Hop {
    fn schema(&self) -> SchemaRef {
        with_bounds(&self.input)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let (slide, size) = (self.slide.as_nanos() as i64, self.size.as_nanos() as i64);
        let Self { time, offset, .. } = *self;
        Ok(Box::new(Stateless(Assign {
            schema: self.schema(),
            time,
            slide,
            size,
            offset,
        })))
    }
}

struct Assign {
    schema: SchemaRef,
    time: usize,
    slide: i64,
    size: i64,
    offset: i64,
}

impl Assign {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (mut rows, mut starts) = (vec![], vec![]);
        for (row, time) in times(batch, self.time)?.iter().enumerate() {
            let last = window_start(*time, self.slide, self.offset)?;
            // A window holds the row if start <= time < start + size.
            let before = (self.size - 1 - (time - last)).div_euclid(self.slide);
            for n in (0..=before).rev() {
                rows.push(row as u32);
                let start = n
                    .checked_mul(self.slide)
                    .and_then(|back| last.checked_sub(back));
                starts.push(start.ok_or_else(beyond_time)?);
            }
        }
        let repeated = take_record_batch(batch, &UInt32Array::from(rows))?;
        append_bounds(&repeated, &self.schema, starts, self.size)
    }
}

/// Rows out of one call at most, however many windows a row falls in.
const BATCH_ROWS: i64 = 65_536;

impl Map for Assign {
    fn map(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let windows = (self.size / self.slide).max(1);
        let step = (BATCH_ROWS / windows).max(1) as usize;
        for start in (0..batch.num_rows()).step_by(step) {
            let rows = batch.slice(start, step.min(batch.num_rows() - start));
            row_by_row(&rows, out, |rows| self.apply(rows))?;
        }
        Ok(())
    }
}
