//! A replay: the graph of a job, its intake fed by recordings instead of sources.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::committed::Committed;
use super::job::{Job, first_status};
use super::patience::Patience;
use super::shard::Shard;
use super::sink_loop::{Publication, Published, SinkLoop};
use super::status::{SharedStatus, State};
use super::stop::Stop;
use super::tasks::{JoinSet, join, on_thread};
use crate::error::Result;
use crate::graph::Graph;
use crate::intake::recording::{self, Reader};
use crate::intake::{Arrival, Records};
use crate::sink::{Epoch, Sink};

/// Batches read ahead per table, and waiting for a sink.
const AHEAD: usize = 4;

/// How fast recorded time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the machine can.
    Max,
    /// So many recorded seconds a second.
    Times(f64),
}

/// A replay, ready to start.
pub struct Replay {
    /// What runs.
    pub graph: Arc<Graph>,
    /// The recording of each table.
    pub readers: Vec<Box<dyn Reader>>,
    /// By target.
    pub targets: Vec<Box<dyn Sink>>,
    /// How fast.
    pub speed: Speed,
    /// Whether open windows close at the end of the recordings. A recorded job that was stopped
    /// did not close them.
    pub close: bool,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("speed", &self.speed)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// Starts it; the status has the digests in the end.
    #[must_use]
    pub fn start(self) -> Job {
        let status = SharedStatus::new(first_status(&self.graph));
        let (_, committed) = watch::channel(Committed::default());
        Job::spawn(status.clone(), committed, |stop, _| self.run(status, stop))
    }

    async fn run(self, status: SharedStatus, stop: Stop) -> Result<()> {
        let shard = Shard::new(Arc::clone(&self.graph), true)?;
        let mut tasks = JoinSet::new();
        let epochs = Published::new(&vec![Epoch(0); self.targets.len()]);
        let mut targets = vec![];
        for (output, mut sink) in self.targets.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(AHEAD);
            sink.published().await?;
            let name = &self.graph.targets[output].stream.name;
            status.watch(name, sink.waiting());
            let sink = SinkLoop {
                output,
                sink,
                at_once: false,
                status: status.clone(),
                patience: Patience::new(name, &status, &stop),
                epochs: epochs.clone(),
                left: "a replay does not go on",
            };
            tasks.spawn(sink.run(receiver));
            targets.push(sender);
        }
        let merged = Merged::new(self.readers);
        status.lock().state = State::Running;
        let replay = ReplayLoop {
            shard,
            merged,
            targets,
            pace: Pace::new(self.speed),
            close: self.close,
            status: status.clone(),
            stop: stop.clone(),
            epoch: Epoch(0),
        };
        tasks.spawn(on_thread(replay.run()));
        join(tasks).await?;
        status.lock().state = if stop.asked() {
            State::Stopped
        } else {
            State::Finished
        };
        Ok(())
    }
}

/// The arrivals of several recordings, one a table, in the order of their time.
pub(super) struct Merged {
    feeds: Vec<Feed>,
    /// The time of the arrival before.
    last: i64,
}

