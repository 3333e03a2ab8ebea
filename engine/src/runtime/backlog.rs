//! What a recovery has to run again, counted, so that it stays short.

use crate::intake::journal::Entry;
use crate::log::record::Record;

/// An amount of committed work. A snapshot is due once what was committed since the last one
/// reaches a bound in any of these: rows cost time in the graph, entries of the journal in the
/// intake, epochs a read of the log each. Where a start has as much to publish again, the sinks are
/// asked to put it out, so that the next start has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Records that arrived, good and bad.
    pub rows: u64,
    /// Entries of the journal: polls, ticks, news of splits.
    pub entries: u64,
    /// Epochs.
    pub epochs: u64,
}

impl Backlog {
    /// Nothing.
    pub const NONE: Self = Self {
        rows: 0,
        entries: 0,
        epochs: 0,
    };
    /// About what a recovery from a local disk runs again in a second.
    pub const A_SECOND: Self = Self {
        rows: 2_000_000,
        entries: 100_000,
        epochs: 1_000,
    };

    /// With an entry more.
    #[must_use]
    pub(super) fn with(self, entry: &Entry) -> Self {
        let rows = match entry {
            Entry::Records { rows, rejected, .. } => u64::from(*rows) + u64::from(*rejected),
            _ => 0,
        };
        Self {
            rows: self.rows + rows,
            entries: self.entries + 1,
            ..self
        }
    }

    /// With the end of an epoch whose entries it has.
    #[must_use]
    pub(super) fn ended(self) -> Self {
        Self {
            epochs: self.epochs + 1,
            ..self
        }
    }

    /// With an epoch more.
    #[must_use]
    pub(super) fn and(self, record: &Record) -> Self {
        record.journal.iter().fold(self, Self::with).ended()
    }

    /// Whether it reaches the bound in any respect.
    #[must_use]
    pub(super) fn reaches(self, bound: Self) -> bool {
        self.rows >= bound.rows || self.entries >= bound.entries || self.epochs >= bound.epochs
    }
}
