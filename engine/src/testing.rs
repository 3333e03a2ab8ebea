//! Support for tests of this and other crates: a graph driven by hand, rows from and to memory, and
//! what every output has to keep.

pub mod contract;
mod script;
mod transactions;

pub use script::{Collected, ScriptedSource};
pub use transactions::Transactions;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;

use crate::error::Result;
use crate::graph::Graph;
use crate::intake::{Arrival, Counts, Records};
use crate::runtime::shard::{Shard, ShardSnapshot};
use crate::source::Split;

/// A shard fed by hand: rows by `insert`, watermarks by `advance`. The clock starts at
/// 2024-01-01T00:00:00Z and moves by one nanosecond a row, unless it is set.
#[derive(Debug)]
pub struct Harness {
    shard: Shard,
    next: i64,
    offsets: Vec<i64>,
    targets: Vec<Vec<RecordBatch>>,
    late: Vec<(usize, RecordBatch)>,
    dead: Vec<(usize, RecordBatch)>,
}

/// Nanoseconds from the epoch to 2024-01-01T00:00:00Z.
pub const START: i64 = 1_704_067_200_000_000_000;

impl Harness {
    /// A fresh shard of the graph, whose tables have one split `0` each.
    pub fn new(graph: Arc<Graph>) -> Result<Self> {
        let (tables, targets) = (graph.inputs.len(), graph.targets.len());
        let mut harness = Self {
            shard: Shard::new(graph, true)?,
            next: START,
            offsets: vec![0; tables],
            targets: vec![vec![]; targets],
            late: vec![],
            dead: vec![],
        };
        for table in 0..tables {
            let at = harness.stamp(1);
            let splits = vec![Split::new("0")];
            harness.arrive(Arrival::Splits { table, splits, at })?;
        }
        Ok(harness)
    }

    fn stamp(&mut self, count: usize) -> i64 {
        let first = self.next;
        self.next += count as i64;
        first
    }

    /// The position of a table in the graph.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<usize> {
        self.shard
            .graph()
            .inputs
            .iter()
            .position(|input| input.stream.name == name)
    }

    /// Sets the arrival time of what comes next, in nanoseconds; it never goes back.
    pub fn set_clock(&mut self, now: i64) {
        self.next = self.next.max(now);
    }

    /// The arrival time of what comes next, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.next
    }

    /// Lets rows of the source's columns arrive on split `0`.
    pub fn insert(&mut self, table: usize, rows: RecordBatch) -> Result<()> {
        self.insert_on(table, "0", rows)
    }

    /// Lets rows arrive on a split of that name.
    pub fn insert_on(&mut self, table: usize, split: &str, rows: RecordBatch) -> Result<()> {
        let count = rows.num_rows();
        let (first, offset) = (self.stamp(count), self.offsets[table]);
        self.offsets[table] += count as i64;
        let offsets: ScalarBuffer<i64> = (offset..offset + count as i64).collect();
        let records = Records {
            table,
            split: Split::new(split),
            rows,
            offsets,
            record_times: None,
            arrived_at: (first..first + count as i64).collect(),
            rejected: vec![],
            next_offset: offset + count as i64,
        };
        self.arrive(Arrival::Records(records))
    }

    /// Lets the clock tick.
    pub fn tick(&mut self) -> Result<()> {
        let at = self.stamp(1);
        self.arrive(Arrival::Tick { at })
    }

    /// Completes the past of a table up to `time`, in nanoseconds.
    pub fn advance(&mut self, table: usize, time: i64) -> Result<()> {
        let at = self.stamp(1);
        self.arrive(Arrival::Advance { table, time, at })
    }

    /// Ends a table: its windows close.
    pub fn end(&mut self, table: usize) -> Result<()> {
        let at = self.stamp(1);
        self.arrive(Arrival::End { table, at })
    }

    /// Lets anything arrive.
    pub fn arrive(&mut self, arrival: Arrival) -> Result<()> {
        let ends = matches!(arrival, Arrival::End { .. });
        self.shard.arrive(arrival)?;
        let emitted = self.shard.take_emitted();
        for (all, new) in self.targets.iter_mut().zip(emitted.targets) {
            all.extend(new.into_iter().map(|leaving| leaving.rows));
        }
        self.late.extend(emitted.late);
        self.dead.extend(emitted.dead);
        match ends {
            true => self.shard.check_balance(),
            false => Ok(()),
        }
    }

    /// What a target received since the last call.
    pub fn emitted(&mut self, target: usize) -> Vec<RecordBatch> {
        std::mem::take(&mut self.targets[target])
    }

    /// The rows that the open windows behind a target would have if they closed now.
    pub fn forming(&mut self, target: usize) -> Result<Vec<RecordBatch>> {
        self.shard.forming(target)
    }

    /// The late rows of a table since the last call.
    pub fn late(&mut self, table: usize) -> Vec<RecordBatch> {
        take(&mut self.late, table)
    }

    /// The dead letters of a table since the last call.
    pub fn dead(&mut self, table: usize) -> Vec<RecordBatch> {
        take(&mut self.dead, table)
    }

    /// Where the records of each table went.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.shard.intake().counts()
    }

    /// The shard itself.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The state, to restore.
    pub fn snapshot(&mut self) -> Result<ShardSnapshot> {
        self.shard.check_balance()?;
        self.shard.snapshot()
    }

    /// Puts a fresh shard in the place of this one and restores the snapshot there.
    pub fn restore(&mut self, snapshot: ShardSnapshot) -> Result<()> {
        self.shard = Shard::new(Arc::clone(self.shard.graph()), true)?;
        self.shard.restore(snapshot)
    }
}

fn take(rows: &mut Vec<(usize, RecordBatch)>, table: usize) -> Vec<RecordBatch> {
    let taken = rows.extract_if(.., |(number, _)| *number == table);
    taken.map(|(_, rows)| rows).collect()
}
