//! Steps 2 to 4 of a commit: append to the log, hand on to the sinks, keep the log short.

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::sink_loop::{Publication, Published};
use super::source_loop::Backoff;
use super::status::SharedStatus;
use crate::error::{ErrorKind, Result};
use crate::log::Log;
use crate::log::record::{Record, StoredSnapshot};
use crate::sink::Epoch;

/// An epoch that the shard has ended.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) record: Record,
    pub(super) snapshot: Option<StoredSnapshot>,
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
    /// By output; `None` where there is no recorder, or the sink takes its rows at once.
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
            // A sink loop that is gone has failed, and its error ends the job.
            let _ = sink
                .send(Publication {
                    epoch: record.epoch,
                    rows,
                })
                .await;
        }
    }
}

/// The committer of a shard.
pub(super) struct Committer {
    pub(super) log: Log,
    pub(super) outputs: Outputs,
    pub(super) published: Published,
    pub(super) status: SharedStatus,
}

impl Committer {
    /// Commits until the shard is gone.
    pub(super) async fn run(self, mut commits: mpsc::Receiver<Commit>) -> Result<()> {
        let nothing = vec![Epoch(0); self.outputs.sinks.len()];
        while let Some(Commit {
            mut record,
            snapshot,
        }) = commits.recv().await
        {
            record.published = self.published.get();
            let bytes = record.encode()?;
            let mut backoff = Backoff::default();
            while let Err(error) = self.log.append(record.epoch, bytes.clone()).await {
                if error.kind() != ErrorKind::Unavailable {
                    return Err(error);
                }
                tracing::warn!(
                    "the log does not take epoch {}: {}",
                    record.epoch,
                    error.chain()
                );
                backoff.wait().await;
            }
            self.status.lock().committed = record.epoch;
            self.outputs.publish(&record, &nothing).await;
            if let Some(snapshot) = snapshot {
                self.log
                    .put_snapshot(snapshot.epoch, snapshot.encode()?)
                    .await?;
                self.cut(snapshot.epoch).await?;
            }
        }
        Ok(())
    }

    /// Cuts the log below the snapshot, as far as everything is published. The record of the
    /// snapshot's own epoch stays: it says what was published and whether the job is finished.
    async fn cut(&self, snapshot: Epoch) -> Result<()> {
        let sinks = self.outputs.sinks.iter().zip(self.published.get());
        let published = sinks
            .filter(|(sink, _)| sink.is_some())
            .map(|(_, epoch)| epoch)
            .min();
        let through = published
            .unwrap_or(snapshot)
            .min(Epoch(snapshot.0.saturating_sub(1)));
        let contents = self.log.contents().await?;
        self.log.cut_records(through, &contents).await?;
        self.log.cut_snapshots(snapshot, &contents).await
    }
}
