//! A shard: one copy of the graph with its intake, run by one thread.

mod forming;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::digest::{Digest, DigestValue};
use crate::error::{Error, Result};
use crate::graph::{Graph, Port, Target};
use crate::intake::dead::{DeadRow, DeadRows, row_as_json};
use crate::intake::{Arrival, Intake};
use crate::message::Message;
use crate::operator::{Operator, Output, Snapshot};
use crate::source::Position;
use crate::stream::ARRIVED_AT;
use crate::time::Watermark;

/// Rows for a target.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// They, with the columns of the table.
    pub rows: RecordBatch,
    /// When the last of them arrived, in nanoseconds, where they have kept that.
    pub arrived_at: Option<i64>,
}

/// Rows that left the shard.
#[derive(Debug, Default)]
pub struct Emitted {
    /// For each target, in order.
    pub targets: Vec<Vec<Leaving>>,
    /// For `<table>$late`: table and rows.
    pub late: Vec<(usize, RecordBatch)>,
    /// For `<table>$dead`: table and rows.
    pub dead: Vec<(usize, RecordBatch)>,
}

/// What passed a step: rows in, out and given up; the others are held or went into a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    /// Rows received.
    pub rows_in: u64,
    /// Rows emitted.
    pub rows_out: u64,
    /// Rows rejected.
    pub dead: u64,
    /// Rows left out: by a filter, or by an order that they came too late for.
    pub left_out: u64,
    /// Rows that its inputs had handed on before it was there: of a job that was changed.
    pub missed: u64,
}

/// A running step.
struct Step {
    operator: Box<dyn Operator>,
    name: String,
    table: usize,
    /// The watermark of each port, and what they have in common.
    ports: Vec<Watermark>,
    watermark: Watermark,
    readers: Vec<Reader>,
    counts: StepCounts,
    busy: Busy,
    /// What it has emitted and nobody has been handed yet: nothing between two messages.
    out: Output,
}

/// Who reads a port.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Target(usize),
    Step { number: usize, port: usize },
}

/// A digest's rows and chains.
type DigestState = (u64, Vec<(u128, u128)>);

/// One copy of the graph.
pub struct Shard {
    graph: Arc<Graph>,
    intake: Intake,
    steps: Vec<Step>,
    /// Per table, who reads it.
    inputs: Vec<Vec<Reader>>,
    digests: Option<Vec<Digest>>,
    /// Per target, the rows it was given.
    rows_out: Vec<u64>,
    /// Per target, the rows that its input had handed on before it was there.
    missed: Vec<u64>,
    /// Per target, where its rows have their arrival, if they do.
    arrivals: Vec<Option<usize>>,
    emitted: Emitted,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("graph", &self.graph)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    intake: Vec<u8>,
    watermarks: Vec<(Vec<Watermark>, Watermark)>,
    counts: Vec<StepCounts>,
    rows_out: Vec<u64>,
    missed: Vec<u64>,
    digests: Option<Vec<DigestState>>,
}

impl State {
    fn decode(head: &[u8]) -> Result<Self> {
        postcard::from_bytes(head).map_err(|e| {
            Error::corrupt("the shard's state in the snapshot cannot be decoded").caused_by(e)
        })
    }
}

/// The state of a shard between two messages.
#[derive(Debug, Clone)]
pub struct ShardSnapshot {
    /// Intake, watermarks, counts and digests.
    pub head: Vec<u8>,
    /// One per step.
    pub steps: Vec<Snapshot>,
    /// Per target, what its tap knows. The shard has no taps: the runtime puts it here.
    pub taps: Vec<Option<Snapshot>>,
}

impl Shard {
    /// A fresh shard; with `digests` it keeps a digest of each target.
    pub fn new(graph: Arc<Graph>, digests: bool) -> Result<Self> {
        let mut readers: Vec<Vec<Reader>> = vec![vec![]; graph.nodes.len()];
        let mut inputs: Vec<Vec<Reader>> = vec![vec![]; graph.inputs.len()];
        let mut add = |from: Port, reader: Reader| match from {
            Port::Input(table) => inputs[table].push(reader),
            Port::Node(step) => readers[step].push(reader),
        };
        for (number, Target { from, .. }) in graph.targets.iter().enumerate() {
            add(*from, Reader::Target(number));
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            for (port, from) in node.inputs.iter().enumerate() {
                add(*from, Reader::Step { number, port });
            }
        }
        let step = |(number, readers): (usize, Vec<Reader>)| {
            let node = &graph.nodes[number];
            let name = node.spec.to_string();
            Ok(Step {
                operator: node.spec.build()?,
                name: name.split(':').next().unwrap_or_default().to_lowercase(),
                table: graph.table_of(Port::Node(number)),
                ports: vec![Watermark::MIN; node.inputs.len()],
                watermark: Watermark::MIN,
                readers,
                counts: StepCounts::default(),
                busy: Busy::default(),
                out: Output::default(),
            })
        };
        let steps = readers
            .into_iter()
            .enumerate()
            .map(step)
            .collect::<Result<Vec<_>>>()?;
        let digests = match digests {
            true => Some(graph.targets.iter().map(digest).collect::<Result<_>>()?),
            false => None,
        };
        let intake = Intake::new(&graph.inputs);
        let emitted = Emitted {
            targets: vec![vec![]; graph.targets.len()],
            ..Emitted::default()
        };
        let arrival = |target: &Target| graph.schema(target.from).index_of(ARRIVED_AT).ok();
        Ok(Self {
            rows_out: vec![0; graph.targets.len()],
            missed: vec![0; graph.targets.len()],
            arrivals: graph.targets.iter().map(arrival).collect(),
            graph,
            intake,
            steps,
            inputs,
            digests,
            emitted,
        })
    }

