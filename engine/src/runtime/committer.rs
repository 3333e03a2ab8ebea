//! Steps 2 to 5 of a commit: wait for what is sent at once, append while the rest of the transaction
//! is sent, commit, hand on to the sinks.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::ahead::{Ahead, Carried};
use super::committed::Committed;
use super::patience::{Patience, patiently};
use super::savepoint::Wish;
use super::sink_loop::{Publication, Published};
use super::status::SharedStatus;
use crate::commit::{CommitPoint, Transaction};
use crate::crash::{self, Point};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::log::record::{Record, StoredSnapshot};
use crate::sink::Epoch;
use crate::tap::Taps;

/// An epoch that the shard has ended.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) record: Record,
    /// Answered by each sink that takes rows at once, when it has written those of the epoch.
    pub(super) written: Vec<oneshot::Receiver<()>>,
    pub(super) snapshot: Option<StoredSnapshot>,
    /// Who waits for the snapshot, and until everything before it is out.
    pub(super) wish: Option<Wish>,
}

/// How the outputs of a job are numbered: its targets, then per table those of `$late`, of `$dead`,
/// and the recorder.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputNumbers {
    pub(super) targets: usize,
    pub(super) tables: usize,
}

impl OutputNumbers {
    pub(super) fn late(self, table: usize) -> usize {
        self.targets + table
    }

    pub(super) fn dead(self, table: usize) -> usize {
        self.targets + self.tables + table
    }

    fn recorder(self, table: usize) -> usize {
        self.targets + 2 * self.tables + table
    }
}

/// Where the rows of a job's outputs go.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) numbers: OutputNumbers,
    /// By output; `None` where there is no recorder, or the rows do not come out of the log: the
    /// sink takes them at once, or the commit point carries them.
    pub(super) sinks: Vec<Option<mpsc::Sender<Publication>>>,
}

impl Outputs {
    /// Hands an epoch to every sink that has not published it; each hears of every epoch.
    pub(super) async fn publish(&self, record: &Record, published: &[Epoch]) {
        let kept = record
            .kept
            .iter()
            .map(|(table, rows)| (self.numbers.recorder(*table), rows));
        let outputs = record.outputs.iter().map(|(output, rows)| (*output, rows));
        let rows: Vec<(usize, &Vec<RecordBatch>)> = kept.chain(outputs).collect();
        for (output, sink) in self.sinks.iter().enumerate() {
            let Some(sink) = sink.as_ref().filter(|_| published[output] < record.epoch) else {
                continue;
            };
            let rows = rows.iter().find(|(of, _)| *of == output);
            let rows = rows.map(|(_, rows)| (*rows).clone()).unwrap_or_default();
            let epoch = record.epoch;
            // A sink loop that is gone has failed, and its error ends the job; or it was given
            // up at a stop: then it gets nothing more, and the next start publishes the rest.
            let _ = sink.send(Publication::Rows { epoch, rows }).await;
        }
    }
}

impl Outputs {
    /// By output: whether it publishes from the log.
    pub(super) fn out_of_log(&self) -> Vec<bool> {
        self.sinks.iter().map(Option::is_some).collect()
    }

    /// Asks every sink to put out what it holds back; each answers when it has.
    pub(super) async fn put_out(&self) -> Vec<oneshot::Receiver<()>> {
        let mut answers = vec![];
        for sink in self.sinks.iter().flatten() {
            let (out, answer) = oneshot::channel();
            let _ = sink.send(Publication::PutOut { out }).await;
            answers.push(answer);
        }
        answers
    }
}

/// The committer of a shard.
pub(super) struct Committer {
    pub(super) log: Log,
    pub(super) point: Option<Box<dyn CommitPoint>>,
    pub(super) outputs: Outputs,
    pub(super) published: Published,
    pub(super) status: SharedStatus,
    /// With the log.
    pub(super) patience: Patience,
    /// With the commit point.
    pub(super) point_patience: Patience,
    pub(super) committed: watch::Sender<Committed>,
    pub(super) snapshots: watch::Sender<Option<Arc<StoredSnapshot>>>,
    /// The tables whose sources cannot be asked again.
    pub(super) once: Vec<String>,
    pub(super) taps: Taps,
    pub(super) ahead: Ahead,
}

impl Committer {
    /// Commits until the shard is gone; or until something does not answer and the job is to
    /// stop: the rest is not committed then, and the status says so. The rows that an epoch
    /// carries come before its end.
    pub(super) async fn run(
        mut self,
        mut commits: mpsc::Receiver<Commit>,
        mut carried: mpsc::UnboundedReceiver<Carried>,
    ) -> Result<()> {
        loop {
            let (epoch, outcome) = tokio::select! {
                biased;
                commit = commits.recv() => {
                    let Some(commit) = commit else { return Ok(()) };
                    crash::reach(Point::Barrier);
                    let epoch = commit.record.epoch;
                    let rows = self.ahead.end(epoch, &mut carried);
                    (epoch, self.commit(commit, &rows).await?)
                }
                Some(first) = carried.recv() => {
                    self.ahead.take(first, &mut carried);
                    let epoch = self.committed.borrow().epoch.next();
                    (epoch, self.send_ahead(epoch).await?)
                }
            };
            if let Err(reason) = outcome {
                self.leave(epoch, &reason);
                return Ok(());
            }
        }
    }

