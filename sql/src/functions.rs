//! What our SQL has beyond DataFusion's functions, for streams and for batch queries alike.

mod coalesce;
pub mod indicator;
pub(crate) mod time;
pub(crate) mod window;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, GetFieldAccess, Volatility};
use datafusion::prelude::SessionContext;

pub(crate) use window::Lowering;

/// Functions whose text is as long as a number says: one value may be larger than all the memory that
/// a query has, which is counted for whole steps alone. Whoever may only read does without them.
pub(crate) const LENGTHENING: [&str; 3] = ["lpad", "repeat", "rpad"];

/// Adds the indicators, TUMBLE and HOP, COALESCE and field access to a session for batch queries.
pub fn register(context: &SessionContext) -> Result<()> {
    register_in(&mut context.state_ref().write(), Lowering::Projection)
}

pub(crate) fn register_in(state: &mut SessionState, lowering: Lowering) -> Result<()> {
    for function in indicator::all() {
        state.register_udwf(Arc::new(function))?;
    }
    state.register_udf(Arc::new(coalesce::coalesce()))?;
    state.register_expr_planner(Arc::new(FieldAccess))?;
    state.register_relation_planner(Arc::new(window::Windows { lowering }))
}

/// The names of all functions that a query can call, for the nearest of them.
pub(crate) fn names(state: &SessionState) -> Vec<String> {
    let steady = state.scalar_functions().values();
    let steady = steady.filter(|f| f.signature().volatility != Volatility::Volatile);
    let mut names: Vec<String> = steady.map(|f| f.name().to_owned()).collect();
    names.push(time::NOW.to_owned());
    names.extend(state.aggregate_functions().keys().cloned());
    names.extend(state.window_functions().keys().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

/// `macd(close, 12, 26, 9)['hist']`: DataFusion leaves it to a crate we do without.
#[derive(Debug)]
struct FieldAccess;

impl ExprPlanner for FieldAccess {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        _: &datafusion::common::DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        Ok(match access.field_access {
            GetFieldAccess::NamedStructField { name } => {
                PlannerResult::Planned(field(access.expr, name))
            }
            _ => PlannerResult::Original(access),
        })
    }
}

fn field(expr: Expr, name: datafusion::common::ScalarValue) -> Expr {
    get_field(expr, name)
}
