//! Step 6 of a commit, beside the others: snapshots are stored and the log is cut, patiently. An
//! object store that is away for a while delays no commit; the log is then cut later.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::patience::{Attempt, Patience, patiently};
use super::sink_loop::Published;
use super::status::SharedStatus;
use crate::crash::{self, Point};
use crate::error::Result;
use crate::log::Log;
use crate::log::record::StoredSnapshot;
use crate::sink::Epoch;

/// The newest snapshot; one that was not stored by then is not needed any more.
pub(super) type Newest = watch::Receiver<Option<Arc<StoredSnapshot>>>;

/// The loop that keeps the log short.
pub(super) struct SnapshotLoop {
    pub(super) log: Log,
    /// By output: whether it publishes from the log.
    pub(super) from_log: Vec<bool>,
    pub(super) published: Published,
    pub(super) status: SharedStatus,
    pub(super) patience: Patience,
}

impl SnapshotLoop {
    /// Runs until the committer is gone and its last snapshot is stored. Where it cannot be and
    /// the job is to stop, the status says what that means.
    pub(super) async fn run(mut self, mut newest: Newest) -> Result<()> {
        while newest.changed().await.is_ok() {
            let snapshot = newest.borrow_and_update().clone();
            let Some(snapshot) = snapshot else { continue };
            if self.store(&snapshot, &newest).await?.is_none() {
                self.status.leave(format!(
                    "the snapshot after epoch {} was not stored ({}): the next start runs again \
                     what was committed since the one before",
                    snapshot.epoch,
                    self.patience.reason()
                ));
                return Ok(());
            }
        }
        Ok(())
    }

    async fn store(&mut self, snapshot: &StoredSnapshot, newest: &Newest) -> Result<Option<()>> {
        let (epoch, bytes) = (snapshot.epoch, snapshot.encode()?);
        crash::reach(Point::SnapshotDue);
        let (size, started) = (bytes.content_length(), Instant::now());
        loop {
            let put = self.log.put_snapshot(epoch, bytes.clone());
            match self.patience.attempt(put).await? {
                Attempt::Done(()) => break,
                Attempt::Again if newest.has_changed().unwrap_or(false) => return Ok(Some(())),
                Attempt::Again => {}
                Attempt::GivenUp => return Ok(None),
            }
        }
        crash::reach(Point::SnapshotStored);
        self.count(size, started);
        // A log that is not cut before a stop is cut after the next start.
        let _ = patiently!(self.patience, cut(&self.log, epoch, self.needed_from()));
        Ok(Some(()))
    }

    fn count(&self, size: usize, started: Instant) {
        let snapshots = &mut self.status.lock().snapshots;
        snapshots.stored += 1;
        snapshots.bytes += size as u64;
        snapshots.time += started.elapsed();
    }

    /// The last epoch that no output needs any more; `None` where none publishes from the log.
    fn needed_from(&self) -> Option<Epoch> {
        let published = self.from_log.iter().zip(self.published.get());
        let published = published.filter(|(from_log, _)| **from_log);
        published.map(|(_, epoch)| epoch).min()
    }
}

/// Cuts the log below the snapshot, as far as everything is published. The record of the
/// snapshot's own epoch stays: it says what was published and whether the job is finished.
async fn cut(log: &Log, snapshot: Epoch, published: Option<Epoch>) -> Result<()> {
    let below = Epoch(snapshot.0.saturating_sub(1));
    let through = published.map_or(below, |published| published.min(below));
    let contents = log.contents().await?;
    log.cut_records(through, &contents).await?;
    log.cut_snapshots(snapshot, &contents).await
}
