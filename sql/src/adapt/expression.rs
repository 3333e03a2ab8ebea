//! A row expression: DataFusion's physical expression behind [`engine::Expression`].

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use engine::expression::Column;
use engine::{Expression, Result};

use super::evaluation_error;

/// The engine's form of an expression whose columns are those of `schema`, unqualified. A
/// plain column costs nothing, a constant nothing for a single row.
pub(crate) fn expression(
    state: &SessionState,
    expr: &Expr,
    schema: &Schema,
) -> datafusion::common::Result<Arc<dyn Expression>> {
    if let Expr::Column(column) = expr {
        let (index, field) = schema.fields().find(&column.name).ok_or_else(|| {
            datafusion::common::plan_datafusion_err!("no column is called '{}'", column.name)
        })?;
        let (name, data_type) = (field.name().clone(), field.data_type().clone());
        return Ok(Arc::new(Column {
            index,
            name,
            data_type,
        }));
    }
    if let Expr::Literal(value, _) = expr {
        return Ok(Arc::new(Constant {
            one: value.to_array()?,
            value: value.clone(),
            text: expr.to_string(),
        }));
    }
    let columns = DFSchema::try_from(schema.clone())?;
    let physical = state.create_physical_expr(expr.clone(), &columns)?;
    let data_type = physical.data_type(schema)?;
    Ok(Arc::new(Adapted {
        physical,
        data_type,
        text: expr.to_string(),
    }))
}

/// The same value for every row.
#[derive(Debug)]
struct Constant {
    value: ScalarValue,
    /// It for a single row, as live rows come.
    one: ArrayRef,
    text: String,
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression for Constant {
    fn data_type(&self) -> DataType {
        self.value.data_type()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        match batch.num_rows() {
            1 => Ok(Arc::clone(&self.one)),
            rows => {
                let array = self.value.to_array_of_size(rows);
                array.map_err(|error| evaluation_error(&error))
            }
        }
    }
}

/// A DataFusion expression.
#[derive(Debug)]
struct Adapted {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    /// The logical expression: it tells the types of literals, so unlike expressions never
    /// print alike.
    text: String,
}

impl fmt::Display for Adapted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression for Adapted {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let value = self.physical.evaluate(batch);
        let array = value.and_then(|value| value.into_array(batch.num_rows()));
        array.map_err(|error| evaluation_error(&error))
    }
}
