//! A row expression: DataFusion's physical expression behind [`engine::Expression`].

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use engine::expression::Column;
use engine::{Error, Expression, Result};

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
    if let Some((of, name)) = field_access(expr) {
        let of = expression(state, of, schema)?;
        if let DataType::Struct(fields) = of.data_type()
            && let Some((index, field)) = fields.find(name)
        {
            return Ok(Arc::new(Member {
                of,
                index,
                data_type: field.data_type().clone(),
                text: expr.to_string(),
            }));
        }
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

/// Whether an expression only picks what is there, a column, a member of one or a constant: no row
/// can fail by it.
pub(crate) fn is_pick(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        other => field_access(other).is_some_and(|(of, _)| is_pick(of)),
    }
}

/// The struct and the name in `struct['name']`.
fn field_access(expr: &Expr) -> Option<(&Expr, &str)> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    match call.args.as_slice() {
        [of, Expr::Literal(name, _)] if call.name() == "get_field" => {
            Some((of, name.try_as_str()??))
        }
        _ => None,
    }
}

/// A field of a STRUCT, NULL where the struct is: one output of an indicator that has several,
/// without a copy.
#[derive(Debug)]
struct Member {
    of: Arc<dyn Expression>,
    index: usize,
    data_type: DataType,
    text: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression for Member {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let of = self.of.evaluate(batch)?;
        let of = of
            .as_struct_opt()
            .ok_or_else(|| Error::internal(format!("{} is not of a STRUCT", self.text)))?;
        let member = of.column(self.index);
        match of.nulls() {
            None => Ok(Arc::clone(member)),
            // An indicator's outputs are NULL together.
            nulls if nulls == member.nulls() => Ok(Arc::clone(member)),
            Some(nulls) => Ok(nullif(member, &BooleanArray::new(!nulls.inner(), None))?),
        }
    }
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

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn a_member_is_null_where_its_struct_is() {
        let fields = Fields::from(vec![Field::new("x", DataType::Float64, true)]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), None]));
        let nulls = NullBuffer::from(vec![true, false, true]);
        let of = StructArray::new(fields, vec![column], Some(nulls));
        let schema = Schema::new(vec![Field::new("s", of.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(of) as ArrayRef]);
        let member = Member {
            of: Arc::new(Column {
                index: 0,
                name: "s".to_owned(),
                data_type: DataType::Null,
            }),
            index: 0,
            data_type: DataType::Float64,
            text: "s['x']".to_owned(),
        };
        let value = member.evaluate(&batch.expect("batch")).expect("value");
        let expected = Float64Array::from(vec![Some(1.0), None, None]);
        assert_eq!(value.as_ref(), &expected as &dyn Array);
    }
}
