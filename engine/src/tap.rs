//! What looks at an output's rows as they leave the graph: live windows.
//!
//! A tap is given every row of its target once per life of the job: as it leaves the shard, long
//! before it is committed, and again, when a job starts, those of the epochs after the snapshot
//! that recovery repeats. What it makes of them is part of the shard's snapshot, so that after a
//! restart it knows what it would know had it run on.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::operator::Snapshot;
use crate::sink::Epoch;

/// Looks at the rows of one target. Everything but `committed` is called from the shard's thread:
/// a tap takes note and returns, and waits for nobody who reads what it knows.
///
/// The order is: `restore` at most once; then `rows` of the epochs that recovery repeats, in epoch
/// order; `committed` with the last epoch before this start, also where that is 0, and then with the
/// one, without rows, that the start begins with (its fence); then `rows`
/// of the epoch under way, `snapshot` after its last, `committed` once it is in the log, while the
/// rows of the next epoch come already.
pub trait Tap: Send + Sync {
    /// Rows, with the columns of the target's table, of this epoch; in order. Those of a committed
    /// epoch are the same whenever they come; those of an epoch that was never committed are not.
    fn rows(&self, epoch: Epoch, rows: &RecordBatch);
    /// Everything up to and including this epoch is in the log for good.
    fn committed(&self, epoch: Epoch);
    /// What is known after `epoch`, all of whose rows were given.
    fn snapshot(&self, epoch: Epoch) -> Result<Snapshot>;
    /// Takes up what `snapshot` gave after `epoch`; called before anything else. Where the job ran
    /// without a tap when the snapshot was taken, this is not called.
    fn restore(&self, epoch: Epoch, snapshot: Snapshot) -> Result<()>;
    /// Whether somebody looks at the windows that are open still.
    fn wants_forming(&self) -> bool;
    /// The rows that the open windows would have if they closed now, all of them; given now and
    /// then, while they are wanted. They are in no epoch and never in what `rows` is given.
    fn forming(&self, rows: &[RecordBatch]);
}

/// The taps of a job, by target.
#[derive(Clone, Default)]
pub struct Taps(Vec<Option<Arc<dyn Tap>>>);

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.0.iter().map(Option::is_some);
        f.debug_list().entries(there).finish()
    }
}

impl Taps {
    /// One per target; those beyond the end of the list have none.
    #[must_use]
    pub fn new(taps: Vec<Option<Arc<dyn Tap>>>) -> Self {
        Self(taps)
    }

    /// The tap of a target.
    #[must_use]
    pub fn of(&self, target: usize) -> Option<&Arc<dyn Tap>> {
        self.0.get(target)?.as_ref()
    }

    pub(crate) fn committed(&self, epoch: Epoch) {
        self.0.iter().flatten().for_each(|tap| tap.committed(epoch));
    }

    /// What each knows, by target; `None` where there is no tap.
    pub(crate) fn snapshot(&self, epoch: Epoch) -> Result<Vec<Option<Snapshot>>> {
        let taken = |tap: &Option<Arc<dyn Tap>>| tap.as_ref().map(|tap| tap.snapshot(epoch));
        self.0.iter().map(|tap| taken(tap).transpose()).collect()
    }

    pub(crate) fn restore(&self, epoch: Epoch, snapshots: Vec<Option<Snapshot>>) -> Result<()> {
        for (tap, snapshot) in self.0.iter().zip(snapshots) {
            if let (Some(tap), Some(snapshot)) = (tap, snapshot) {
                tap.restore(epoch, snapshot)?;
            }
        }
        Ok(())
    }

    /// By target: whether somebody looks at its open windows.
    pub(crate) fn forming_wanted(&self) -> impl Iterator<Item = (usize, &Arc<dyn Tap>)> {
        let taps = self.0.iter().enumerate();
        let there = taps.filter_map(|(target, tap)| Some((target, tap.as_ref()?)));
        there.filter(|(_, tap)| tap.wants_forming())
    }
}
