//! The dataflow of Millstream: what enters, what it passes, what leaves, and how it survives.
//!
//! | file | what it holds |
//! |---|---|
//! | [`stream`], [`source`], [`sink`] | what connectors implement and SQL describes |
//! | [`commit`] | the transaction that commits an epoch where sinks have one |
//! | [`crash`] | where a test may kill the process |
//! | [`tap`] | what looks at an output's rows as they leave: live windows |
//! | [`intake`] | the one way in: order, arrival stamps, watermarks, lateness, counts, journal |
//! | [`graph`], [`operator`] | the graph as data, and its steps |
//! | [`expression`], [`kernel`] | the holes that SQL fills: expressions, aggregates, window functions |
//! | [`indicator`], [`frame`] | the kernels: TA-Lib's indicators, and aggregates over frames |
//! | [`runtime`], [`log`] | shards, epochs, commits, recovery, replays |
//!
//! Invariants, each with what enforces it:
//! * **Output does not depend on how rows were cut into batches**, nor on a snapshot and restore
//!   anywhere between: property tests of the intake and of every operator; every golden SQL file
//!   runs whole, row by row and with restores.
//! * **No clock and no randomness below the intake**: `clippy.toml` forbids the wall clock in this
//!   crate but for [`SystemClock`], and no order may come from a hash map (`iter_over_hash_type`);
//!   hashers that rows pass have fixed seeds.
//! * **arrived = accepted + late + future + dead** per table: property test of the intake, and
//!   asserted after every run of the runtime's tests.
//! * **A commit is one atomic write** (the transaction of a [`CommitPoint`], or else the
//!   put-if-absent of a record); what was committed before a kill is published after it, what was
//!   not is asked for again: the kill tests of [`runtime`], and of the binary at every [`crash`]
//!   point.
//! * **Recovery, replay and live are one code path**: nothing below the intake knows which it is.
//! * **Indicators are TA-Lib's**: the conformance test walks [`indicator::catalog`].
//! * **This crate knows no other of the workspace, and not DataFusion**: the `floors` test.

pub mod clock;
pub mod commit;
pub mod crash;
pub mod error;
pub mod expression;
pub mod frame;
pub mod graph;
pub mod indicator;
pub mod intake;
pub mod kernel;
pub mod lag;
pub mod log;
pub mod message;
pub mod operator;
pub mod runtime;
pub mod sink;
pub mod skipped;
pub mod source;
pub mod stream;
pub mod tap;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod waiting;

pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{CommitPoint, Transaction};
pub use error::{Error, ErrorKind, Result};
pub use expression::{Accumulator, Aggregate, Expression};
pub use graph::Graph;
pub use intake::{Arrival, Intake};
pub use kernel::{Kernel, KernelSpec};
pub use lag::Lag;
pub use message::Message;
pub use operator::{Operator, OperatorSpec, Output, Snapshot};
pub use sink::{Emit, Epoch, Sink};
pub use skipped::Skipped;
pub use source::{Polled, Position, Rejected, Source, Split};
pub use stream::StreamSpec;
pub use tap::{Tap, Taps};
pub use time::{Timestamp, Watermark};
pub use waiting::Waiting;
