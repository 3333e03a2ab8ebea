//! What runs a graph: shards, the loops around sources and sinks, epochs and recovery. The
//! commit protocol lives here only.
//!
//! ```text
//! source loops ──events──▶ shard thread ──commits──▶ committer ──epochs──▶ sink loops
//! (async, retry)           (intake, graph)           (commit point)        (async, retry)
//!                               │                        └──snapshots──▶ snapshot loop
//!                               └──rows that do not wait for the commit──▶ sink loops
//! ```
//! Every arrow is a bounded channel, so back-pressure reaches the sources. (Rows for the transaction
//! of a commit point go to the committer as they leave the graph; the epochs that wait bound them.)
//! The steps of a commit, with the [points](crate::crash::Point) between them at which a kill is
//! tested:
//! 1. the shard ends an epoch: one that is full, or that is due and follows a committed one. It is its
//!    journal, its rows for the sinks, and a mark behind the rows that were sent on at once
//!    ([`Emit::Now`](crate::Emit::Now)); the shard goes on with the next (`barrier`). Of the rows that
//!    the transaction of a commit point carries most are in it by then ([`ahead`], `transaction-…`);
//! 2. the committer waits until these sinks have passed the mark, that is, written the rows
//!    (`written`);
//! 3. the record of the epoch is appended to the log: everything that the steps after the commit
//!    need, durable (`appended`). Without a [`CommitPoint`](crate::CommitPoint) that is the commit;
//! 4. with one, its transaction is: the rows that it carries, the positions of the input and the
//!    number of the epoch, in one atomic write (`committed`). What of them is not in it is sent during
//!    step 3, and nobody sees them before;
//! 5. the sink loops publish it, in epoch order, idempotently (`published`, `roll-…`);
//! 6. now and then the shard's state follows as a snapshot, and the log is cut at the oldest of
//!    snapshot and publication (`snapshot-…`, `cut`). That goes on beside the others and never holds
//!    them up.
//!
//! A start takes the place of whoever ran the job before:
//! 1. the commit point fences the predecessor and says which epoch was the last
//!    (`recovery-fenced`);
//! 2. an epoch without rows fences the predecessor at the log, behind everything that is there; it
//!    says which epoch it follows, and so that records between count for nothing
//!    (`recovery-appended`). It is committed (`recovery-committed`);
//! 3. the state is that of the newest snapshot, with the journal run again and its output dropped
//!    (`recovery-repeated`);
//! 4. each sink says what it has out, and takes the place of the predecessor's (a folder of Parquet
//!    files has a fence of its own). That comes after the log, which decides who runs the job: who
//!    is refused there disturbs nobody, and what a predecessor still puts out until then is
//!    committed;
//! 5. what is committed and not published is published (`recovery-published`); where it is much, the
//!    sinks are asked to put it out at once.
//!
//! | killed | what the next start does |
//! |---|---|
//! | before 3 | the sources are asked again from the last epoch on; a transaction is aborted by the fence. Rows that were sent at once are sent again: at least once, never lost. (What a source that cannot be asked again delivered since is lost) |
//! | between 3 and 4 | the same: the record does not count, and the transaction was aborted by the fence |
//! | in 4 | the commit point knows whether it took place |
//! | after 4 | the journal is run again from the snapshot, and what the sinks lack is published |
//! | in a start | begins anew: nothing of it is seen outside but the epoch without rows |
//!
//! What recovery has to run again is bounded by [`Backlog`].
//!
//! A [`savepoint`] is an epoch that somebody asked to end (steps 1 to 5), with its state, kept by name
//! once every sink has put out what it held back: one object, which is there whole (`savepoint-stored`)
//! or not at all (`savepoint-due`). A start from one is a start of a log that begins with that state,
//! after that epoch: what was committed later is as if it had never been read, and is read again. Such a
//! log is made beside the one in use (`begin-staged`) and then takes its place (`begin-cleared`), or the
//! next start puts it there. A server notes the start between the two (`begin-noted`): killed before
//! that, it leaves the job as it was.
//!
//! Whoever is unavailable is waited for (`patience`): sources, sinks, the log and the commit point.
//! A stop does not wait: what cannot be committed is left as by a kill, what cannot be published is
//! published at the next start, and [`Status::unsettled`] says which it is.

mod ahead;
mod backlog;
mod busy;
mod committed;
mod committer;
pub mod digest;
mod fence;
pub mod job;
mod patience;
mod recovery;
pub mod redrive;
pub mod replay;
mod running;
pub mod savepoint;
pub mod shard;
mod shard_loop;
mod sink_loop;
mod snapshot_loop;
mod source_loop;
pub mod status;
mod stop;
mod tasks;
#[cfg(test)]
mod tests;
mod timer;
mod warm_up;

pub use backlog::Backlog;
pub use committed::Committed;
pub use digest::{Digest, DigestValue};
pub use job::{Bindings, Job, JobSpec};
pub use redrive::{Outcome as Redrove, Redriver};
pub use replay::{Replay, Speed};
pub use savepoint::Savepointer;
pub use shard::Shard;
pub use status::Status;
pub use warm_up::Recorded;
