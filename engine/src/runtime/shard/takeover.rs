//! A shard takes up a state: its own, or that of a graph that was changed, part by part.

use super::{Shard, ShardSnapshot, State};
use crate::error::{Error, Result};
use crate::graph::Port;
use crate::graph::blueprint::Takeover;
use crate::time::Watermark;

impl Shard {
    /// Takes up a state of `snapshot`; called on a fresh shard of the same graph. There are no
    /// digests afterwards where the snapshot has none: they would leave out the rows before it.
    pub fn restore(&mut self, snapshot: ShardSnapshot) -> Result<()> {
        let state = State::decode(&snapshot.head)?;
        let (steps, targets) = (self.steps.len(), self.rows_out.len());
        if [
            state.watermarks.len(),
            state.counts.len(),
            snapshot.steps.len(),
        ] != [steps; 3]
            || [state.rows_out.len(), state.missed.len()] != [targets; 2]
        {
            return Err(Error::corrupt("the snapshot is of another graph"));
        }
        let own = Takeover::of_itself(&self.graph);
        self.take_up(state, snapshot, &own)
    }

    /// [`restore`](Self::restore) of what a graph knew that was changed into this one: called on a
    /// fresh shard. A part that takes nothing over begins with what comes from now on.
    pub fn take_over(&mut self, snapshot: ShardSnapshot, from: &Takeover) -> Result<()> {
        let state = State::decode(&snapshot.head)?;
        self.take_up(state, snapshot, from)
    }

    fn take_up(&mut self, state: State, snapshot: ShardSnapshot, from: &Takeover) -> Result<()> {
        let lacking = || Error::corrupt("the snapshot lacks a part that its plan has");
        self.intake.take_over(&state.intake, &from.tables)?;
        let known = state.watermarks.into_iter().zip(state.counts);
        let mut known: Vec<_> = known.zip(snapshot.steps).map(Some).collect();
        let (from_pieces, mut new) = (&from.pieces, vec![]);
        for (number, from) in from.steps.iter().enumerate() {
            let Some(from) = from else {
                new.push(number);
                continue;
            };
            let taken = known.get_mut(*from).and_then(Option::take);
            let (((ports, watermark), counts), snapshot) = taken.ok_or_else(lacking)?;
            let step = &mut self.steps[number];
            (step.ports, step.watermark, step.counts) = (ports, watermark, counts);
            match from_pieces.get(number).map(Vec::as_slice) {
                None | Some([]) => step.operator.restore(snapshot)?,
                Some(pieces) => step.operator.restore_parts(snapshot, pieces)?,
            }
        }
        for (number, from) in from.targets.iter().enumerate() {
            let Some(from) = from else { continue };
            let rows = state.rows_out.get(*from).zip(state.missed.get(*from));
            let (rows, missed) = rows.ok_or_else(lacking)?;
            (self.rows_out[number], self.missed[number]) = (*rows, *missed);
            if let (Some(digests), Some(states)) = (&mut self.digests, &state.digests) {
                let (rows, chains) = states.get(*from).ok_or_else(lacking)?.clone();
                digests[number].restore(rows, chains);
            }
        }
        if self.digests.is_some() && state.digests.is_none() {
            tracing::warn!(
                "this job went on without digests before: none can be given for the whole"
            );
            self.digests = None;
        }
        // Steps read earlier ones alone, so what feeds a new one is complete by its turn.
        new.into_iter().try_for_each(|number| self.join(number))?;
        for (number, from) in from.targets.iter().enumerate() {
            if from.is_none() {
                self.missed[number] = self.handed_on(self.graph.targets[number].from);
            }
        }
        Ok(())
    }

    /// A new step learns how far its inputs are, which may not tell it again for long.
    fn join(&mut self, number: usize) -> Result<()> {
        let inputs = self.graph.nodes[number].inputs.clone();
        let tables = self.intake.watermarks();
        let watermark = |port: &Port| match port {
            Port::Input(table) => tables.get(*table).copied().unwrap_or(Watermark::MIN),
            Port::Node(step) => self.steps[*step].watermark,
        };
        let ports: Vec<Watermark> = inputs.iter().map(watermark).collect();
        let missed = inputs.iter().map(|port| self.handed_on(*port)).sum();
        let common = ports.iter().copied().reduce(Watermark::meet);
        let step = &mut self.steps[number];
        step.ports = ports;
        step.counts.missed = missed;
        let Some(common) = common.filter(|common| *common != Watermark::MIN) else {
            return Ok(());
        };
        step.watermark = common;
        let (operator, out) = (&mut step.operator, &mut step.out);
        operator.on_watermark(common, out)?;
        // It has nothing yet that a watermark could let go.
        self.forward(number)
    }

    /// How many rows a port has handed on.
    pub(in crate::runtime) fn handed_on(&self, port: Port) -> u64 {
        match port {
            Port::Input(table) => {
                let counts = self.intake.counts();
                counts
                    .get(table)
                    .map_or(0, |counts| counts.accepted + counts.late)
            }
            Port::Node(step) => self.steps[step].counts.rows_out,
        }
    }
}
