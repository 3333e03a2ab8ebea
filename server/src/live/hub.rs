//! A hub: the tap of one stream, and those who look at it.
//!
//! The shard's thread only puts what it has into the inbox; a task of the hub takes it from there,
//! at most every few milliseconds, and makes frames of it. Where that task falls far behind, the
//! shard does its work for once rather than let the inbox grow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use engine::graph::Target;
use engine::{Emit, Epoch, Result, Snapshot, Tap};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::core::{Core, Join, Sizes, Table};
use super::cursor::Cursor;
use super::filter;
use super::latest::Keys;
use super::outbox::Outbox;
use super::pace::{self, Metronome};
use super::protocol::{Fault, Subscribe};
use super::ring::Piece;
use super::view::{Choice, View};

/// What is left to others between two times of making frames, however long that takes.
const REST: Duration = Duration::from_millis(1);
/// How often the cursors of channels without frames follow.
const FORWARD: Duration = Duration::from_secs(5);
/// Rows that wait in the inbox at most.
const INBOX_ROWS: usize = 65_536;

/// What a job has told.
#[derive(Debug)]
enum News {
    Rows(Epoch, RecordBatch),
    Committed(Epoch),
    Forming(Vec<RecordBatch>),
}

#[derive(Debug, Default)]
struct Inbox {
    news: Vec<News>,
    rows: usize,
}

/// Rows of one epoch that are taken together, about so many.
const TOGETHER: usize = 4_096;

#[derive(Debug, Default)]
struct Together {
    epoch: Epoch,
    count: usize,
    batches: Vec<RecordBatch>,
}

impl Together {
    fn give(&mut self, core: &mut Core, table: &Table) -> Result<()> {
        self.count = 0;
        let mut batches = std::mem::take(&mut self.batches);
        let rows = match batches.len() {
            0 | 1 => batches.pop(),
            _ => Some(concat_batches(&table.schema, &batches)?),
        };
        rows.map_or(Ok(()), |rows| core.rows(self.epoch, rows))
    }
}

/// The hub of one stream, from a start of its job to the stop.
#[derive(Debug)]
pub struct Hub {
    job: String,
    table: Table,
    inbox: Mutex<Inbox>,
    core: Mutex<Core>,
    wake: Notify,
    watched: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(pieces: Vec<Piece>) -> Vec<(Epoch, RecordBatch)> {
    let pieces = pieces.into_iter();
    pieces
        .map(|piece| (piece.first.epoch, piece.rows))
        .collect()
}

impl Hub {
    /// The hub of a target of a job, in this start of it.
    pub(super) fn new(job: &str, target: &Target, generation: u64, sizes: Sizes) -> Self {
        let stream = &target.stream;
        let position = |name: &String| stream.schema.index_of(name).ok();
        let key: Option<Vec<usize>> = stream.key.iter().map(position).collect();
        let mut table = Table {
            stream: stream.name.clone(),
            schema: Arc::clone(&stream.schema),
            key: key.unwrap_or_default(),
            key_names: stream.key.clone(),
            after_commit: target.shown == Emit::AfterCommit,
        };
        let keys = (!table.key.is_empty()).then(|| Keys::new(&table.schema, table.key.clone()));
        let keys = keys.transpose().unwrap_or_else(|error| {
            tracing::warn!(stream = %table.stream, "it is shown as without a key: {}", error.chain());
            (table.key, table.key_names) = (vec![], vec![]);
            None
        });
        let core = Core::new(table.clone(), keys, sizes, generation);
        Self {
            job: job.to_owned(),
            table,
            inbox: Mutex::default(),
            core: Mutex::new(core),
            wake: Notify::new(),
            watched: AtomicBool::new(false),
        }
    }

    /// The job that writes the stream.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The name of the table.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.table.stream
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Channels and subscriptions at the moment.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        lock(&self.core).counts()
    }

