//! The first steps of a start: nobody else commits this job any more, and the log ends at the last
//! committed epoch.

use super::patience::{Patience, patiently};
use super::recovery::{read, stopped};
use crate::commit::{CommitPoint, Transaction};
use crate::crash::{self, Point};
use crate::error::{Error, Result};
use crate::log::record::{Record, Start};
use crate::log::{Contents, Log};
use crate::sink::Epoch;
use crate::source::Position;

/// Takes the place of whoever ran the job before.
pub(super) struct Fence<'a> {
    pub(super) log: Log,
    /// With the log.
    pub(super) patience: Patience,
    pub(super) point: &'a mut Option<Box<dyn CommitPoint>>,
    /// With the commit point.
    pub(super) point_patience: Patience,
    /// Who starts.
    pub(super) start: Start,
}

impl Fence<'_> {
    /// The last committed epoch, after which nobody else commits: that of the fence, or, of a job
    /// that is finished and commits nothing any more, the last before.
    pub(super) async fn take(&mut self) -> Result<Epoch> {
        let mut known = self.known().await?;
        crash::reach(Point::RecoveryFenced);
        loop {
            let contents = patiently!(self.patience, self.log.contents()).ok_or_else(stopped)?;
            let committed = known.unwrap_or(contents.last());
            if contents.last() > committed.next() {
                return Err(self.log.taken_over(contents.last()));
            }
            if contents.last() > committed {
                let last = contents.last();
                patiently!(self.patience, self.log.drop_record(last)).ok_or_else(stopped)?;
                crash::reach(Point::RecoveryDropped);
            }
            let last = match contents.records.contains(&committed) {
                false => Record::default(),
                true => {
                    patiently!(self.patience, read(&self.log, committed)).ok_or_else(stopped)?
                }
            };
            if last.finished {
                return Ok(committed);
            }
            let fence = Record {
                epoch: committed.next(),
                published: last.published,
                start: Some(self.start),
                ..Record::default()
            };
            // A predecessor that was there first has committed one epoch more; or, with a commit
            // point, it only tried to.
            if patiently!(self.patience, self.log.fence(&fence)).ok_or_else(stopped)? {
                crash::reach(Point::RecoveryAppended);
                self.commit(fence.epoch).await?;
                return Ok(fence.epoch);
            }
            // Or it has come later, and what it appended is committed: it must not be dropped.
            known = self.known().await?;
        }
    }

    /// The last epoch, by the word of the commit point; `None` where there is none. The log is looked
    /// at before: what it holds more than that afterwards is of a process that came later.
    async fn known(&mut self) -> Result<Option<Epoch>> {
        let Some(point) = self.point else {
            return Ok(None);
        };
        let contents = patiently!(self.patience, self.log.contents()).ok_or_else(stopped)?;
        let last = patiently!(self.point_patience, point.last()).ok_or_else(stopped)?;
        committed(last, &contents).map(Some)
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        if let Some(point) = self.point {
            let transaction = Transaction {
                epoch,
                rows: &[],
                positions: Some(NOWHERE),
            };
            patiently!(self.point_patience, point.commit(transaction)).ok_or_else(stopped)?;
        }
        crash::reach(Point::RecoveryCommitted);
        Ok(())
    }
}

/// A fence moves no position.
const NOWHERE: &[Position] = &[];

/// The last committed epoch, of a log and what its commit point knows. An epoch is appended once
/// the one before is committed: the log holds one more at most.
fn committed(known: Option<Epoch>, contents: &Contents) -> Result<Epoch> {
    let end = contents.last();
    match known {
        None => match begins_with(contents) {
            Some(begin) if end <= begin.next() => Ok(begin),
            _ => Err(Error::corrupt(format!(
                "the log holds epochs up to {end}, but where they are committed nothing is known \
                 of this job: its group's offsets have expired or were deleted, or the rows go to \
                 another cluster than before; restore them, or start the job with --fresh"
            ))),
        },
        Some(known) if end > known.next() => Err(Error::corrupt(format!(
            "the log holds epochs up to {end}, but only epoch {known} is committed: where the rows \
             go lost its newest history, or was restored from an older copy; restore it, or start \
             the job with --fresh"
        ))),
        Some(known) => Ok(known),
    }
}

/// After which epoch a log begins that nothing was committed of: with nothing, or with the state of
/// a savepoint. Any other log has a fence, which is never cut, before its first snapshot.
fn begins_with(contents: &Contents) -> Option<Epoch> {
    match contents.snapshots.as_slice() {
        [] => Some(Epoch(0)),
        [state] if contents.records.iter().all(|epoch| epoch > state) => Some(*state),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(records: &[u64], snapshots: &[u64]) -> Contents {
        Contents {
            records: records.iter().copied().map(Epoch).collect(),
            snapshots: snapshots.iter().copied().map(Epoch).collect(),
            fences: vec![],
        }
    }

    #[test]
    fn a_log_is_one_epoch_ahead_of_its_commit_point_at_most() {
        let log = contents(&[4, 5, 6], &[4]);
        assert_eq!(committed(Some(Epoch(6)), &log).unwrap(), Epoch(6));
        assert_eq!(committed(Some(Epoch(5)), &log).unwrap(), Epoch(5));
        let lost = committed(Some(Epoch(4)), &log).unwrap_err().to_string();
        assert!(lost.contains("only epoch 4 is committed"), "{lost}");
        // That the log lacks what is committed, recovery finds out.
        assert_eq!(committed(Some(Epoch(9)), &log).unwrap(), Epoch(9));
    }

    #[test]
    fn a_commit_point_that_knows_nothing_belongs_to_a_log_that_has_not_begun() {
        assert_eq!(committed(None, &contents(&[], &[])).unwrap(), Epoch(0));
        assert_eq!(committed(None, &contents(&[1], &[])).unwrap(), Epoch(0));
        // A log that begins with a savepoint's state.
        assert_eq!(committed(None, &contents(&[], &[7])).unwrap(), Epoch(7));
        assert_eq!(committed(None, &contents(&[8], &[7])).unwrap(), Epoch(7));
        for log in [
            contents(&[1, 2], &[]),
            contents(&[1], &[1]),
            contents(&[1, 8], &[7]),
            contents(&[8, 9], &[7]),
        ] {
            let expired = committed(None, &log).unwrap_err().to_string();
            assert!(expired.contains("offsets have expired"), "{expired}");
        }
    }
}
