//! The first steps of a start: nobody else commits this job any more, and the log says which of its
//! records count.
//!
//! Nothing is removed, and nothing is asked before it is done: a process may sleep at any step while
//! others start, or come back though it was fenced. The log is listed, then the commit point is asked,
//! then the fence is put where the list ended. So whatever may be committed by then is in the list,
//! or the put fails and all begins anew; and what the commit point did not know is committed later
//! only by one that comes back and commits before this start does. Then the commit of the fence is
//! refused, and the fence itself is a record that does not count.

use std::collections::BTreeMap;

use super::patience::{Patience, patiently};
use super::recovery::stopped;
use crate::commit::{CommitPoint, Transaction};
use crate::crash::{self, Point};
use crate::error::{Error, ErrorKind, Result};
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

/// Where a start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// The last epoch of those before.
    pub(super) follows: Epoch,
    /// The last committed epoch: the fence; or, of a job that is finished and commits nothing any
    /// more, the same as before.
    pub(super) epoch: Epoch,
}

impl Fence<'_> {
    /// Fences those before; nobody else commits after it.
    pub(super) async fn take(&mut self) -> Result<Begun> {
        let mut refused = None;
        loop {
            let contents = patiently!(self.patience, self.log.contents()).ok_or_else(stopped)?;
            let follows = self.committed(&contents).await?;
            crash::reach(Point::RecoveryFenced);
            let last = patiently!(self.patience, last(&self.log, follows)).ok_or_else(stopped)?;
            if last.finished {
                let epoch = follows;
                return Ok(Begun { follows, epoch });
            }
            let epoch = contents.last().max(follows).next();
            let fence = Record {
                epoch,
                published: last.published,
                start: Some(Start {
                    follows,
                    ..self.start
                }),
                ..Record::default()
            };
            // Somebody was there first: a predecessor, or another start.
            if !patiently!(self.patience, self.log.fence(&fence)).ok_or_else(stopped)? {
                continue;
            }
            crash::reach(Point::RecoveryAppended);
            match self.commit(epoch).await {
                Ok(()) => return Ok(Begun { follows, epoch }),
                // One that came back has committed what it had appended before, and finds the fence
                // with what comes next; unless nobody has, or another start came after this one.
                Err(error)
                    if error.kind() == ErrorKind::Corrupt
                        && refused != Some(follows)
                        && self.is_last(epoch).await? =>
                {
                    refused = Some(follows);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The last committed epoch, after which nobody commits that was there before.
    async fn committed(&mut self, contents: &Contents) -> Result<Epoch> {
        let Some(point) = self.point else {
            return Ok(contents.last());
        };
        let known = patiently!(self.point_patience, point.last()).ok_or_else(stopped)?;
        let mut starts = BTreeMap::new();
        let begin = known.or_else(|| begins_with(contents)).unwrap_or_default();
        for epoch in contents.records.iter().filter(|epoch| **epoch > begin) {
            let start = patiently!(self.patience, self.log.start_of(*epoch, contents));
            let start = start.ok_or_else(stopped)?;
            starts.extend(start.map(|start| (*epoch, start.follows)));
        }
        committed(known, contents, &starts)
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

    async fn is_last(&mut self, epoch: Epoch) -> Result<bool> {
        let contents = patiently!(self.patience, self.log.contents()).ok_or_else(stopped)?;
        Ok(contents.last() == epoch)
    }
}

/// The record of the last committed epoch. There is none before the first, nor where a savepoint's
/// state stands for it; and one that was lost, recovery misses.
pub(super) async fn last(log: &Log, epoch: Epoch) -> Result<Record> {
    match log.read(epoch).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Record::default()),
        read => read,
    }
}

/// A fence moves no position.
const NOWHERE: &[Position] = &[];

/// The last committed epoch, of a log, what its commit point knows, and which epoch each fence after
/// that follows. An epoch is appended once the one before is committed: so what is not committed is
/// the next one at most, and fences.
fn committed(
    known: Option<Epoch>,
    contents: &Contents,
    starts: &BTreeMap<Epoch, Epoch>,
) -> Result<Epoch> {
    let end = contents.last();
    let Some(last) = known.or_else(|| begins_with(contents)) else {
        return Err(expired(end));
    };
    let later = contents.records.iter().filter(|epoch| **epoch > last);
    let is_uncommitted = |epoch: &Epoch| match starts.get(epoch) {
        Some(follows) => *follows <= last,
        None => *epoch == last.next(),
    };
    let snapshots = contents.snapshots.last();
    match snapshots <= Some(&last) && later.into_iter().all(is_uncommitted) {
        true => Ok(last),
        false if known.is_none() => Err(expired(end)),
        false => Err(Error::corrupt(format!(
            "the log holds epochs up to {end}, but only epoch {last} is committed: where the rows \
             go lost its newest history, or was restored from an older copy; restore it, or start \
             the job with --fresh"
        ))),
    }
}

fn expired(end: Epoch) -> Error {
    Error::corrupt(format!(
        "the log holds epochs up to {end}, but where they are committed nothing is known of this \
         job: its group's offsets have expired or were deleted, or the rows go to another cluster \
         than before; restore them, or start the job with --fresh"
    ))
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
mod tests;
