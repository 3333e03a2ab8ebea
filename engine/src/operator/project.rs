//! `project`: one expression per output column.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::expression::Expression;
use crate::operator::{Map, Operator, OperatorSpec, Output, Stateless, row_by_row};

/// `SELECT expression AS name, …`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The columns out.
    pub schema: SchemaRef,
    /// One per column. A NULL where the schema has none rejects the row.
    pub columns: Vec<Arc<dyn Expression>>,
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Project: {}", SelectList(&self.schema, &self.columns))
    }
}

/// Columns with how they are computed, as in `SELECT`.
pub(crate) struct SelectList<'a>(pub(crate) &'a Schema, pub(crate) &'a [Arc<dyn Expression>]);

impl fmt::Display for SelectList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(schema, columns) = self;
        for (i, (field, column)) in schema.fields().iter().zip(*columns).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let text = column.to_string();
            match text == *field.name() {
                true => write!(f, "{comma}{text}")?,
                false => write!(f, "{comma}{text} AS {}", field.name())?,
            }
        }
        Ok(())
    }
}

impl OperatorSpec for Project {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Stateless(self.clone())))
    }

    fn is_stateless(&self) -> bool {
        true
    }

    fn passes_rows(&self) -> bool {
        true
    }
}

impl Project {
    /// The projected rows; `Invalid` where a row does not allow it.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.evaluate(batch)?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &rows,
        )?)
    }

    /// The columns of the projected rows.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.collect(|expression| expression.evaluate(batch))
    }

    /// The columns, each as `evaluate` has it.
    pub(crate) fn collect(
        &self,
        evaluate: impl Fn(&Arc<dyn Expression>) -> Result<ArrayRef>,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (field, expression) in self.schema.fields().iter().zip(&self.columns) {
            let column = evaluate(expression)?;
            if !field.is_nullable() && column.null_count() > 0 {
                let name = field.name();
                return Err(Error::invalid(format!(
                    "column {name} is NULL and declared NOT NULL"
                )));
            }
            columns.push(column);
        }
        Ok(columns)
    }
}

impl Map for Project {
    fn map(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        row_by_row(&batch, out, |rows| self.apply(rows))
    }
}
