//! One step of the graph: what an operator promises, and the adapter for stateless ones.

pub mod aggregate;
pub mod filter;
pub mod hop;
pub mod key;
mod merge;
pub mod order;
pub mod over;
pub mod project;
pub mod ttl;
pub mod tumble;
pub mod union;
mod window;

use std::fmt::{Debug, Display};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::time::Watermark;

/// One step of the graph. Synchronous; what it emits depends on the messages received, in
/// order, and not on how the rows were cut into batches.
///
/// The shard calls `on_batch` for each batch of a port, `on_watermark` with the watermark that
/// all ports have in common when it has grown (and forwards it afterwards), and `snapshot`
/// between two messages. An error fails the job, unless it is about a single row: such rows are
/// given to [`Output::reject`].
pub trait Operator: Send {
    /// Takes rows of an input port, numbered from zero.
    fn on_batch(&mut self, port: usize, batch: RecordBatch, out: &mut Output) -> Result<()>;
    /// Takes note that the past is complete up to here.
    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()>;
    /// The whole state. The operator stays as it is.
    fn snapshot(&mut self) -> Result<Snapshot>;
    /// Takes up a state of `snapshot`; called on a fresh operator, before anything else.
    fn restore(&mut self, snapshot: Snapshot) -> Result<()>;
    /// [`restore`](Self::restore) of a step that had other [parts](OperatorSpec::parts): by part of
    /// this one the number of the same one there; a part that has none begins empty. One that has no
    /// parts is not asked.
    fn restore_parts(&mut self, snapshot: Snapshot, _: &[Option<usize>]) -> Result<()> {
        self.restore(snapshot)
    }
    /// Emits the rows that the open windows would have if they closed now. The operator stays as
    /// it is, to the bit. One that has no windows has nothing to emit.
    fn forming(&mut self, _: &mut Output) -> Result<()> {
        Ok(())
    }
}

/// An operator as data: its display is its line in EXPLAIN and says everything that
/// distinguishes it, so two specs that print alike over the same inputs are the same step.
pub trait OperatorSpec: Debug + Display + Send + Sync {
    /// The columns of what it emits.
    fn schema(&self) -> SchemaRef;
    /// A fresh operator.
    fn build(&self) -> Result<Box<dyn Operator>>;
    /// Whether what it emits for a row follows from the row alone, so that rows which are only
    /// looked at may pass it.
    fn is_stateless(&self) -> bool {
        false
    }
    /// The parts of its state that do not depend on each other, if it has such: what each depends on
    /// besides [`base`](Self::base) and the columns in.
    fn parts(&self) -> Vec<String> {
        vec![]
    }
    /// The display without the parts: what all of the state depends on.
    fn base(&self) -> String {
        self.to_string()
    }
    /// Whether every row in comes out as one row, is left out or is given up: at once, or at the
    /// latest when the input ends.
    fn passes_rows(&self) -> bool {
        false
    }
}

/// What an operator emits in one call.
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<RecordBatch>,
    rejected: Vec<RejectedRow>,
    left_out: u64,
}

/// A row that an operator could not take: it goes to `<table>$dead`, as JSON.
#[derive(Debug, Clone)]
pub struct RejectedRow {
    /// The row, as a batch of one.
    pub row: RecordBatch,
    /// What is wrong with it.
    pub reason: String,
}

impl Output {
    /// Emits rows; empty batches are dropped.
    pub fn emit(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }

    /// Gives up a row of the input.
    pub fn reject(&mut self, row: RecordBatch, reason: impl Into<String>) {
        self.rejected.push(RejectedRow {
            row,
            reason: reason.into(),
        });
    }

    /// Counts rows of the input that nothing follows from, as their query says.
    pub fn leave_out(&mut self, rows: usize) {
        self.left_out += rows as u64;
    }

    /// How many rows were left out since the last call.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// What was emitted since the last call.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches)
    }

    /// The same, one by one; the room stays for what is emitted next.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = RecordBatch> + '_ {
        self.batches.drain(..)
    }

    /// What was rejected since the last call.
    pub fn take_rejected(&mut self) -> Vec<RejectedRow> {
        std::mem::take(&mut self.rejected)
    }
}

/// The state of one operator: a version of its own and tables.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Version of the tables' meaning, set by the operator and checked by it on restore.
    pub version: u32,
    /// The state, as the operator likes to cut it.
    pub tables: Vec<RecordBatch>,
}

impl Snapshot {
    /// The snapshot of an operator without state.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// An error unless the snapshot is of this version.
    pub fn expect_version(&self, version: u32) -> Result<()> {
        if self.version == version {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "snapshot has version {}, this build reads version {version}",
            self.version
        )))
    }
}

/// One binary cell per state, in postcard's encoding: bit-exact for floats. The states of a
/// function may be larger together than the 2 GiB that a plain binary column holds.
pub fn encode_states<T: Serialize>(states: &[T]) -> Result<RecordBatch> {
    let mut cells = LargeBinaryBuilder::with_capacity(states.len(), 0);
    for state in states {
        let cell = postcard::to_stdvec(state)
            .map_err(|e| Error::internal("a state cannot be encoded").caused_by(e))?;
        cells.append_value(cell);
    }
    let column: ArrayRef = Arc::new(cells.finish());
    let schema = Schema::new(vec![Field::new("state", DataType::LargeBinary, false)]);
    Ok(RecordBatch::try_new(Arc::new(schema), vec![column])?)
}

/// The states of [`encode_states`].
pub fn decode_states<T: DeserializeOwned>(batch: &RecordBatch) -> Result<Vec<T>> {
    let damaged = || Error::corrupt("a state in the snapshot cannot be decoded");
    let column = batch.columns().first().ok_or_else(damaged)?;
    let cells = column.as_binary_opt::<i64>().ok_or_else(damaged)?;
    let decode = |i| postcard::from_bytes(cells.value(i)).map_err(|e| damaged().caused_by(e));
    (0..cells.len()).map(decode).collect()
}

/// A step without state: rows in, rows out.
pub trait Map: Send {
    /// The rows that follow from these.
    fn map(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()>;
}

/// Emits what `apply` makes of the batch. Where it fails, the rows are tried one by one, those
/// at fault are rejected and the others go on: a bad row never stops a job.
fn row_by_row(
    batch: &RecordBatch,
    out: &mut Output,
    mut apply: impl FnMut(&RecordBatch) -> Result<RecordBatch>,
) -> Result<()> {
    match apply(batch) {
        Ok(rows) => out.emit(rows),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            for i in 0..batch.num_rows() {
                let row = batch.slice(i, 1);
                match apply(&row) {
                    Ok(rows) => out.emit(rows),
                    Err(error) => out.reject(row, error.chain()),
                }
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Makes an operator of a [`Map`].
#[derive(Debug)]
pub struct Stateless<M>(pub M);

impl<M: Map> Operator for Stateless<M> {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        self.0.map(batch, out)
    }

    fn on_watermark(&mut self, _: Watermark, _: &mut Output) -> Result<()> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot::empty())
    }

    fn restore(&mut self, _: Snapshot) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_may_be_larger_together_than_32_bits_count() {
        let states = vec![(0.1_f64, vec![1_u64, 2]), (f64::NAN, vec![])];
        let encoded = encode_states(&states).unwrap();
        let cells = encoded.column(0).as_binary_opt::<i64>();
        assert_eq!(cells.map(Array::len), Some(2));
        let decoded: Vec<(f64, Vec<u64>)> = decode_states(&encoded).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{states:?}"));
    }
}
