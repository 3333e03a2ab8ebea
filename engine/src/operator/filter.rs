//! `filter`: the rows for which a predicate is true. NULL is not true.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::expression::Expression;
use crate::operator::{Map, Operator, OperatorSpec, Output, Stateless, row_by_row};

/// `WHERE predicate`.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Columns in and out.
    pub schema: SchemaRef,
    /// A boolean expression over them.
    pub predicate: Arc<dyn Expression>,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter: {}", self.predicate)
    }
}

impl OperatorSpec for Filter {
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

impl Filter {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let value = self.predicate.evaluate(batch)?;
        let mask = value.as_boolean_opt().ok_or_else(|| {
            Error::internal(format!("the predicate {} is not boolean", self.predicate))
        })?;
        let mask: BooleanArray = match mask.null_count() {
            0 => mask.clone(),
            _ => prep_null_mask_filter(mask),
        };
        Ok(filter_record_batch(batch, &mask)?)
    }
}

impl Map for Filter {
    fn map(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let mut left_out = 0;
        row_by_row(&batch, out, |rows| {
            let kept = self.apply(rows)?;
            left_out += rows.num_rows() - kept.num_rows();
            Ok(kept)
        })?;
        out.leave_out(left_out);
        Ok(())
    }
}
