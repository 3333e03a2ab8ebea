//! `union`: the rows of several inputs as one stream, in an order of its own.
//!
//! Branches of one table emit in turns that depend on how the rows were cut into batches, so
//! rows are held and merged by (time, port): by event time once the watermark has passed it, by
//! arrival time as soon as the arrival is complete.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::merge::{MergeBuffer, Ranks};
use crate::error::Result;
use crate::operator::{Operator, OperatorSpec, Output, Snapshot};
use crate::time::Watermark;

/// `UNION ALL`.
#[derive(Debug, Clone)]
pub struct Union {
    /// Columns in and out; the inputs' columns have the same types in the same order.
    pub schema: SchemaRef,
    /// How many inputs there are.
    pub inputs: usize,
    /// Position of the column that the rows are merged by.
    pub time: usize,
    /// Which time it is.
    pub domain: TimeDomain,
}

/// What a time column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// Event time, or a window's bound: complete up to `delay` behind the watermark.
    Event {
        /// How far the column lags behind the watermark, in nanoseconds (a window's start: its
        /// size).
        delay: i64,
    },
    /// Arrival time: each row has its own.
    Arrival,
}

impl TimeDomain {
    /// Whether every row with a time up to and including `time` has been handed over.
    #[must_use]
    pub fn passed(self, watermark: Watermark, time: i64) -> bool {
        match self {
            Self::Event { delay } => watermark.passed(time.saturating_add(delay)),
            Self::Arrival => time <= watermark.arrived_at.0,
        }
    }
}

impl fmt::Display for TimeDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { delay: 0 } => f.write_str("event time"),
            Self::Event { delay } => write!(f, "event time, {delay} ns behind"),
            Self::Arrival => f.write_str("arrival time"),
        }
    }
}

impl fmt::Display for Union {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.schema.field(self.time).name();
        write!(f, "Union: by {time} ({})", self.domain)
    }
}

impl OperatorSpec for Union {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn passes_rows(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(State {
            spec: self.clone(),
            held: MergeBuffer::default(),
        }))
    }
}

struct State {
    spec: Union,
    held: MergeBuffer,
}

impl Operator for State {
    fn on_batch(&mut self, port: usize, batch: RecordBatch, _: &mut Output) -> Result<()> {
        let rows = batch.with_schema(Arc::clone(&self.spec.schema))?;
        self.held
            .push(rows, self.spec.time, Ranks::All(port as u32))
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let domain = self.spec.domain;
        self.held
            .release(|time, _| domain.passed(watermark, time), out)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let port = |port| self.held.held(&self.spec.schema, Some(port as u32));
        let tables = (0..self.spec.inputs)
            .map(port)
            .collect::<Result<Vec<_>>>()?;
        Ok(Snapshot { version: 1, tables })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        snapshot.expect_version(1)?;
        for (port, rows) in snapshot.tables.into_iter().enumerate() {
            self.held
                .push(rows, self.spec.time, Ranks::All(port as u32))?;
        }
        Ok(())
    }
}
