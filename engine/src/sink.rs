//! Where rows go: a [`Sink`] publishes what is committed, epoch by epoch.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::waiting::Waiting;

/// Number of a commit of a shard, from 1; 0 stands for none.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When a sink is given its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// As soon as they exist: least latency, and after a kill some of them come again. An epoch is
    /// committed only once its rows are written, so none is lost.
    Now,
    /// Once their epoch is in the log: what it publishes is never taken back.
    AfterCommit,
}

/// An output. Rows have the columns of the sink's table, in the order of its DDL.
///
/// For [`Emit::AfterCommit`] the runtime calls `publish` in epoch order, also again for epochs
/// whose publication it cannot know of; a sink that can tell (by [`Sink::published`]) leaves out
/// what it already holds. A sink may hold rows back (a Parquet file that is still growing): the
/// log keeps every epoch above `published`.
#[async_trait]
pub trait Sink: Send {
    /// When this sink wants its rows.
    fn emit(&self) -> Emit;
    /// Takes the rows of one epoch. With [`Emit::Now`] it is called for each batch, with the
    /// epoch that the batch will belong to, and returns once the batch is written: what is only
    /// held in memory would be lost at a kill after the commit.
    ///
    /// An `Unavailable` error is answered by the same call again, after a while. At a stop the
    /// future of a call that takes too long is dropped, and no other call follows.
    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()>;
    /// The last epoch that is out for good, as far as this sink can tell; asked on recovery,
    /// before the first `publish`, and after each.
    async fn published(&mut self) -> Result<Epoch>;
    /// Puts out what is held back: at the end of a bounded job, at a graceful stop, before a savepoint,
    /// and at a start that had much to publish again.
    async fn flush(&mut self) -> Result<()>;
    /// Where it says why a call waits, while its client mends an outage by itself.
    fn waiting(&self) -> Option<Waiting> {
        None
    }
}
