//! What `over` runs: a window function with one state per key, a whole batch at a call.
//!
//! Dispatch is once per batch and kernel; the loop over the rows is inside, monomorphic. An
//! indicator and a frame function (`avg` over `ROWS 59 PRECEDING`) are both kernels.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::error::Result;

/// The rows of one call, in the order in which they count for every key.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The dense key number of every row.
    pub keys: &'a [u32],
    /// One more than the highest key number seen so far.
    pub key_count: usize,
    /// The time each row is ordered by, never falling within a key; what `RANGE` frames measure
    /// and what makes rows peers. All peers of a row are in the same call.
    pub times: &'a [i64],
}

/// A window function in motion.
pub trait Kernel: Send {
    /// One value per row; several outputs come as a struct. A NULL argument leaves the state of
    /// its key as it is where the function says so.
    fn evaluate(&mut self, rows: Rows<'_>, arguments: &[ArrayRef]) -> Result<ArrayRef>;
    /// The states of all keys, by key number.
    fn snapshot(&self) -> Result<Vec<RecordBatch>>;
    /// Takes up a state of `snapshot` in a fresh kernel.
    fn restore(&mut self, state: &[RecordBatch]) -> Result<()>;
    /// These keys start afresh; whatever was kept of them is given back. Of the numbers from
    /// `key_count` on none is in use any more.
    fn forget(&mut self, keys: &[u32], key_count: usize);
    /// The state of the key `from` is from now on that of `to`, whose own is forgotten. What is
    /// left at `from` is of no use; both have been met.
    fn rename(&mut self, from: u32, to: u32);
}

/// A window function as data; its display is how EXPLAIN prints it, without its arguments.
pub trait KernelSpec: Debug + Display + Send + Sync {
    /// The type of the value.
    fn data_type(&self) -> DataType;
    /// A fresh kernel.
    fn build(&self) -> Result<Box<dyn Kernel>>;
}

/// A column of numbers as DOUBLE; a DOUBLE one as it is. Whole numbers are converted here: for a
/// row that comes alone arrow's cast costs more than all that is computed of it.
pub(crate) fn as_double(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Float64 => Arc::clone(column),
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Arc::new(column.unary::<_, Float64Type>(|value| value as f64))
        }
        _ => cast(column, &DataType::Float64)?,
    })
}

/// Which rows of a call have a value. A byte a row is cheaper to write in the loop over the rows
/// than a bit, and kept from call to call it costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Valid(Vec<bool>);

impl Valid {
    /// As many rows, all with a value.
    pub(crate) fn reset(&mut self, rows: usize) -> &mut [bool] {
        self.0.clear();
        self.0.resize(rows, true);
        &mut self.0
    }

    /// The NULLs, if there are any.
    pub(crate) fn nulls(&self) -> Option<NullBuffer> {
        let all = self.0.iter().all(|valid| *valid);
        (!all).then(|| NullBuffer::from(self.0.as_slice()))
    }
}