impl Merged {
    /// Begins to read ahead, on the current runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime is where tasks are started"
    )]
    pub(super) fn new(readers: Vec<Box<dyn Reader>>) -> Self {
        let mut feeds = vec![];
        for (table, mut reader) in readers.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(AHEAD);
            tokio::spawn(async move {
                while let Some(batch) = reader.next().await.transpose() {
                    let arrivals = batch.and_then(|batch| recording::decode(&batch, table));
                    if sender.send(arrivals).await.is_err() {
                        return;
                    }
                }
            });
            feeds.push(Feed {
                receiver,
                waiting: VecDeque::new(),
            });
        }
        Self {
            feeds,
            last: i64::MIN,
        }
    }

    /// The next arrival; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Arrival>> {
        while let Some((table, _, until)) = self.earliest().await? {
            if let Some(arrival) = self.take(table, until) {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    /// The table whose next arrival is the earliest, that arrival, and the next of the others.
    async fn earliest(&mut self) -> Result<Option<(usize, i64, i64)>> {
        let mut heads = vec![];
        for (table, feed) in self.feeds.iter_mut().enumerate() {
            heads.extend(feed.head().await?.map(|at| (at, table)));
        }
        heads.sort_unstable();
        let until = heads.get(1).map_or(i64::MAX, |(at, _)| *at);
        Ok(heads.first().map(|(at, table)| (*table, *at, until)))
    }

    /// The next arrival of a table, cut in front of `until`. Every recording of a job has the same
    /// ticks; one of them counts.
    fn take(&mut self, table: usize, until: i64) -> Option<Arrival> {
        let arrival = self.feeds[table].next(until)?;
        if matches!(arrival, Arrival::Tick { at } if at == self.last) {
            return None;
        }
        self.last = arrival.last_at();
        Some(arrival)
    }
}

/// The arrivals of one table.
struct Feed {
    receiver: mpsc::Receiver<Result<Vec<Arrival>>>,
    waiting: VecDeque<Arrival>,
}

impl Feed {
    /// When the next arrival is; `None` at the end.
    async fn head(&mut self) -> Result<Option<i64>> {
        loop {
            if let Some(arrival) = self.waiting.front() {
                return Ok(Some(arrival.at()));
            }
            match self.receiver.recv().await {
                Some(arrivals) => self.waiting.extend(arrivals?),
                None => return Ok(None),
            }
        }
    }

    /// The next arrival, cut in front of `until`.
    fn next(&mut self, until: i64) -> Option<Arrival> {
        match self.waiting.pop_front()? {
            Arrival::Records(records) => {
                let (before, after) = cut(records, until);
                if let Some(after) = after {
                    self.waiting.push_front(Arrival::Records(after));
                }
                Some(Arrival::Records(before))
            }
            other => Some(other),
        }
    }
}

/// Cuts rows in front of an arrival time; rejected records are few and stay together.
fn cut(records: Records, until: i64) -> (Records, Option<Records>) {
    let row = records.arrived_at.partition_point(|at| *at < until).max(1);
    if row >= records.arrived_at.len() {
        return (records, None);
    }
    let part = |from: usize, to: usize| Records {
        rows: records.rows.slice(from, to - from),
        offsets: records.offsets.slice(from, to - from),
        record_times: records
            .record_times
            .as_ref()
            .map(|times| times.slice(from, to - from)),
        arrived_at: records.arrived_at.slice(from, to - from),
        next_offset: records.offsets[to - 1] + 1,
        split: records.split.clone(),
        rejected: vec![],
        ..records
    };
    let (before, after) = (part(0, row), part(row, records.arrived_at.len()));
    (
        before,
        Some(Records {
            rejected: records.rejected,
            ..after
        }),
    )
}

/// Lets recorded time pass at its speed.
struct Pace {
    /// Recorded nanoseconds a real one; `None`: do not wait.
    speed: Option<f64>,
    start: Option<(Instant, i64)>,
}

impl Pace {
    /// How finely arrivals are spread.
    const STEP: Duration = Duration::from_millis(5);

    fn new(speed: Speed) -> Self {
        let speed = match speed {
            Speed::Max => None,
            Speed::Times(times) => Some(times),
        };
        Self { speed, start: None }
    }

    /// Waits until the recorded instant has come; says up to when arrivals may be taken then.
    async fn wait(&mut self, at: i64) -> i64 {
        let Some(speed) = self.speed else {
            return i64::MAX;
        };
        let now = Instant::now();
        let (start, first) = *self.start.get_or_insert((now, at));
        let since = (at - first) as f64 / speed;
        tokio::time::sleep_until(start + Duration::from_nanos(since as u64)).await;
        at.saturating_add((Self::STEP.as_nanos() as f64 * speed) as i64)
    }
}

struct ReplayLoop {
    shard: Shard,
    merged: Merged,
    targets: Vec<mpsc::Sender<Publication>>,
    pace: Pace,
    close: bool,
    status: SharedStatus,
    stop: Stop,
    epoch: Epoch,
}

impl ReplayLoop {
    async fn run(mut self) -> Result<()> {
        while !self.stop.asked() {
            let Some((table, at, until)) = self.merged.earliest().await? else {
                break;
            };
            let paced = tokio::select! {
                paced = self.pace.wait(at) => paced,
                () = self.stop.clone().wait() => break,
            };
            if let Some(arrival) = self.merged.take(table, until.min(paced)) {
                self.arrive(arrival).await?;
            }
        }
        if self.close && !self.stop.asked() {
            for table in 0..self.merged.feeds.len() {
                if !self.shard.intake().ended()[table] {
                    let at = self.merged.last.saturating_add(1);
                    self.merged.last = at;
                    self.arrive(Arrival::End { table, at }).await?;
                }
            }
        }
        self.shard.check_balance()?;
        self.status.lock().digests = self.shard.digests();
        Ok(())
    }

    async fn arrive(&mut self, arrival: Arrival) -> Result<()> {
        self.shard.arrive(arrival)?;
        let emitted = self.shard.take_emitted();
        self.tell_dead(&emitted.dead);
        self.epoch = self.epoch.next();
        let epoch = self.epoch;
        for (batches, sink) in emitted.targets.into_iter().zip(&self.targets) {
            if batches.is_empty() {
                continue;
            }
            let rows = batches.into_iter().map(|leaving| leaving.rows).collect();
            let publication = Publication::Rows { epoch, rows };
            // A sink loop that is gone has failed, and its error ends the replay; or it was
            // given up at a stop.
            if sink.send(publication).await.is_err() {
                break;
            }
        }
        self.status.tell(&self.shard);
        Ok(())
    }

    /// Dead rows go nowhere in a replay, so that the first one's reason is told.
    fn tell_dead(&self, dead: &[(usize, RecordBatch)]) {
        for (table, rows) in dead.iter().filter(|(_, rows)| rows.num_rows() > 0) {
            let text = |name| {
                let column = rows.column_by_name(name)?.as_string_opt::<i32>()?;
                Some(column.value(0).to_owned())
            };
            if let Some(table) = self.status.lock().tables.get_mut(*table)
                && table.first_dead.is_none()
                && let (Some(stage), Some(reason)) = (text("stage"), text("reason"))
            {
                table.first_dead = Some(format!("{stage}: {reason}"));
            }
        }
    }
}
