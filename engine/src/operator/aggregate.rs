//! `aggregate`: one row per window and key, when the window closes.

mod window_state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef, UInt32Type};

pub use super::union::TimeDomain;
use super::window::times;
use crate::error::{Error, Result};
use crate::expression;
use crate::operator::{Operator, OperatorSpec, Output, Snapshot};
use crate::time::{TIMESTAMP, Watermark};
use window_state::{KeyValues, Window};

/// `GROUP BY key, window_start, window_end` over the rows of `tumble` or `hop`.
///
/// Emits the key's columns, the window's bounds and the aggregates, ordered by window end and,
/// within a window, by the key's first row in it.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// Columns in.
    pub input: SchemaRef,
    /// Position of the key's number, as [`key`](crate::operator::key) appends it.
    pub key: usize,
    /// Positions of the columns that make up the key.
    pub key_columns: Vec<usize>,
    /// Position of the window's start.
    pub window_start: usize,
    /// Position of the window's end.
    pub window_end: usize,
    /// Which time the windows cut.
    pub domain: TimeDomain,
    /// The aggregates with the names of their columns.
    pub aggregates: Vec<(String, Arc<dyn expression::Aggregate>)>,
    /// Whether keys that are in no open window are forgotten: `key` may give their numbers to
    /// others. No row depends on it.
    pub forgetting: bool,
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aggregate: by [")?;
        for column in &self.key_columns {
            write!(f, "{}, ", self.input.field(*column).name())?;
        }
        let (start, end) = (
            self.input.field(self.window_start),
            self.input.field(self.window_end),
        );
        write!(f, "{}, {}] on {}", start.name(), end.name(), self.domain)?;
        for (name, aggregate) in &self.aggregates {
            let text = aggregate.to_string();
            match text == *name {
                true => write!(f, ", {text}")?,
                false => write!(f, ", {text} AS {name}")?,
            }
        }
        Ok(())
    }
}

impl OperatorSpec for Aggregate {
    fn schema(&self) -> SchemaRef {
        let keys = self
            .key_columns
            .iter()
            .map(|column| self.input.field(*column).clone());
        let bounds = [self.window_start, self.window_end];
        let bounds = bounds.map(|b| Field::new(self.input.field(b).name(), TIMESTAMP, false));
        let aggregates = self.aggregates.iter();
        let aggregates = aggregates.map(|(name, a)| Field::new(name, a.data_type(), true));
        Arc::new(Schema::new(
            keys.chain(bounds).chain(aggregates).collect::<Vec<_>>(),
        ))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let keys = self.input.project(&self.key_columns)?;
        Ok(Box::new(State {
            schema: self.schema(),
            keys: KeyValues::new(Arc::new(keys), self.forgetting),
            open: BTreeMap::new(),
            spec: self.clone(),
        }))
    }
}

struct State {
    spec: Aggregate,
    schema: SchemaRef,
    keys: KeyValues,
    /// The open windows by end and start.
    open: BTreeMap<(i64, i64), Window>,
}

impl State {
    /// Adds rows that all fall in one window.
    fn add(&mut self, bounds: (i64, i64), rows: &RecordBatch) -> Result<()> {
        let keys = rows.column(self.spec.key).as_primitive_opt::<UInt32Type>();
        let keys = keys.ok_or_else(|| Error::internal("the key column is not UInt32"))?;
        self.keys
            .learn(keys.values(), rows, &self.spec.key_columns)?;
        let window = match self.open.entry(bounds) {
            std::collections::btree_map::Entry::Occupied(window) => window.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Window::new(&self.spec.aggregates)?)
            }
        };
        window.add(keys.values(), rows, &mut self.keys)
    }
}

impl Operator for State {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, _: &mut Output) -> Result<()> {
        let starts = times(&batch, self.spec.window_start)?;
        let ends = times(&batch, self.spec.window_end)?;
        let bounds = |row: usize| (ends[row], starts[row]);
        let Some(first) = (batch.num_rows() > 0).then(|| bounds(0)) else {
            return Ok(());
        };
        if (1..batch.num_rows()).all(|row| bounds(row) == first) {
            return self.add(first, &batch);
        }
        let mut windows: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            windows.entry(bounds(row)).or_default().push(row as u32);
        }
        for (bounds, rows) in windows {
            self.add(
                bounds,
                &take_record_batch(&batch, &UInt32Array::from(rows))?,
            )?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        while let Some(entry) = self.open.first_entry() {
            let (end, start) = *entry.key();
            if !self.spec.domain.passed(watermark, end - 1) {
                break;
            }
            let mut window = entry.remove();
            let rows = window.close(&self.schema, &self.keys, start, end)?;
            for from in (0..rows.num_rows()).step_by(8_192) {
                out.emit(rows.slice(from, 8_192.min(rows.num_rows() - from)));
            }
            self.keys.leave(window.keys())?;
        }
        Ok(())
    }

    fn forming(&mut self, out: &mut Output) -> Result<()> {
        for ((end, start), window) in &mut self.open {
            let mut copy = window.copy(&self.spec.aggregates)?;
            out.emit(copy.close(&self.schema, &self.keys, *start, *end)?);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut tables = vec![self.keys.snapshot()?];
        for ((end, start), window) in &mut self.open {
            tables.push(window.snapshot(*start, *end)?);
        }
        Ok(Snapshot { version: 1, tables })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        snapshot.expect_version(1)?;
        let mut tables = snapshot.tables.into_iter();
        let missing = || Error::corrupt("the snapshot of an aggregate lacks its keys");
        self.keys.restore(&tables.next().ok_or_else(missing)?)?;
        for table in tables {
            let mut window = Window::new(&self.spec.aggregates)?;
            let (start, end) = window.restore(&table, &mut self.keys)?;
            self.open.insert((end, start), window);
        }
        Ok(())
    }
}
