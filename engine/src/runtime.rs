//! What runs a graph: shards, the loops around sources and sinks, epochs and recovery. The
//! commit protocol lives here only.
//!
//! ```text
//! source loops ──events──▶ shard thread ──commits──▶ committer ──epochs──▶ sink loops
//! (async, retry)           (intake, graph)           (log)                 (async, retry)
//! ```
//! Every arrow is a bounded channel, so back-pressure reaches the sources. The steps of a commit:
//! 1. the shard ends an epoch: its journal, and its rows for the sinks;
//! 2. the committer appends the record to the log: from here on the epoch is committed;
//! 3. the sink loops publish it, in epoch order, idempotently;
//! 4. now and then the shard's state follows as a snapshot, and the log is cut at the oldest of
//!    snapshot and publication.
//!
//! A kill before 2 loses nothing but work: the sources are asked again from the last epoch on. A
//! kill after 2: recovery runs the journal again from the snapshot, drops the output, publishes
//! what the sinks lack and goes on.

mod committer;
pub mod digest;
pub mod job;
mod recovery;
pub mod replay;
pub mod shard;
mod shard_loop;
mod sink_loop;
mod source_loop;
pub mod status;
#[cfg(test)]
mod tests;

pub use digest::{Digest, DigestValue};
pub use job::{Bindings, Job, JobSpec};
pub use replay::{Replay, Speed};
pub use shard::Shard;
pub use status::Status;
