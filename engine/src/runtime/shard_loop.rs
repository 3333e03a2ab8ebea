//! Step 1 of a commit: the thread of a shard, from arrivals to epochs.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::{mpsc, oneshot, watch};

use super::ahead::Carried;
use super::backlog::Backlog;
use super::committed::Committed;
use super::committer::{Commit, OutputNumbers};
use super::redrive::Request;
use super::savepoint::Wish;
use super::shard::{Emitted, Leaving, Shard, ShardSnapshot};
use super::sink_loop::Publication;
use super::source_loop::Event;
use super::status::SharedStatus;
use super::stop::Stop;
use super::timer::{Instant, Interval, MissedTickBehavior, interval};
use crate::clock::Clock;
use crate::error::Result;
use crate::intake::journal::Entry;
use crate::intake::{Arrival, Records, recording};
use crate::log::record::{Record, StoredSnapshot};
use crate::sink::Epoch;
use crate::tap::Taps;

/// How often silence is looked at: idle splits, windows over arrival time.
const TICK: Duration = Duration::from_millis(20);

/// An epoch that holds as many rows, of input that is kept and of output, ends before its time, so
/// that a fast job needs no more memory than a slow one.
const EPOCH_ROWS: usize = 32_768;

/// The same with a commit point, which has a price for each epoch, whatever is in it: a recorded job
/// is not to have twice as many, so an epoch may hold as many rows of input and as many of output.
const TRANSACTION_ROWS: usize = 131_072;

/// How often the status is told what arrived, in nanoseconds.
const TELLING: i64 = TICK.as_nanos() as i64;

/// How often the windows that are open still are shown, in nanoseconds, while somebody looks.
const FORMING: i64 = 250_000_000;

/// An epoch ends after so long even if nothing came: whoever forgets what is not renewed (Kafka
/// does, after days) is to remember how far the job is committed.
const RENEWED: Duration = Duration::from_hours(6);

/// Where the rows of a target go.
pub(super) enum Route {
    /// To its sink, as soon as they exist.
    AtOnce(mpsc::Sender<Publication>),
    /// Into the transaction of the commit point, as soon as they exist.
    InCommit,
    /// Into the log, and from there to its sink.
    AfterCommit,
}

/// The loop of a shard, run by a thread of its own.
pub(super) struct ShardLoop {
    pub(super) shard: Shard,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: mpsc::Receiver<Event>,
    /// What is asked of it meanwhile.
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) commits: mpsc::Sender<Commit>,
    /// How far they are done.
    pub(super) committed: watch::Receiver<Committed>,
    /// Bounded by the epochs that wait.
    pub(super) carried: mpsc::UnboundedSender<Carried>,
    /// By target: where its rows go.
    pub(super) routes: Vec<Route>,
    pub(super) stop: Stop,
    pub(super) status: SharedStatus,
    pub(super) commit_interval: Duration,
    pub(super) snapshot_after: Backlog,
    /// By table: how its arrivals are kept in the log, if they are.
    pub(super) kept: Vec<Option<SchemaRef>>,
    pub(super) epoch: EpochBuilder,
    /// When the status was told last.
    pub(super) told: i64,
    pub(super) taps: Taps,
    /// When the open windows were shown last.
    pub(super) formed: i64,
}

/// The epoch under way.
#[derive(Debug)]
pub(super) struct EpochBuilder {
    record: Record,
    /// When it began.
    begun: Instant,
    /// Whether it has lasted as long as it is to.
    is_due: bool,
    /// What came since the last snapshot.
    backlog: Backlog,
    /// Whether anything left the graph.
    emitted: bool,
    /// Rows of input that the record keeps.
    kept: usize,
    /// Rows of output that the record and the transaction hold.
    output: usize,
}

impl EpochBuilder {
    pub(super) fn after(epoch: Epoch, backlog: Backlog) -> Self {
        let record = Record {
            epoch: epoch.next(),
            ..Record::default()
        };
        Self {
            record,
            begun: Instant::now(),
            is_due: false,
            backlog,
            emitted: false,
            kept: 0,
            output: 0,
        }
    }

    /// Which epoch it is.
    pub(super) fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    fn journal(&mut self, entry: Entry) {
        self.backlog = self.backlog.with(&entry);
        self.record.journal.push(entry);
    }

    pub(super) fn keep(&mut self, table: usize, rows: RecordBatch) {
        self.kept += rows.num_rows();
        append(&mut self.record.kept, table, rows);
    }

    fn output(&mut self, output: usize, rows: RecordBatch) {
        self.output += rows.num_rows();
        append(&mut self.record.outputs, output, rows);
    }