    /// Sends rows of the epoch under way, where they are worth it; says why, where it could not
    /// before the job's stop.
    async fn send_ahead(&mut self, epoch: Epoch) -> Result<Result<(), String>> {
        let (Some(point), Some(rows)) = (&mut self.point, self.ahead.due(epoch)) else {
            return Ok(Ok(()));
        };
        let transaction = Transaction {
            epoch,
            rows,
            positions: None,
        };
        let sent = patiently!(self.point_patience, point.prepare(transaction));
        Ok(sent.ok_or_else(|| self.point_patience.reason().to_owned()))
    }

    /// Commits an epoch and hands it on; says why, where it could not before the job's stop.
    async fn commit(
        &mut self,
        commit: Commit,
        rows: &[(usize, RecordBatch)],
    ) -> Result<Result<(), String>> {
        for written in commit.written {
            if written.await.is_err() {
                // The sink has failed, and its error ends the job; or it was given up.
                return Ok(Err("a table has not taken all its rows".to_owned()));
            }
        }
        crash::reach(Point::Written);
        let started = Instant::now();
        let mut record = commit.record;
        record.published = self.published.get();
        let mut committed = self.committed.borrow().clone();
        committed.add(&record);
        let transaction = Transaction {
            epoch: record.epoch,
            rows,
            positions: Some(&committed.positions),
        };
        let (appended, prepared) = self.append(&record, transaction).await?;
        let Some(bytes) = appended else {
            return Ok(Err(self.patience.reason().to_owned()));
        };
        if prepared.is_none() {
            return Ok(Err(self.point_patience.reason().to_owned()));
        }
        if let Some(point) = &mut self.point
            && patiently!(self.point_patience, point.commit(transaction)).is_none()
        {
            return Ok(Err(self.point_patience.reason().to_owned()));
        }
        crash::reach(Point::Committed);
        self.status.lock().commits.add(started.elapsed(), bytes);
        self.note(committed, rows);
        let nothing = vec![Epoch(0); self.outputs.sinks.len()];
        self.outputs.publish(&record, &nothing).await;
        crash::reach(Point::Published);
        if let Some(snapshot) = commit.snapshot {
            let snapshot = Arc::new(snapshot);
            if let Some(wish) = commit.wish {
                wish.grant(Arc::clone(&snapshot), self.outputs.put_out().await);
            }
            self.snapshots.send_replace(Some(snapshot));
        }
        Ok(Ok(()))
    }

    /// Appends a record, and sends its transaction meanwhile, where there is one; `None` where the
    /// job is to stop first. The bytes of the record.
    async fn append(
        &mut self,
        record: &Record,
        transaction: Transaction<'_>,
    ) -> Result<(Option<u64>, Option<()>)> {
        let Self {
            log,
            patience,
            point,
            point_patience,
            ..
        } = self;
        let mut append = pin!(async {
            let bytes = patiently!(patience, log.append(record));
            crash::reach(Point::Appended);
            Ok::<_, Error>(bytes)
        });
        let mut prepare = pin!(async {
            Ok::<_, Error>(match point {
                Some(point) => patiently!(point_patience, point.prepare(transaction)),
                None => Some(()),
            })
        });
        tokio::select! {
            biased;
            // A log that refuses the record ends the job, whether or not the brokers answer.
            appended = &mut append => Ok((appended?, prepare.await?)),
            // A record that is on its way is never left alone.
            prepared = &mut prepare => Ok((append.await?, prepared?)),
        }
    }

    /// Tells everybody that an epoch is committed. What the commit point carried is out with it.
    fn note(&self, committed: Committed, carried: &[(usize, RecordBatch)]) {
        // There may be a batch a row: the status is not held for that long.
        let carried: BTreeSet<usize> = carried.iter().map(|(target, _)| *target).collect();
        let mut status = self.status.lock();
        status.committed = committed.epoch;
        for target in carried {
            if let Some(target) = status.targets.get_mut(target) {
                target.published = committed.epoch;
            }
        }
        drop(status);
        self.taps.committed(committed.epoch);
        self.committed.send_replace(committed);
    }

    fn leave(&self, epoch: Epoch, reason: &str) {
        let mut note = format!(
            "epoch {epoch} and what followed could not be committed ({reason}): the next start \
             asks the sources for what is not in the log"
        );
        if !self.once.is_empty() {
            note.push_str(", but rows are lost of ");
            note.push_str(&self.once.join(", "));
            note.push_str(", which cannot be asked again");
        }
        self.status.leave(note);
    }
}
