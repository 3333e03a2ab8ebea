//! Where an epoch becomes committed: a [`CommitPoint`].

use async_trait::async_trait;

use crate::error::Result;
use crate::log::record::Record;
use crate::sink::Epoch;

/// The one atomic write of a commit. Before it an epoch is as if it had never been: its input is
/// asked for again. After it the epoch is never taken back: what it holds for the sinks is
/// published, after a kill by the next start.
///
/// The committer knows nothing else of it. Today the [`Log`](crate::log::Log) is the commit
/// point: its record is put only where there is none. A transaction elsewhere (Kafka's) becomes
/// another one by wrapping the log, and no operator, source, sink or loop would change:
/// `last` takes the fence (`init_transactions`), reads the epoch from the metadata of the
/// committed offsets and removes records above it from the log; `commit` takes out of the record
/// the rows that the transaction carries, appends the rest to the log, and then commits these
/// rows together with the offsets that the journal ends at.
#[async_trait]
pub trait CommitPoint: Send {
    /// Fences whoever committed before, and says which epoch was the last; 0 stands for none.
    /// Called at a start, before the log is read. Afterwards the log holds the records of
    /// committed epochs only.
    async fn last(&mut self) -> Result<Epoch>;
    /// Commits an epoch: the one after the last. It is called again with the same record where
    /// it was `Unavailable`, and must then not commit twice; any other error ends the job. Its
    /// future may be dropped at a stop: whether the epoch is committed, `last` tells the next
    /// start.
    async fn commit(&mut self, record: &Record) -> Result<()>;
}
