//! What a running job tells about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::digest::DigestValue;
use super::shard::{Shard, StepCounts};
use crate::intake::Counts;
use crate::lag::Lag;
use crate::sink::Epoch;
use crate::skipped::Skipped;
use crate::time::Watermark;
use crate::waiting::{Waiting, Watched};

/// Where a job stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It reads its log.
    #[default]
    Recovering,
    /// It runs.
    Running,
    /// All inputs have ended and everything is published.
    Finished,
    /// It was asked to stop and has.
    Stopped,
    /// An error ended it.
    Failed,
}

/// A table that is read.
#[derive(Debug, Clone, Default)]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// Where its records went at the intake.
    pub counts: Counts,
    /// Rows that were accepted, or came of accepted ones, and were given up by a step of the
    /// graph. `<table>$dead` holds them besides those that `counts` has as dead or future.
    pub rejected: u64,
    /// Who gave up the first dead row of a replay, and why; other jobs keep their dead rows.
    pub first_dead: Option<String>,
    /// How far it is complete.
    pub watermark: Option<Watermark>,
    /// How many records its source has not handed over yet, where that is known.
    pub lag: Option<u64>,
    /// How many records were gone when its source was to read them, and were gone past, as this start
    /// was told to.
    pub skipped: u64,
    /// Bytes of the rows that were polled, in memory, since this start.
    pub bytes: u64,
    /// For how long its source had rows that the shard had no room for, since this start.
    pub blocked: Duration,
}

/// What the commits of a job cost, since this start.
#[derive(Debug, Clone, Default)]
pub struct CommitStatus {
    /// How long each took, from the end of its epoch's output to the commit.
    pub times: Latency,
    /// Bytes of their records in the log.
    pub bytes: u64,
}

impl CommitStatus {
    /// Counts one.
    pub(super) fn add(&mut self, took: Duration, bytes: u64) {
        let nanoseconds = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        self.times.add(nanoseconds, 1);
        self.bytes += bytes;
    }
}

/// What the snapshots of a job's state cost, since this start.
#[derive(Debug, Clone, Copy, Default)]
pub struct SnapshotStatus {
    /// How many were stored.
    pub stored: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How long storing them took.
    pub time: Duration,
}

/// A table that is written.
#[derive(Debug, Clone, Default)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Rows the graph gave it, since the job first began.
    pub rows: u64,
    /// The last epoch that is out.
    pub published: Epoch,
}

/// A snapshot of a job's figures. Counts are those of the whole job, over all its starts.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Where the job stands.
    pub state: State,
    /// The last epoch in the log.
    pub committed: Epoch,
    /// The tables that are read.
    pub tables: Vec<TableStatus>,
    /// The tables that are written.
    pub targets: Vec<TargetStatus>,
    /// What passed each step. What a step or a table handed on (`rows_out`; what was accepted or
    /// late) is, but for `missed`, what each of its readers received.
    pub steps: Vec<(String, StepCounts)>,
    /// What each step reads: tables by their name, steps as `step 3`.
    pub reads: Vec<Vec<String>>,
    /// How long each step has worked since this start, about.
    pub busy: Vec<Duration>,
    /// The commits of this start.
    pub commits: CommitStatus,
    /// The snapshots of this start.
    pub snapshots: SnapshotStatus,
    /// Who does not answer at the moment, and why: tables, or the log.
    pub waiting: BTreeMap<String, String>,
    /// What a stop could not settle, because something did not answer, and what becomes of it.
    pub unsettled: Vec<String>,
    /// From a row's arrival to its leaving the graph, since this start.
    pub latency: Latency,
    /// The digest of each target, where they are kept; set when the job ends.
    pub digests: Option<Vec<DigestValue>>,
}

