//! What runs a graph: shards, the loops around sources and sinks, epochs and recovery. The
//! commit protocol lives here only.
//!
//! ```text
//! source loops ──events──▶ shard thread ──commits──▶ committer ──epochs──▶ sink loops
//! (async, retry)           (intake, graph)           (commit point)        (async, retry)
//!                               │                        └──snapshots──▶ snapshot loop
//!                               └──rows that do not wait for the commit──▶ sink loops
//! ```
//! Every arrow is a bounded channel, so back-pressure reaches the sources. The steps of a commit:
//! 1. the shard ends an epoch: its journal, its rows for the sinks, and a mark behind the rows
//!    that were sent on at once ([`Emit::Now`](crate::Emit::Now)); it goes on with the next epoch;
//! 2. the committer waits until these sinks have passed the mark, that is, written the rows;
//! 3. the record of the epoch is put together: everything that the steps after the commit need;
//! 4. the [`CommitPoint`](crate::CommitPoint) commits it, in one atomic write. Today that is the
//!    append to the log, which makes it durable and committed at once;
//! 5. the sink loops publish it, in epoch order, idempotently;
//! 6. now and then the shard's state follows as a snapshot, and the log is cut at the oldest of
//!    snapshot and publication. That goes on beside the others and never holds them up.
//!
//! A kill before 4 loses nothing but work: the sources are asked again from the last epoch on.
//! (What a source that cannot be asked again delivered since is lost.) Rows that were sent at
//! once are sent again: at least once, never lost. A kill after 4: recovery runs the journal
//! again from the snapshot, drops the output, publishes what the sinks lack and goes on. What
//! recovery has to run again is bounded by [`Backlog`].
//!
//! Whoever is unavailable is waited for (`patience`): sources, sinks and the log. A stop does not
//! wait: what cannot be committed is left as by a kill, what cannot be published is published at
//! the next start, and [`Status::unsettled`] says which it is.

mod backlog;
mod committed;
mod committer;
pub mod digest;
pub mod job;
mod patience;
mod recovery;
pub mod replay;
mod running;
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

pub use backlog::Backlog;
pub use committed::Committed;
pub use digest::{Digest, DigestValue};
pub use job::{Bindings, Job, JobSpec};
pub use replay::{Replay, Speed};
pub use shard::Shard;
pub use status::Status;