    /// The graph it runs.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The intake, to look at.
    #[must_use]
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Takes an arrival through the intake and the whole graph. Says whether it changed
    /// anything; a tick that did not need not be journaled.
    pub fn arrive(&mut self, arrival: Arrival) -> Result<bool> {
        let step = self.intake.arrive(arrival)?;
        self.emitted.late.extend(step.late);
        self.emitted.dead.extend(step.dead);
        for (table, message) in step.messages {
            let port = Port::Input(table);
            match message {
                Message::Batch(batch) => self.hand_on(port, batch)?,
                Message::Watermark(watermark) => self.advance(port, watermark)?,
            }
        }
        Ok(step.changed)
    }

    /// Hands rows to all who read the port they left. The last of them gets the batch itself: a
    /// clone counts a reference for every column.
    fn hand_on(&mut self, from: Port, batch: RecordBatch) -> Result<()> {
        for other in 1..self.readers(from).len() {
            self.deliver(self.readers(from)[other - 1], batch.clone())?;
        }
        match self.readers(from).last() {
            Some(last) => self.deliver(*last, batch),
            None => Ok(()),
        }
    }

    fn readers(&self, from: Port) -> &[Reader] {
        match from {
            Port::Input(table) => &self.inputs[table],
            Port::Node(step) => &self.steps[step].readers,
        }
    }

    fn deliver(&mut self, reader: Reader, batch: RecordBatch) -> Result<()> {
        match reader {
            Reader::Target(number) => {
                let rows = self.graph.targets[number].visible(&batch)?;
                if let Some(digests) = &mut self.digests {
                    digests[number].add(&rows)?;
                }
                self.rows_out[number] += rows.num_rows() as u64;
                let arrivals = self.arrivals[number].map(|column| batch.column(column));
                let arrived_at = arrivals.and_then(last);
                self.emitted.targets[number].push(Leaving { rows, arrived_at });
                Ok(())
            }
            Reader::Step { number, port } => {
                let step = &mut self.steps[number];
                step.counts.rows_in += batch.num_rows() as u64;
                let (operator, out) = (&mut step.operator, &mut step.out);
                step.busy.during(|| operator.on_batch(port, batch, out))?;
                self.forward(number)
            }
        }
    }

    /// Tells all who read a port how far it is complete.
    fn advance(&mut self, from: Port, watermark: Watermark) -> Result<()> {
        for reader in 0..self.readers(from).len() {
            let Reader::Step { number, port } = self.readers(from)[reader] else {
                continue;
            };
            let step = &mut self.steps[number];
            step.ports[port] = watermark;
            let Some(common) = step.ports.iter().copied().reduce(Watermark::meet) else {
                continue;
            };
            if common == step.watermark {
                continue;
            }
            step.watermark = common;
            let (operator, out) = (&mut step.operator, &mut step.out);
            step.busy.during(|| operator.on_watermark(common, out))?;
            self.forward(number)?;
            self.advance(Port::Node(number), common)?;
        }
        Ok(())
    }

    /// Hands on what a step emitted.
    fn forward(&mut self, number: usize) -> Result<()> {
        let mut out = std::mem::take(&mut self.steps[number].out);
        let rejected = out.take_rejected();
        if !rejected.is_empty() {
            let step = &mut self.steps[number];
            step.counts.dead += rejected.len() as u64;
            let mut dead = DeadRows::default();
            for row in &rejected {
                dead.push(DeadRow {
                    arrived_at: (row.row.column_by_name(ARRIVED_AT).and_then(last))
                        .unwrap_or(step.watermark.arrived_at.0),
                    origin: None,
                    record_time: None,
                    stage: &step.name,
                    reason: &row.reason,
                    payload: &row_as_json(&row.row)?,
                });
            }
            self.emitted
                .dead
                .extend(dead.finish()?.map(|rows| (step.table, rows)));
        }
        self.steps[number].counts.left_out += out.take_left_out();
        for batch in out.drain() {
            let step = &mut self.steps[number];
            step.counts.rows_out += batch.num_rows() as u64;
            self.hand_on(Port::Node(number), batch)?;
        }
        self.steps[number].out = out;
        Ok(())
    }

