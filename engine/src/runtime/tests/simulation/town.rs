//! Everything that outlives a process, and what must be true of it in the end.

use std::sync::Mutex;

use super::super::faults::distinct;
use super::super::*;
use super::broker::Broker;
use super::ends::{Feed, Ledger, Wire, WorldClock};
use super::executor::{below, note, within};
use super::store::FickleStore;
use crate::intake::Counts;
use crate::log::savepoint::{Savepoint, Savepoints};
use crate::source::END;

/// The store, the feed, and whoever receives rows.
pub(super) struct Town {
    store: FickleStore,
    graph: Arc<Graph>,
    feed: Feed,
    /// Has each epoch put out at once.
    pub(super) out: Ledger,
    /// Has some epochs put out together.
    rolled: Ledger,
    /// Is sent rows as they come.
    pub(super) wire: Wire,
    /// Receives by transaction, in jobs that commit by one.
    carried: Ledger,
    broker: Option<Broker>,
    pub(super) late: Ledger,
    dead: Ledger,
    recording: Ledger,
    recorded: bool,
    roll: u64,
    /// The newest savepoint that somebody got.
    pub(super) savepoint: Arc<Mutex<Option<Savepoint>>>,
}

impl Town {
    /// What a seed reads and writes: in every run of it the same.
    pub(super) fn new(seed: u64, idle: Option<Duration>) -> Self {
        let mut graph = Graph::clone(&graph_of(&["out", "rolled", "wire", "carried"]));
        // A clock that jumps back makes rows come from the future, where there is one.
        let timing = &mut graph.inputs[0].timing;
        timing.max_future_skew = timing.max_future_skew.filter(|_| idle.is_some());
        timing.idle_timeout = idle;
        let length =
            |split: u64| ((seed / 3 + 1) * (split * 17 + 5) % 90) as i64 + 20 * split as i64;
        Self {
            store: FickleStore::default(),
            graph: Arc::new(graph),
            feed: Feed::new(&[length(0), length(1), length(2)]),
            out: Ledger::default(),
            rolled: Ledger::default(),
            wire: Wire::default(),
            carried: Ledger::default(),
            broker: seed.is_multiple_of(2).then(Broker::default),
            late: Ledger::default(),
            dead: Ledger::default(),
            recording: Ledger::default(),
            recorded: seed.is_multiple_of(3),
            roll: seed % 5 + 2,
            savepoint: Arc::default(),
        }
    }

    /// Keeps the state of a job, should it be given in time.
    pub(super) async fn keep_savepoint(
        savepointer: Savepointer,
        graph: Arc<Graph>,
        kept: Arc<Mutex<Option<Savepoint>>>,
    ) {
        let Ok(state) = savepointer.take().await else {
            return;
        };
        note(|| format!("a savepoint of epoch {}", state.epoch));
        *kept.lock().unwrap() = Some(Savepoint {
            name: "kept".to_owned(),
            taken_at: 0,
            blueprint: graph.blueprint(),
            state,
        });
    }

    pub(super) fn graph(&self) -> Arc<Graph> {
        Arc::clone(&self.graph)
    }

    /// The world as it was at a savepoint, with a log that begins there.
    pub(super) async fn back_at(&self, savepoint: Savepoint) -> Self {
        let (epoch, savepoints) = (savepoint.epoch(), InMemory::new());
        let savepoints = Savepoints::new(Arc::new(savepoints), "savepoints".into());
        savepoints.put(&savepoint).await.unwrap();
        let savepoint = savepoints.get("kept").await.unwrap();
        let inherited = savepoint.inherit(&self.graph, false).unwrap();
        assert_eq!(inherited.new, [""; 0]);
        let back = |ledger: &Ledger| ledger.back_at(epoch);
        let town = Self {
            store: FickleStore::default(),
            graph: self.graph(),
            feed: self.feed.clone(),
            out: back(&self.out),
            rolled: back(&self.rolled),
            wire: self.wire.clone(),
            carried: back(&self.carried),
            broker: self.broker.as_ref().map(|broker| broker.back_at(epoch)),
            late: back(&self.late),
            dead: back(&self.dead),
            recording: back(&self.recording),
            savepoint: Arc::default(),
            ..*self
        };
        let plan = self.graph.plan();
        let log = town.log();
        let begun = log.begin_with(&plan, "kept", &inherited.state).await;
        begun.unwrap();
        town
    }

