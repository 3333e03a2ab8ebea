//! Where an epoch becomes committed: a [`CommitPoint`] outside the log.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::error::Result;
use crate::sink::Epoch;
use crate::source::Position;
use crate::waiting::Waiting;

/// What one atomic write commits.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    /// The epoch: a later one than the last, and nearly always the next.
    pub epoch: Epoch,
    /// The rows of the targets that the commit point carries, each batch with its target, in the
    /// order in which they left the graph.
    pub rows: &'a [(usize, RecordBatch)],
    /// By table: where each split is read on once the epoch is committed. `None` while it goes on.
    pub positions: Option<&'a [Position]>,
}

/// A transaction that some of a job's targets share (Kafka's), and that commits the job with them:
/// their rows, the positions of the input and the number of the epoch become visible in one atomic
/// write. Before it an epoch is as if it had never been: its input is asked for again. After it
/// the epoch is never taken back.
///
/// The runtime appends the record of the epoch to the log before it, so the log holds every
/// committed epoch, and may end with some that are not. Which those are, [`CommitPoint::last`] tells the
/// next start, whose own first record then says that they do not count. A job without a commit point
/// is committed by the append itself: a record is put only where there is none.
///
/// Only the runtime's committer calls it, one call after the other.
#[async_trait]
pub trait CommitPoint: Send {
    /// Fences whoever committed before: nothing of a predecessor is committed after this. Says
    /// which epoch was the last; `None` where it knows of none. Called at a start, again where it
    /// was `Unavailable`.
    async fn last(&mut self) -> Result<Option<Epoch>>;
    /// Sends what there is of an epoch: while it goes on, each time with the rows of the time before
    /// and more, and once it has ended, while its record is on its way to the log. Nothing of it is
    /// visible before [`commit`](Self::commit), which needs none of these calls. What is sent and
    /// never committed is aborted by the next start, or by the transaction's own timeout. An
    /// `Unavailable` error is answered by the same call again, after a while; any other error ends
    /// the job.
    async fn prepare(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let _ = transaction;
        Ok(())
    }
    /// Commits an epoch. An `Unavailable` error is answered by the same call again, after a while,
    /// which must not commit twice; any other error ends the job. Where somebody else has committed
    /// since [`last`](Self::last) it is `Corrupt`, and nothing is committed: also where that was the
    /// predecessor, who was fenced and came back. Its future may be dropped at a
    /// stop: whether the epoch is committed, `last` tells the next start.
    async fn commit(&mut self, transaction: Transaction<'_>) -> Result<()>;
    /// Where it says why a call waits, while its client mends an outage by itself.
    fn waiting(&self) -> Option<Waiting> {
        None
    }
}
