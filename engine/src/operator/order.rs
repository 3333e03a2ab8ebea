//! `order`: rows in the order (event time, split, offset), late ones left out.
//!
//! It stands under the first step that needs event time. What follows meets every key in
//! event-time order however the splits interleaved. Within a split rows arrive by offset, so
//! arrival breaks the last tie.
//!
//! Where every key has one split, and nothing above looks across keys, a row need not wait for
//! other splits: with its own it goes on when its split has passed it. What a watermark lets go
//! still leaves in the order above, but a split that is ahead is not held back by others. A row
//! lets go only rows of its own split (the intake says so after its rows, and after every silence
//! by itself), so the order does not depend on how rows were polled together here either.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
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
    /// Whether each split is released by its own watermark.
    pub by_split: bool,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order: {}", self.schema.field(self.time).name())?;
        match self.by_split {
            true => f.write_str(", each split by its own watermark"),
            false => Ok(()),
        }
    }
}

impl OperatorSpec for Order {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn passes_rows(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(State {
            spec: self.clone(),
            held: vec![],
        }))
    }
}

struct State {
    spec: Order,
    /// What waits: of all splits together, or of each by its number.
    held: Vec<MergeBuffer>,
}

impl State {
    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        let splits = rows
            .column(self.spec.split)
            .as_primitive_opt::<UInt32Type>();
        let splits = splits.ok_or_else(|| Error::internal("the split column is not UInt32"))?;
        let splits = splits.values().clone();
        let Some(first) = splits.first().copied() else {
            return Ok(());
        };
        if splits.iter().all(|split| *split == first) {
            return self.push(rows, first, Ranks::All(first));
        }
        if !self.spec.by_split {
            return self.push(rows, first, Ranks::Each(splits));
        }
        for split in splits.iter().copied().collect::<BTreeSet<u32>>() {
            let of: BooleanArray = splits.iter().map(|other| Some(*other == split)).collect();
            self.push(filter_record_batch(&rows, &of)?, split, Ranks::All(split))?;
        }
        Ok(())
    }

    fn push(&mut self, rows: RecordBatch, split: u32, ranks: Ranks) -> Result<()> {
        let place = if self.spec.by_split {
            split as usize
        } else {
            0
        };
        if self.held.len() <= place {
            self.held.resize_with(place + 1, MergeBuffer::default);
        }
        self.held[place].push(rows, self.spec.time, ranks)
    }

    /// Releases each split by its own watermark; what several let go at once is merged.
    fn release_by_split(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let goes = |time, split| watermark.releases_within(time, split);
        let ready = (0..self.held.len()).filter(|split| self.held[*split].is_ready(goes));
        let ready: Vec<usize> = ready.collect();
        if let [split] = ready.as_slice() {
            return self.held[*split].release(goes, out);
        }
        let (mut merged, mut alone) = (MergeBuffer::default(), Output::default());
        for split in ready {
            self.held[split].release(goes, &mut alone)?;
            for rows in alone.take() {
                merged.push(rows, self.spec.time, Ranks::All(split as u32))?;
            }
        }
        merged.release(|_, _| true, out)
    }
}

impl Operator for State {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let late = batch.column(self.spec.late).as_boolean_opt();
        let late = late.ok_or_else(|| Error::internal("the late column is not boolean"))?;
        match late.true_count() {
            0 => self.hold(batch),
            count => {
                out.leave_out(count);
                self.hold(filter_record_batch(&batch, &not(late)?)?)
            }
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        match self.held.as_mut_slice() {
            _ if self.spec.by_split => self.release_by_split(watermark, out),
            [held] => held.release(|time, split| watermark.releases(time, split), out),
            _ => Ok(()),
        }
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let held = self.held.iter();
        let tables = held.map(|held| held.held(&self.spec.schema, None));
        Ok(Snapshot {
            version: 1,
            tables: tables.collect::<Result<_>>()?,
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