    fn log(&self) -> Log {
        Log::new(Arc::new(self.store.clone()), "job".into(), 0)
    }

    /// Starts the job as a process.
    pub(super) fn start(&self, process: u64) -> Job {
        let recorder = self.recorded.then(|| self.recording.sink("recording", 2));
        let carried = match self.broker {
            Some(_) => None,
            None => Some(self.carried.sink("carried", 1)),
        };
        let bindings = Bindings {
            sources: vec![self.feed.source()],
            targets: vec![
                Some(self.out.sink("out", 1)),
                Some(self.rolled.sink("rolled", self.roll)),
                Some(self.wire.sink()),
                carried,
            ],
            commit_point: self.broker.as_ref().map(Broker::commit_point),
            late: vec![self.late.sink("late", 1)],
            dead: vec![self.dead.sink("dead", self.roll)],
            recorders: vec![recorder],
            taps: Taps::default(),
        };
        let spec = JobSpec {
            graph: Arc::clone(&self.graph),
            commit_interval: Duration::from_micros(1_000 + below(30_000)),
            snapshot_after: Backlog {
                rows: 10 + below(300),
                entries: u64::MAX,
                epochs: 1 + below(20),
            },
            digests: true,
        };
        let (interval, after) = (spec.commit_interval, spec.snapshot_after);
        within(process, || {
            note(|| format!("starts: commits every {interval:?}, {after:?}"));
            Job::start(spec, bindings, self.log(), Arc::new(WorldClock))
        })
    }

    /// Everything is there once, and everybody says the same of it.
    pub(super) fn check(&self, status: &Status) {
        let (counts, rejected) = (status.tables[0].counts, status.tables[0].rejected);
        let Counts {
            arrived,
            accepted,
            late,
            future,
            dead,
        } = counts;
        let (records, bad) = self.feed.counts();
        assert_eq!(status.state, State::Finished);
        assert_eq!(arrived, records);
        assert_eq!(arrived, accepted + late + future + dead);
        assert_eq!(dead, bad);
        assert_eq!(self.late.count(), late);
        assert_eq!(self.dead.count(), dead + future + rejected);
        let digests = status.digests.as_ref().unwrap();
        let carried = match &self.broker {
            Some(broker) => broker.rows(),
            None => self.carried.rows(),
        };
        let published = [(self.out.rows(), 0), (self.rolled.rows(), 1), (carried, 3)];
        for (rows, target) in published {
            let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(count as u64, accepted - rejected, "of target {target}");
            assert_eq!(digest_of(&rows), digests[target], "of target {target}");
        }
        // What was sent and then not committed may have become late when it came again.
        nothing_lacks("wire", &self.out.rows(), &self.wire.rows());
        if let Some(broker) = &self.broker {
            assert_eq!(broker.last(), Some(status.committed));
            let positions = broker.positions();
            assert!(
                positions[0].values().all(|next| *next == END),
                "{positions:?}"
            );
        }
        assert_eq!(self.recording.count() > 0, self.recorded);
        if self.recorded {
            assert_eq!(self.replayed(), *digests);
        }
    }

    /// The digests of a graph that is fed what was recorded.
    fn replayed(&self) -> Vec<DigestValue> {
        let mut shard = Shard::new(Arc::clone(&self.graph), true).unwrap();
        for rows in self.recording.rows() {
            for arrival in recording::decode(&rows, 0).unwrap() {
                shard.arrive(arrival).unwrap();
            }
        }
        shard.digests().unwrap()
    }
}

/// Every row is among `all`.
pub(super) fn nothing_lacks(name: &str, rows: &[RecordBatch], all: &[RecordBatch]) {
    let (rows, all) = (distinct(rows), distinct(all));
    let lacking: Vec<_> = rows.difference(&all).collect();
    assert!(lacking.is_empty(), "{name} lacks {lacking:?}");
}