    /// Whether it holds as many rows as it may.
    fn is_full(&self, transactional: bool) -> bool {
        match transactional {
            true => self.kept.max(self.output) >= TRANSACTION_ROWS,
            false => self.kept + self.output >= EPOCH_ROWS,
        }
    }

    /// Whether there is no reason to commit it.
    fn is_idle(&self) -> bool {
        self.record.journal.is_empty() && !self.emitted && self.begun.elapsed() < RENEWED
    }
}

/// Why the loop ended.
enum End {
    Finished,
    Stopped,
}

impl ShardLoop {
    /// Runs until all inputs have ended, one failed, or the job is stopped; the last epoch and a
    /// snapshot have then been handed to the committer.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut commit = patient_interval(self.commit_interval);
        let mut tick = patient_interval(TICK);
        let stop = self.stop.clone().wait();
        tokio::pin!(stop);
        let end = loop {
            tokio::select! {
                biased;
                () = &mut stop => break End::Stopped,
                _ = commit.tick() => self.epoch.is_due = true,
                Ok(()) = self.committed.changed(), if self.epoch.is_due => {}
                event = self.events.recv() => {
                    let Some(event) = event else { break End::Stopped };
                    self.take(event).await?;
                    if self.shard.intake().ended().iter().all(|ended| *ended) {
                        break End::Finished;
                    }
                }
                Some(request) = self.requests.recv() => self.answer(request).await?,
                _ = tick.tick() => self.tick().await?,
            }
            self.end_if_due().await?;
        };
        let finished = matches!(end, End::Finished);
        self.commit(true, finished).await?;
        self.shard.check_balance()?;
        let mut status = self.status.lock();
        status.digests = self.shard.digests();
        Ok(())
    }

    async fn take(&mut self, event: Event) -> Result<()> {
        let now = self.shard.intake().stamp(self.clock.now());
        let arrival = match event {
            Event::Splits { table, splits } => {
                if self.shard.intake().knows(table, &splits) {
                    return Ok(());
                }
                Arrival::Splits {
                    table,
                    splits,
                    at: now,
                }
            }
            Event::Polled { table, polled } if polled.is_empty() => Arrival::Reached {
                table,
                split: polled.split,
                next_offset: polled.next_offset,
                at: now,
            },
            Event::Polled { table, polled } => {
                Arrival::Records(Records::of_poll(table, polled, now))
            }
            Event::Ended { table } => Arrival::End { table, at: now },
            Event::Failed(error) => return Err(error),
        };
        self.arrive(arrival, true).await?;
        if now >= self.told.saturating_add(TELLING) {
            self.tell(now)?;
        }
        self.end_if_full().await
    }

    /// Ends an epoch that has lasted long enough, once the one before is committed: until then it
    /// would only wait, and rows that come meanwhile would have to wait for another. What a recovery
    /// would take too long for does not gather, though: it ends, and the sources wait with it.
    async fn end_if_due(&mut self) -> Result<()> {
        if !self.epoch.is_due
            || (self.is_behind_another() && !self.epoch.backlog.reaches(self.snapshot_after))
        {
            return Ok(());
        }
        self.epoch.is_due = false;
        self.commit(false, false).await
    }

    /// Whether the epoch before is not committed yet.
    fn is_behind_another(&mut self) -> bool {
        self.committed.borrow_and_update().epoch.next() < self.epoch.epoch()
    }

    /// Ends an epoch that holds many rows.
    pub(super) async fn end_if_full(&mut self) -> Result<()> {
        let carried = |route: &Route| matches!(route, Route::InCommit);
        match self.epoch.is_full(self.routes.iter().any(carried)) {
            true => self.commit(false, false).await,
            false => Ok(()),
        }
    }

    fn tell(&mut self, now: i64) -> Result<()> {
        self.told = now;
        self.status.tell(&self.shard);
        if now < self.formed.saturating_add(FORMING) {
            return Ok(());
        }
        for (target, tap) in self.taps.forming_wanted() {
            self.formed = now;
            tap.forming(&self.shard.forming(target)?);
        }
        Ok(())
    }

    /// Lets time pass. A tick that changes nothing is not journaled: the one that ends the epoch
    /// is, and stands for it.
    async fn tick(&mut self) -> Result<()> {
        let at = self.shard.intake().stamp(self.clock.now());
        self.arrive(Arrival::Tick { at }, false).await?;
        self.tell(at)
    }

    pub(super) async fn arrive(&mut self, arrival: Arrival, journaled: bool) -> Result<()> {
        let entry = Entry::of(&arrival);
        let mut kept = vec![];
        for (table, schema) in self.kept.iter().enumerate() {
            if let Some(schema) = schema {
                kept.extend(
                    recording::encode(schema, &arrival, table)?
                        .into_iter()
                        .map(|b| (table, b)),
                );
            }
        }
        let changed = self.shard.arrive(arrival)?;
        if journaled || changed {
            self.epoch.journal(entry);
            for (table, rows) in kept {
                self.epoch.keep(table, rows);
            }
        }
        let emitted = self.shard.take_emitted();
        self.emit(emitted).await
    }

    /// Sends rows on that do not wait for the commit, and puts the others into the epoch.
    async fn emit(&mut self, emitted: Emitted) -> Result<()> {
        let numbers = OutputNumbers {
            targets: self.routes.len(),
            tables: self.kept.len(),
        };
        let now = self.clock.now().0;
        for (target, batches) in emitted.targets.into_iter().enumerate() {
            for Leaving { rows, arrived_at } in batches {
                self.epoch.emitted = true;
                if let Some(arrived_at) = arrived_at {
                    let mut status = self.status.lock();
                    status.latency.add(now - arrived_at, rows.num_rows() as u64);
                }
                if let Some(tap) = self.taps.of(target) {
                    tap.rows(self.epoch.record.epoch, &rows);
                }
                match &self.routes[target] {
                    Route::AtOnce(sink) => {
                        let epoch = self.epoch.record.epoch;
                        let rows = vec![rows];
                        // A loop that is gone answers no end of an epoch: none is committed.
                        let _ = sink.send(Publication::Rows { epoch, rows }).await;
                    }
                    Route::InCommit => {
                        self.epoch.output += rows.num_rows();
                        let epoch = self.epoch.record.epoch;
                        let carried = Carried {
                            epoch,
                            target,
                            rows,
                        };
                        // A committer that is gone commits nothing.
                        let _ = self.carried.send(carried);
                    }
                    Route::AfterCommit => self.epoch.output(target, rows),
                }
            }
        }
        for (table, rows) in emitted.late {
            self.epoch.emitted = true;
            self.epoch.output(numbers.late(table), rows);
        }
        for (table, rows) in emitted.dead {
            self.epoch.emitted = true;
            self.epoch.output(numbers.dead(table), rows);
        }
        Ok(())
    }

    /// Ends the epoch and begins the next.
    async fn commit(&mut self, last: bool, finished: bool) -> Result<()> {
        if self.epoch.is_idle() && !last {
            return Ok(());
        }
        self.end_epoch(last, finished, None).await
    }

    /// Ends the epoch, with a savepoint where one is wished for.
    pub(super) async fn end_epoch(
        &mut self,
        last: bool,
        finished: bool,
        wish: Option<Wish>,
    ) -> Result<()> {
        if !finished {
            let at = self.shard.intake().stamp(self.clock.now());
            self.arrive(Arrival::Tick { at }, true).await?;
        }
        let epoch = self.epoch.record.epoch;
        let backlog = self.epoch.backlog.ended();
        let due = last || wish.is_some() || backlog.reaches(self.snapshot_after);
        let next = EpochBuilder::after(epoch, if due { Backlog::NONE } else { backlog });
        let mut record = std::mem::replace(&mut self.epoch, next).record;
        record.finished = finished;
        let snapshot = match due {
            true => Some(StoredSnapshot {
                epoch,
                shard: ShardSnapshot {
                    taps: self.taps.snapshot(epoch)?,
                    ..self.shard.snapshot()?
                },
            }),
            false => None,
        };
        self.status.tell(&self.shard);
        let written = end_at_once(&self.routes, epoch).await;
        let commit = Commit {
            record,
            written,
            snapshot,
            wish,
        };
        // A committer that is gone has failed, and its error ends the job; or it was given up
        // at a stop, and has said what is not committed.
        let _ = self.commits.send(commit).await;
        Ok(())
    }
}

/// Tells the sinks that take rows at once where the epoch ends; they answer the committer, while
/// the shard goes on with the next epoch.
async fn end_at_once(routes: &[Route], epoch: Epoch) -> Vec<oneshot::Receiver<()>> {
    let mut answers = vec![];
    for route in routes {
        let Route::AtOnce(sink) = route else { continue };
        let (written, answer) = oneshot::channel();
        let _ = sink.send(Publication::End { epoch, written }).await;
        answers.push(answer);
    }
    answers
}

fn append(all: &mut Vec<(usize, Vec<RecordBatch>)>, number: usize, rows: RecordBatch) {
    match all.iter_mut().find(|(of, _)| *of == number) {
        Some((_, batches)) => batches.push(rows),
        None => all.push((number, vec![rows])),
    }
}

/// An interval that does not catch up on what it missed; the first tick is a period away.
fn patient_interval(period: Duration) -> Interval {
    let mut interval = interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}
