//! An aggregate function: DataFusion's groups accumulator behind [`engine::Aggregate`].
//!
//! Only functions whose bits do not depend on how rows were cut into batches are let through;
//! where DataFusion's state cannot be taken up bit for bit, `native` has its own.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, Result as PlanResult, plan_datafusion_err, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{EmitTo, Expr, GroupsAccumulator};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use engine::{Accumulator, Aggregate, Error, Expression, Result};

use super::native::{Native, Rule};
use super::{evaluation_error, expression};
use crate::catalog::sql_type;

/// Functions whose groups accumulator adds row by row and whose state merges exactly.
const EXACT: &[&str] = &[
    "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "max", "min", "sum",
];

/// The names of all aggregate functions that run on a stream.
const STREAMABLE: &str = "avg, bit_and, bit_or, bit_xor, bool_and, bool_or, count, \
     first_value, last_value, max, min, stddev, stddev_pop, sum, var_pop, var_samp";

/// The engine's form of an aggregate function whose columns are those of `schema`, unqualified.
/// `ORDER BY` within it must have been checked to be the order of the stream.
pub(crate) fn aggregate(
    state: &SessionState,
    function: &AggregateFunction,
    schema: &Schema,
) -> PlanResult<Arc<dyn Aggregate>> {
    let params = &function.params;
    let adapt = |expr: &Expr| expression(state, expr, schema);
    let inputs = Inputs {
        arguments: params
            .args
            .iter()
            .map(adapt)
            .collect::<PlanResult<Vec<_>>>()?,
        filter: params.filter.as_deref().map(adapt).transpose()?,
    };
    let text = Expr::AggregateFunction(function.clone()).to_string();
    let name = function.func.name();
    if params.distinct && name != "count" {
        return plan_err!("{name}(DISTINCT …) does not run on a stream; leave DISTINCT out");
    }
    let ignore_nulls = params
        .null_treatment
        .is_some_and(|nulls| nulls.to_string() == "IGNORE NULLS");
    if let Some(rule) = Rule::of(name, ignore_nulls) {
        let argument = inputs.arguments.first();
        let argument = argument.ok_or_else(|| plan_datafusion_err!("{name} needs an argument"))?;
        let data_type = rule.data_type(&argument.data_type());
        return Ok(Arc::new(Native {
            rule,
            inputs,
            data_type,
            text,
        }));
    }
    if !EXACT.contains(&name) {
        return plan_err!("{name} does not run on a stream; use one of {STREAMABLE}");
    }
    let columns = DFSchema::try_from(schema.clone())?;
    let physical = |expr: &Expr| state.create_physical_expr(expr.clone(), &columns);
    let arguments = params
        .args
        .iter()
        .map(physical)
        .collect::<PlanResult<Vec<_>>>()?;
    let expr = AggregateExprBuilder::new(Arc::clone(&function.func), arguments)
        .schema(Arc::new(schema.clone()))
        .alias(&text)
        .with_distinct(params.distinct)
        .build()?;
    if !expr.groups_accumulator_supported() {
        let types = inputs.arguments.iter().map(|a| sql_type(&a.data_type()));
        let types = types.collect::<Vec<_>>().join(", ");
        if params.distinct {
            return plan_err!(
                "{name}(DISTINCT …) takes integers on a stream, not {types}; GROUP BY the value in \
                 an inner query with window_start AS at, and count its rows in TUMBLE(TABLE \
                 inner, DESCRIPTOR(at), …)"
            );
        }
        return plan_err!("{name} of {types} does not run on a stream; CAST it to a number");
    }
    Ok(Arc::new(Adapted {
        expr: Arc::new(expr),
        inputs,
        text,
    }))
}

/// What an aggregate reads.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    pub(super) arguments: Vec<Arc<dyn Expression>>,
    filter: Option<Arc<dyn Expression>>,
}

impl Inputs {
    /// The arguments' values and, where there is a filter, which rows count.
    pub(super) fn evaluate(
        &self,
        batch: &RecordBatch,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let values = self
            .arguments
            .iter()
            .map(|argument| argument.evaluate(batch));
        let values = values.collect::<Result<Vec<_>>>()?;
        let Some(filter) = &self.filter else {
            return Ok((values, None));
        };
        let mask = filter.evaluate(batch)?;
        let mask = mask.as_boolean_opt().cloned();
        let mask = mask.ok_or_else(|| Error::internal(format!("{filter} is not boolean")))?;
        Ok((values, Some(mask)))
    }
}

#[derive(Debug)]
struct Adapted {
    expr: Arc<AggregateFunctionExpr>,
    inputs: Inputs,
    text: String,
}

impl fmt::Display for Adapted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Aggregate for Adapted {
    fn data_type(&self) -> DataType {
        self.expr.field().data_type().clone()
    }

    fn build(&self) -> Result<Box<dyn Accumulator>> {
        let expr = Arc::clone(&self.expr);
        let inner = fresh(&expr)?;
        Ok(Box::new(Groups {
            expr,
            inner,
            inputs: self.inputs.clone(),
        }))
    }
}

struct Groups {
    expr: Arc<AggregateFunctionExpr>,
    inner: Box<dyn GroupsAccumulator>,
    inputs: Inputs,
}

fn fresh(expr: &AggregateFunctionExpr) -> Result<Box<dyn GroupsAccumulator>> {
    expr.create_groups_accumulator()
        .map_err(|error| evaluation_error(&error))
}

impl Accumulator for Groups {
    fn update(&mut self, batch: &RecordBatch, group: &[usize], groups: usize) -> Result<()> {
        let (values, filter) = self.inputs.evaluate(batch)?;
        let updated = self
            .inner
            .update_batch(&values, group, filter.as_ref(), groups);
        updated.map_err(|error| evaluation_error(&error))
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let values = self
            .inner
            .evaluate(EmitTo::All)
            .map_err(|error| evaluation_error(&error))?;
        self.inner = fresh(&self.expr)?;
        Ok(values)
    }

    fn snapshot(&mut self) -> Result<Vec<ArrayRef>> {
        let state = self
            .inner
            .state(EmitTo::All)
            .map_err(|error| evaluation_error(&error))?;
        self.restore(&state)?;
        Ok(state)
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<()> {
        self.inner = fresh(&self.expr)?;
        let count = state.first().map_or(0, Array::len);
        let group: Vec<usize> = (0..count).collect();
        let merged = self.inner.merge_batch(state, &group, count);
        merged.map_err(|error| evaluation_error(&error))
    }
}
