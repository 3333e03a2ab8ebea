//! Where rows come from: a [`Source`] hands over [`Polled`] rows of one split at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::lag::Lag;
use crate::skipped::Skipped;
use crate::waiting::Waiting;

/// A part of a source with an order of its own: a Kafka partition, a file, a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Split(pub Arc<str>);

impl Split {
    /// The split of that name. Names sort as the splits do: number them with leading zeros.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Per split the offset of the next row to read. Offsets of a split grow, with or without gaps.
pub type Position = BTreeMap<Split, i64>;

/// The offset after which nothing follows: the split is read to its end.
pub const END: i64 = i64::MAX;

/// Rows of one split, as one poll gave them. One without any record says how far the split is
/// read: where it begins, so that a restart begins there too, whatever the options then mean by
/// "latest"; or, with [`END`] as `next_offset`, that it no longer holds the watermark back.
#[derive(Debug, Clone)]
pub struct Polled {
    /// Where the rows are from.
    pub split: Split,
    /// The decoded rows, of [`StreamSpec::source_schema`](crate::stream::StreamSpec::source_schema).
    pub rows: RecordBatch,
    /// The offset of every row, strictly increasing.
    pub offsets: ScalarBuffer<i64>,
    /// When the transport recorded every row (Kafka's record timestamp), in nanoseconds.
    pub record_times: Option<ScalarBuffer<i64>>,
    /// What could not be decoded, by increasing offset.
    pub rejected: Vec<Rejected>,
    /// The offset that follows everything in this poll.
    pub next_offset: i64,
}

impl Polled {
    /// Whether there is no record, good or bad.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0 && self.rejected.is_empty()
    }
}

/// A record that is not a row of its table: it goes to `<table>$dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset in the split.
    pub offset: i64,
    /// When the transport recorded it, in nanoseconds.
    pub record_time: Option<i64>,
    /// The bytes as received.
    pub payload: Bytes,
    /// What is wrong with them.
    pub reason: String,
}

/// A feed. The runtime owns the loop around it, retries [`Unavailable`] errors with backoff and
/// selects between `next` and commands: so `next` must be cancel-safe, that is, dropping its
/// future loses no row and the next call goes on.
///
/// [`Unavailable`]: crate::ErrorKind::Unavailable
#[async_trait]
pub trait Source: Send {
    /// The splits as they are now, called before `seek` and `next`. The table's watermark waits
    /// for each of them until it is idle.
    async fn splits(&mut self) -> Result<Vec<Split>>;
    /// Goes on at the given offsets; splits not named begin where the options say, also when
    /// they were read from before.
    async fn seek(&mut self, to: &Position) -> Result<()>;
    /// The next rows, waiting for them. `None`: the input was bounded and is finished.
    async fn next(&mut self) -> Result<Option<Polled>>;
    /// Whether `seek` can return to rows handed over before; if not, the log keeps them.
    fn repeatable(&self) -> bool;
    /// Told before anything else that, where what `seek` asks for is gone, it is to go on with the
    /// first record that is there, and count what it goes past.
    fn skip_gaps(&mut self) {}
    /// Where it says how many records it went past, if any can be gone.
    fn skipped(&self) -> Option<Skipped> {
        None
    }
    /// Told `true` before a recovery reads rows again that were handed over before, and `false`
    /// after it: a source that paces itself does not in between.
    fn rereading(&mut self, _again: bool) {}
    /// Where it says why `next` waits, while its client mends an outage by itself.
    fn waiting(&self) -> Option<Waiting> {
        None
    }
    /// Where it says how many records it has not handed over yet, if its client knows.
    fn lag(&self) -> Option<Lag> {
        None
    }
}
