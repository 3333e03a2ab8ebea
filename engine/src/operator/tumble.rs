//! `tumble`: the one window of a fixed size that each row falls in.

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use super::window::{WINDOW_END, WINDOW_START};
use super::window::{append_bounds, times, window_start, with_bounds};
use crate::error::Result;
use crate::operator::{Map, Operator, OperatorSpec, Output, Stateless, row_by_row};

/// `TUMBLE(table, time, size[, offset])`: appends `window_start` and `window_end`. Windows are
/// `[start, end)` on the grid `offset + n × size` from the epoch.
#[derive(Debug, Clone)]
pub struct Tumble {
    /// Columns in.
    pub input: SchemaRef,
    /// Position of the time column.
    pub time: usize,
    /// Length of a window; not zero.
    pub size: Duration,
    /// Where the grid begins, in nanoseconds.
    pub offset: i64,
}

impl fmt::Display for Tumble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tumble: {} size {:?}",
            self.input.field(self.time).name(),
            self.size
        )?;
        if self.offset != 0 {
            write!(f, " offset {} ns", self.offset)?;
        }
        Ok(())
    }
}

impl OperatorSpec for Tumble {
    fn schema(&self) -> SchemaRef {
        with_bounds(&self.input)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let size = self.size.as_nanos() as i64;
        let Self { time, offset, .. } = *self;
        Ok(Box::new(Stateless(Assign {
            schema: self.schema(),
            time,
            size,
            offset,
        })))
    }
}

struct Assign {
    schema: SchemaRef,
    time: usize,
    size: i64,
    offset: i64,
}

impl Assign {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let start = |time: &i64| window_start(*time, self.size, self.offset);
        let starts = times(batch, self.time)?
            .iter()
            .map(start)
            .collect::<Result<Vec<_>>>()?;
        append_bounds(batch, &self.schema, starts, self.size)
    }
}

impl Map for Assign {
    fn map(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        row_by_row(&batch, out, |rows| self.apply(rows))
    }
}
