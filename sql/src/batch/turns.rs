//! Letting others have a turn.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// The plan, in which joins let others have a turn as well. DataFusion's own plans do where they
/// read; but a join makes many rows of few, and nobody could stop it while it does.
pub(super) fn taking_turns(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|step| {
        Ok(match step.children().len() {
            0 | 1 => Transformed::no(step),
            _ => Transformed::yes(Arc::new(CooperativeExec::new(step)) as Arc<dyn ExecutionPlan>),
        })
    });
    wrapped.map(|wrapped| wrapped.data)
}
