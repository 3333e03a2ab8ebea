//! Points at which a process can be told to die, so that tests find out what a kill just there
//! leaves behind. Unless one is [armed](arm), passing a point costs a load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A step of the life of an epoch, of a start, or of a file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them, in the order in which an epoch meets them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// The shard has ended an epoch; nothing of it is outside the process.
    Barrier = "barrier",
    /// The sinks that take rows at once have written those of the epoch.
    Written = "written",
    /// The record of the epoch is in the log.
    Appended = "appended",
    /// A transaction has begun, no row is in it.
    TransactionBegun = "transaction-begun",
    /// The brokers have the number of the epoch, no row is in the transaction.
    TransactionOffsets = "transaction-offsets",
    /// The brokers have everything that is in the transaction.
    TransactionFlushed = "transaction-flushed",
    /// The epoch is committed, nobody has been told.
    Committed = "committed",
    /// The epoch is in the hands of all sinks.
    Published = "published",
    /// A snapshot is due and not stored.
    SnapshotDue = "snapshot-due",
    /// A snapshot is stored, the log is not cut.
    SnapshotStored = "snapshot-stored",
    /// The first object that the snapshot makes needless is gone.
    Cut = "cut",
    /// A file has rows that are not published.
    RollWritten = "roll-written",
    /// The files of a roll are whole; none has its name.
    RollWhole = "roll-whole",
    /// It is said which files a roll of several has; none has its name.
    RollAnnounced = "roll-announced",
    /// The first file of a roll has its name.
    RollRenamed = "roll-renamed",
    /// The files of a roll have their names.
    RollPublished = "roll-published",
    /// A start has fenced its predecessor at the commit point.
    RecoveryFenced = "recovery-fenced",
    /// The first epoch of the start is in the log.
    RecoveryAppended = "recovery-appended",
    /// The first epoch of the start is committed.
    RecoveryCommitted = "recovery-committed",
    /// The state is as it was after the last commit.
    RecoveryRepeated = "recovery-repeated",
    /// A start writes Parquet files in the place of the one before; what that left is as it was.
    RecoveryTaken = "recovery-taken",
    /// What is committed is in the hands of all sinks.
    RecoveryPublished = "recovery-published",
    /// A state is granted as a savepoint, and not stored.
    SavepointDue = "savepoint-due",
    /// A savepoint is stored, nobody has been told.
    SavepointStored = "savepoint-stored",
    /// A log that begins with a savepoint is whole, beside the one in use.
    BeginStaged = "begin-staged",
    /// The server has noted the start from the savepoint; the log in use is the one before.
    BeginNoted = "begin-noted",
    /// The log before is gone; the new one has not taken its place.
    BeginCleared = "begin-cleared",
}

/// The armed point, and how often it is still passed.
static ARMED: OnceLock<(Point, AtomicU64)> = OnceLock::new();

/// Lets the process die, as by a kill, when it comes to a point: `appended`, or, at the third
/// time, `appended:3`. The first call counts.
pub fn arm(text: &str) -> Result<()> {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    let point = Point::ALL.iter().find(|point| point.name() == name);
    let times = times.parse().ok().filter(|times| *times > 0);
    let (Some(point), Some(times)) = (point, times) else {
        let names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        return Err(Error::invalid(format!(
            "'{text}' is no point to crash at: write one of {}, with ':' and a number for a later \
             time",
            names.join(", ")
        )));
    };
    // A second call changes nothing.
    let _ = ARMED.set((*point, AtomicU64::new(times)));
    Ok(())
}

/// Passes a point.
pub fn reach(point: Point) {
    if let Some((armed, left)) = ARMED.get()
        && *armed == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_unknown_ones_are_refused() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
        for wrong in ["apended", "appended:", "appended:0", ""] {
            let error = arm(wrong).unwrap_err().to_string();
            assert!(error.contains("write one of barrier, written"), "{error}");
        }
    }
}
