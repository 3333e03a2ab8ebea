//! Time is nanoseconds since the epoch, UTC; the watermark is how far the past is complete.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use serde::{Deserialize, Serialize};

/// The Arrow type of every instant in the graph.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// An instant: nanoseconds since 1970-01-01T00:00:00Z. Columns hold the bare `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before every instant.
    pub const MIN: Self = Self(i64::MIN);
    /// After every instant.
    pub const MAX: Self = Self(i64::MAX);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, timestamp_ns_to_datetime(self.0)) {
            (Self::MIN, _) => f.write_str("-"),
            (Self::MAX, _) => f.write_str("end"),
            (_, Some(instant)) => write!(f, "{instant}"),
            (_, None) => write!(f, "{} ns", self.0),
        }
    }
}

/// How far the past of a table is complete: no row that sorts before the frontier
/// `(time, split)` follows, and none that arrived at or before `arrived_at`.
///
/// Rows are ordered by (event time, split, offset). The split in the frontier lets a row that
/// carries the highest time seen go on at once where its split is the last to reach that time:
/// with one split and no delay, nothing ever waits. "Closed" ([`Watermark::passed`]) looks at
/// the time alone: windows and peers at the frontier's own time are still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Event time of the frontier.
    pub time: Timestamp,
    /// Dense number of the split whose rows at exactly `time` are already complete, with those
    /// of all lower splits.
    pub split: u32,
    /// Arrival time up to which every row has been handed over.
    pub arrived_at: Timestamp,
    /// The split that the rows handed over just before came from, and the event time up to which
    /// that split alone is complete. Said once, with its rows: it is no part of a snapshot.
    #[serde(skip)]
    pub own: Option<(u32, Timestamp)>,
}

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Self = Self {
        time: Timestamp::MIN,
        split: 0,
        arrived_at: Timestamp::MIN,
        own: None,
    };
    /// The input has ended.
    pub const MAX: Self = Self {
        time: Timestamp::MAX,
        split: u32::MAX,
        arrived_at: Timestamp::MAX,
        own: None,
    };

    /// Whether every row with an event time up to and including `time` has been handed over.
    #[must_use]
    pub fn passed(self, time: i64) -> bool {
        time < self.time.0 || self.time == Timestamp::MAX
    }

    /// Whether a row at `(time, split)` can go on: nothing that sorts before it will follow.
    #[must_use]
    pub fn releases(self, time: i64, split: u32) -> bool {
        (time, split) <= (self.time.0, self.split)
    }

    /// Whether a row at `(time, split)` can go on where only the rows of its own split must not
    /// follow it.
    #[must_use]
    pub fn releases_within(self, time: i64, split: u32) -> bool {
        let own = self.own.filter(|(own, _)| *own == split);
        own.is_some_and(|(_, complete)| time <= complete.0) || self.releases(time, split)
    }

    /// What two inputs have in common: the lesser frontier and the lesser arrival. Splits of two
    /// inputs have nothing in common.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        let frontier = |w: Self| (w.time, w.split);
        let lesser = if frontier(other) < frontier(self) {
            other
        } else {
            self
        };
        Self {
            arrived_at: self.arrived_at.min(other.arrived_at),
            own: None,
            ..lesser
        }
    }
}