/// A status shared by the loops of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedStatus {
    status: Arc<Mutex<Status>>,
    /// Who may wait inside its own client, by name.
    watched: Arc<Mutex<Vec<(String, Watched)>>>,
    /// By number of a table, how far its source is behind.
    lags: Arc<Mutex<Vec<(usize, Lag)>>>,
    /// By number of a table, what its source went past.
    skipped: Arc<Mutex<Vec<(usize, Skipped)>>>,
}

impl SharedStatus {
    pub(super) fn new(status: Status) -> Self {
        Self {
            status: Arc::new(Mutex::new(status)),
            watched: Arc::default(),
            lags: Arc::default(),
            skipped: Arc::default(),
        }
    }

    /// Held only to read or set fields, never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what a source or a sink waits for inside its own client.
    pub(super) fn watch(&self, name: &str, waiting: Option<Waiting>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.extend(waiting.map(|waiting| (name.to_owned(), Watched::new(&waiting))));
    }

    /// Shows how far the source of a table is behind.
    pub(super) fn follow(&self, table: usize, lag: Option<Lag>) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.extend(lag.map(|lag| (table, lag)));
    }

    /// Shows what the source of a table went past.
    pub(super) fn follow_skipped(&self, table: usize, skipped: Option<Skipped>) {
        let mut all = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(skipped.map(|skipped| (table, skipped)));
    }

    /// A copy, with what is waited for at the moment.
    pub(super) fn read(&self) -> Status {
        let mut status = self.lock().clone();
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        for (table, lag) in lags.iter() {
            if let Some(table) = status.tables.get_mut(*table) {
                table.lag = lag.records();
            }
        }
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        for (table, skipped) in skipped.iter() {
            if let Some(table) = status.tables.get_mut(*table) {
                table.skipped = skipped.records();
            }
        }
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, watched) in watched.iter() {
            if let Some(reason) = watched.reason() {
                status.waiting.entry(name.clone()).or_insert(reason);
            }
        }
        status
    }

    /// Takes over what a shard counts.
    pub(super) fn tell(&self, shard: &Shard) {
        let intake = shard.intake();
        let (counts, watermarks, rejected) =
            (intake.counts(), intake.watermarks(), shard.rejected());
        let mut status = self.lock();
        let figures = counts.into_iter().zip(watermarks).zip(rejected);
        for (table, ((counts, watermark), rejected)) in status.tables.iter_mut().zip(figures) {
            table.counts = counts;
            table.watermark = Some(watermark);
            table.rejected = rejected;
        }
        for (target, rows) in status.targets.iter_mut().zip(shard.rows_out()) {
            target.rows = *rows;
        }
        status.steps = shard.step_counts();
        status.busy = shard.busy();
    }

    /// Notes what a stop leaves behind.
    pub(super) fn leave(&self, note: String) {
        tracing::warn!("{note}");
        self.lock().unsettled.push(note);
    }
}

/// Buckets per doubling.
const FINE: usize = 8;

/// A histogram of durations, in nanoseconds, each known to about 9 %.
#[derive(Debug, Clone)]
pub struct Latency {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: vec![0; 64 * FINE],
            count: 0,
        }
    }
}

impl Latency {
    /// Adds `rows` durations of `nanoseconds`.
    pub fn add(&mut self, nanoseconds: i64, rows: u64) {
        let value = nanoseconds.max(1) as u64;
        let power = value.ilog2() as usize;
        let fine = match power {
            0..3 => 0,
            _ => (value >> (power - 3)) as usize & (FINE - 1),
        };
        self.buckets[power * FINE + fine] += rows;
        self.count += rows;
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration below which this share of the rows stayed, in nanoseconds; `None` where
    /// there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<i64> {
        let rank = (share * self.count as f64).ceil() as u64;
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(bucket, rows)| {
            seen += rows;
            let (power, fine) = (bucket / FINE, bucket % FINE);
            let value = (1_u64 << power) as f64 * (1.0 + (fine as f64 + 0.5) / FINE as f64);
            (seen >= rank.max(1)).then_some(value as i64)
        })
    }
}