    /// What left the shard since the last call.
    pub fn take_emitted(&mut self) -> Emitted {
        let targets = vec![vec![]; self.graph.targets.len()];
        std::mem::replace(
            &mut self.emitted,
            Emitted {
                targets,
                ..Emitted::default()
            },
        )
    }

    /// The digest of each target so far, if they are kept.
    #[must_use]
    pub fn digests(&self) -> Option<Vec<DigestValue>> {
        self.digests
            .as_ref()
            .map(|digests| digests.iter().map(Digest::value).collect())
    }

    /// What passed each step, by the step's line in EXPLAIN.
    #[must_use]
    pub fn step_counts(&self) -> Vec<(String, StepCounts)> {
        self.steps
            .iter()
            .map(|step| (step.name.clone(), step.counts))
            .collect()
    }

    /// How long each step has worked since this start, about.
    #[must_use]
    pub fn busy(&self) -> Vec<Duration> {
        self.steps.iter().map(|step| step.busy.time()).collect()
    }

    /// Per target, the rows it was given.
    #[must_use]
    pub fn rows_out(&self) -> &[u64] {
        &self.rows_out
    }

    /// Per table, the rows that steps gave up: with those that the intake rejected, what
    /// `<table>$dead` holds.
    #[must_use]
    pub fn rejected(&self) -> Vec<u64> {
        let mut rejected = vec![0; self.graph.inputs.len()];
        for step in &self.steps {
            rejected[step.table] += step.counts.dead;
        }
        rejected
    }

    /// An error where rows are unaccounted for: what a table's records became does not add up, what
    /// a part handed on is not what its readers received, or a step that passes rows on has lost one.
    pub fn check_balance(&self) -> Result<()> {
        let ended = self.intake.ended().iter().all(|ended| *ended);
        for (input, counts) in self.graph.inputs.iter().zip(self.intake.counts()) {
            if !counts.add_up() {
                let name = &input.stream.name;
                return Err(unbalanced(&format!("table {name}: {counts:?}")));
            }
        }
        for (number, node) in self.graph.nodes.iter().enumerate() {
            let counts = self.steps[number].counts;
            let handed_on: u64 = node.inputs.iter().map(|from| self.handed_on(*from)).sum();
            // What it has not passed on by the end of its input, it never does.
            let passed = counts.rows_out + counts.left_out + counts.dead;
            let lost = node.spec.passes_rows()
                && (passed > counts.rows_in || (ended && passed < counts.rows_in));
            if lost || counts.rows_in + counts.missed != handed_on {
                let told = format!("{}: {counts:?} of {handed_on} handed on to it", node.spec);
                return Err(unbalanced(&told));
            }
        }
        for (number, target) in self.graph.targets.iter().enumerate() {
            let (rows, handed_on) = (self.rows_out[number], self.handed_on(target.from));
            if rows + self.missed[number] != handed_on {
                let name = &target.stream.name;
                let told = format!("{name} was given {rows} of {handed_on} rows");
                return Err(unbalanced(&told));
            }
        }
        Ok(())
    }

    /// The whole state.
    pub fn snapshot(&mut self) -> Result<ShardSnapshot> {
        let digests = self.digests.as_ref();
        let state = State {
            intake: self.intake.snapshot()?,
            watermarks: self
                .steps
                .iter()
                .map(|s| (s.ports.clone(), s.watermark))
                .collect(),
            counts: self.steps.iter().map(|step| step.counts).collect(),
            rows_out: self.rows_out.clone(),
            missed: self.missed.clone(),
            digests: digests.map(|digests| digests.iter().map(Digest::snapshot).collect()),
        };
        let head = postcard::to_stdvec(&state)
            .map_err(|e| Error::internal("the shard's state cannot be encoded").caused_by(e))?;
        let steps = self.steps.iter_mut().map(|step| step.operator.snapshot());
        Ok(ShardSnapshot {
            head,
            steps: steps.collect::<Result<_>>()?,
            taps: vec![],
        })
    }
}

/// Per table, the offset that follows what was taken of each split, by the head of a snapshot.
pub(crate) fn positions_in(head: &[u8]) -> Result<Vec<Position>> {
    Intake::positions_in(&State::decode(head)?.intake)
}

fn unbalanced(what: &str) -> Error {
    Error::internal(format!("rows are unaccounted for: {what}"))
}

fn digest(target: &Target) -> Result<Digest> {
    let schema = &target.stream.schema;
    let key = target.stream.key.iter().map(|name| schema.index_of(name));
    Digest::new(schema, &key.collect::<Result<Vec<_>, _>>()?)
}

/// The last instant of a column.
fn last(column: &ArrayRef) -> Option<i64> {
    let times = column.as_primitive_opt::<TimestampNanosecondType>()?;
    times.values().last().copied()
}
