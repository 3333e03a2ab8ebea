//! The rows that open windows would have if they closed now: looked at, never emitted.

use arrow::array::RecordBatch;

use super::Shard;
use crate::error::Result;
use crate::graph::Port;
use crate::operator::Output;

impl Shard {
    /// The current rows of the open windows whose results a target is given by way of steps
    /// without state alone; none where there is no such window. Nothing changes by it: no row is
    /// counted, and what a step rejects here it rejects when the window closes.
    pub fn forming(&mut self, target: usize) -> Result<Vec<RecordBatch>> {
        let mut behind = vec![];
        let mut port = self.graph.targets[target].from;
        let windows = loop {
            let Port::Node(step) = port else {
                return Ok(vec![]);
            };
            let node = &self.graph.nodes[step];
            match node.inputs.as_slice() {
                [input] if node.spec.is_stateless() => {
                    behind.push(step);
                    port = *input;
                }
                _ => break step,
            }
        };
        let mut out = Output::default();
        self.steps[windows].operator.forming(&mut out)?;
        for step in behind.into_iter().rev() {
            for batch in out.take() {
                self.steps[step].operator.on_batch(0, batch, &mut out)?;
            }
            out.take_rejected();
        }
        let visible = |batch: RecordBatch| self.graph.targets[target].visible(&batch);
        out.take().into_iter().map(visible).collect()
    }
}