    /// The newest rows that are there, so many at most, oldest first, and their epochs.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<(Epoch, RecordBatch)> {
        let mut core = lock(&self.core);
        self.note("read", self.settle(&mut core));
        told(core.newest(most))
    }

    /// The rows of all epochs after one, oldest first, and their epochs; `None` where some of them
    /// are gone.
    #[must_use]
    pub fn after(&self, epoch: Epoch) -> Option<Vec<(Epoch, RecordBatch)>> {
        let mut core = lock(&self.core);
        self.note("read", self.settle(&mut core));
        core.after(epoch).map(told)
    }

    /// Whether the job has stopped: nothing comes of this hub any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.core).is_closed()
    }

    fn tell(&self, news: News, rows: usize) {
        let mut inbox = lock(&self.inbox);
        inbox.news.push(news);
        inbox.rows += rows;
        let full = inbox.rows > INBOX_ROWS;
        drop(inbox);
        if full {
            let mut core = lock(&self.core);
            self.note("keep", self.settle(&mut core));
        }
        self.wake.notify_one();
    }

    /// Takes what is in the inbox. Whoever does holds the core, so that news stay in order. Rows that
    /// came one by one are taken together.
    fn settle(&self, core: &mut Core) -> Result<()> {
        let inbox = std::mem::take(&mut *lock(&self.inbox));
        let mut rows = Together::default();
        for news in inbox.news {
            match news {
                News::Rows(epoch, batch) => {
                    if epoch != rows.epoch || rows.count >= TOGETHER {
                        rows.give(core, &self.table)?;
                    }
                    rows.epoch = epoch;
                    rows.count += batch.num_rows();
                    rows.batches.push(batch);
                }
                News::Committed(epoch) => {
                    rows.give(core, &self.table)?;
                    core.committed(epoch)?;
                }
                News::Forming(windows) => {
                    rows.give(core, &self.table)?;
                    core.forming(&windows)?;
                }
            }
        }
        rows.give(core, &self.table)
    }

    fn note(&self, doing: &str, done: Result<()>) {
        if let Err(error) = done {
            tracing::error!(stream = %self.table.stream, "cannot {doing}: {}", error.chain());
        }
    }

    /// Makes frames of what came.
    pub(super) fn flush(&self) {
        let mut core = lock(&self.core);
        let flushed = self.settle(&mut core).and_then(|()| core.flush());
        self.note("show rows", flushed);
    }

    /// The task of the hub, until it is closed.
    pub(super) async fn run(self: Arc<Self>, metronome: Arc<Metronome>) {
        let mut forward = interval(FORWARD);
        forward.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.wake.notified() => {
                    let started = Instant::now();
                    self.flush();
                    if self.is_closed() {
                        return;
                    }
                    let (_, readers) = self.counts();
                    let next = started + pace::apart(readers);
                    metronome.until(next.max(Instant::now() + REST)).await;
                }
                _ = forward.tick() => {
                    self.flush();
                    lock(&self.core).bring_all_forward();
                }
            }
        }
    }

    /// Lets nobody in any more and tells those who are there.
    pub(super) fn close(&self, reason: &str) {
        let mut core = lock(&self.core);
        let closed = self.settle(&mut core).and_then(|()| core.close(reason));
        self.note("close", closed);
        self.watched.store(false, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(super) fn view_of(&self, choice: &Choice) -> Option<Arc<View>> {
        lock(&self.core).view_of(choice)
    }

    /// Lets a member in. `member` and `channel` are numbers that nobody has had; `others` are the
    /// members that are the same connection's: none of them may show the same.
    pub(super) async fn subscribe(
        &self,
        request: &Subscribe,
        outbox: &Arc<Outbox>,
        (member, channel): (u64, u64),
        others: &[u64],
    ) -> Result<(), Fault> {
        let from = request.from.as_deref().filter(|from| !from.is_empty());
        let from = from.map(str::parse::<Cursor>).transpose();
        let from = from.map_err(|message| Fault::new("invalid", message))?;
        let choice = filter::choice(self, request)?;
        let view = filter::view(self, &choice).await?;
        let mut core = lock(&self.core);
        if core.is_closed() {
            let message = format!("the job of stream '{}' has just stopped", self.table.stream);
            return Err(Fault::new("unavailable", message));
        }
        if let Some(other) = core.showing(others, &choice) {
            let message = format!("'{other}' shows the same already");
            return Err(Fault::new("duplicate", message));
        }
        let join = Join {
            member,
            id: &request.id,
            choice,
            view,
            channel,
            from,
            outbox: Arc::clone(outbox),
        };
        let joined = self.settle(&mut core).and_then(|()| core.join(join));
        self.watched.store(true, Ordering::Relaxed);
        joined.map(drop).map_err(|error| Fault::from(&error))
    }

    /// A member has sent everything: it is told more, if it is behind.
    pub(super) fn advance(&self, member: u64) {
        let mut core = lock(&self.core);
        let advanced = self.settle(&mut core).and_then(|()| core.advance(member));
        self.note("show rows", advanced);
    }

    pub(super) fn leave(&self, member: u64) {
        let mut core = lock(&self.core);
        core.leave(member);
        self.watched.store(core.is_watched(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

impl Tap for Hub {
    fn rows(&self, epoch: Epoch, rows: &RecordBatch) {
        self.tell(News::Rows(epoch, rows.clone()), rows.num_rows());
    }

    fn committed(&self, epoch: Epoch) {
        self.tell(News::Committed(epoch), 0);
    }

    fn snapshot(&self, _: Epoch) -> Result<Snapshot> {
        let mut core = lock(&self.core);
        self.settle(&mut core)?;
        core.snapshot()
    }

    fn restore(&self, epoch: Epoch, snapshot: Snapshot) -> Result<()> {
        lock(&self.core).restore(epoch, &snapshot)
    }

    fn wants_forming(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    fn forming(&self, rows: &[RecordBatch]) {
        self.tell(News::Forming(rows.to_vec()), 0);
    }
}
