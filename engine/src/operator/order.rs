//! `order`: rows in the order (event time, split, offset), late ones left out.
//!
//! It stands under the first step that needs event time. What follows meets every key in
//! event-time order however the splits interleaved. Within a split rows arrive by offset, so
//! arrival breaks the last tie.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{SchemaRef, UInt32Type};

use super::merge::{MergeBuffer, Ranks};
use crate::error::{Error, Result};
use crate::operator::{Operator, OperatorSpec, Output, Snapshot};
use crate::time::Watermark;

/// Holds rows until the watermark lets them go.
#[derive(Debug, Clone)]
pub struct Order {
    /// Columns in and out.
    pub schema: SchemaRef,
    /// Position of the event-time column.
    pub time: usize,
    /// Position of [`SPLIT`](crate::stream::SPLIT).
    pub split: usize,
    /// Position of [`LATE`](crate::stream::LATE).
    pub late: usize,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order: {}", self.schema.field(self.time).name())
    }
}

impl OperatorSpec for Order {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(State {
            spec: self.clone(),
            held: MergeBuffer::default(),
        }))
    }
}

struct State {
    spec: Order,
    held: MergeBuffer,
}

impl State {
    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        let splits = rows
            .column(self.spec.split)
            .as_primitive_opt::<UInt32Type>();
        let splits = splits.ok_or_else(|| Error::internal("the split column is not UInt32"))?;
        let splits = splits.values();
        let ranks = match splits.first() {
            Some(first) if splits.iter().all(|split| split == first) => Ranks::All(*first),
            _ => Ranks::Each(splits.clone()),
        };
        self.held.push(rows, self.spec.time, ranks)
    }
}

impl Operator for State {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, _: &mut Output) -> Result<()> {
        let late = batch.column(self.spec.late).as_boolean_opt();
        let late = late.ok_or_else(|| Error::internal("the late column is not boolean"))?;
        match late.true_count() {
            0 => self.hold(batch),
            _ => self.hold(filter_record_batch(&batch, &not(late)?)?),
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        self.held
            .release(|time, split| watermark.releases(time, split), out)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot {
            version: 1,
            tables: vec![self.held.held(&self.spec.schema, None)?],
        })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        snapshot.expect_version(1)?;
        snapshot
            .tables
            .into_iter()
            .try_for_each(|rows| self.hold(rows))
    }
}

#[cfg(test)]
mod tests;
