//! The two holes that the sql crate fills with DataFusion: row expressions and aggregates.

use std::fmt::{self, Debug, Display};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// A function of one row, evaluated a batch at a time. Its value depends on the row alone, so
/// a batch that fails can be evaluated again row by row to find the row at fault.
pub trait Expression: Debug + Display + Send + Sync {
    /// The type of the value.
    fn data_type(&self) -> DataType;
    /// One value per row of the batch. A value that a row does not allow (a failed cast, a
    /// division by zero) is an error of kind `Invalid`.
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef>;
    /// The position of the column that it is, if it is one as it stands.
    fn position(&self) -> Option<usize> {
        None
    }
}

/// An aggregate function with its arguments, as in `SUM(volume) FILTER (WHERE price > 0)`.
pub trait Aggregate: Debug + Display + Send + Sync {
    /// The type of the result.
    fn data_type(&self) -> DataType;
    /// A fresh accumulator.
    fn build(&self) -> Result<Box<dyn Accumulator>>;
}

/// The running state of an aggregate for a growing set of groups numbered from zero.
/// Its results do not depend on how the rows were cut into batches.
pub trait Accumulator: Send {
    /// Adds every row of the batch to the group with its number; `groups` counts all groups.
    fn update(&mut self, batch: &RecordBatch, group: &[usize], groups: usize) -> Result<()>;
    /// The result of every group, by number. The accumulator is empty afterwards.
    fn finish(&mut self) -> Result<ArrayRef>;
    /// The state of every group, by number, as columns; the accumulator stays as it is.
    fn snapshot(&mut self) -> Result<Vec<ArrayRef>>;
    /// Takes up a state of [`Accumulator::snapshot`] in a fresh accumulator.
    fn restore(&mut self, state: &[ArrayRef]) -> Result<()>;
}

/// The value of a column as it stands.
#[derive(Debug, Clone)]
pub struct Column {
    /// Position in the batch.
    pub index: usize,
    /// Name, for display.
    pub name: String,
    /// Type of the column.
    pub data_type: DataType,
}

impl Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Expression for Column {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let column = batch.columns().get(self.index);
        column
            .cloned()
            .ok_or_else(|| Error::internal(format!("no column {}", self.name)))
    }

    fn position(&self) -> Option<usize> {
        Some(self.index)
    }
}
