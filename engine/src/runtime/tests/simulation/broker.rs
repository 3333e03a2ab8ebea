//! Transactions that commit a job: each takes place as a whole or not at all, and what became of one
//! whose answer was lost is not known until the next call. Who was fenced comes back, unless somebody
//! else has committed since: it cannot tell another start from a transaction that took too long.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;

use super::ends::away;
use super::executor::{below, note, process};
use super::faults::{Place, after, before};
use crate::commit::{CommitPoint, Transaction};
use crate::error::{Error, Result};
use crate::sink::Epoch;
use crate::source::Position;

/// What was committed, by all who came.
#[derive(Debug, Clone, Default)]
pub(super) struct Broker(Arc<Mutex<Committed>>);

/// An epoch, and who committed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    pub(super) process: u64,
}

#[derive(Debug, Default)]
struct Committed {
    marks: Vec<Mark>,
    rows: Vec<(Epoch, RecordBatch)>,
    positions: Vec<Position>,
    /// Only who came last commits.
    holder: u64,
    /// Sent, and nobody knows whether it has taken place.
    open: Option<Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    mark: Mark,
    rows: Vec<RecordBatch>,
    positions: Vec<Position>,
}

impl Committed {
    fn last(&self) -> Option<Epoch> {
        self.marks.last().map(|mark| mark.epoch)
    }

    fn take(&mut self, sent: Sent) {
        let epoch = sent.mark.epoch;
        assert!(self.last() < Some(epoch), "{epoch} is committed late");
        note(|| format!("the transaction of epoch {epoch} is committed"));
        self.marks.push(sent.mark);
        let rows = sent.rows.into_iter().map(|rows| (epoch, rows));
        self.rows.extend(rows);
        if !sent.positions.is_empty() {
            self.positions = sent.positions;
        }
    }

    /// Before anything else happens, what is open has taken place or never does.
    fn settle(&mut self) {
        if let Some(open) = self.open.take()
            && below(2) == 0
        {
            self.take(open);
        }
    }

    fn enter(&mut self) -> u64 {
        self.settle();
        self.holder += 1;
        self.holder
    }
}

impl Broker {
    fn lock(&self) -> MutexGuard<'_, Committed> {
        self.0.lock().unwrap()
    }

    pub(super) fn rows(&self) -> Vec<RecordBatch> {
        let committed = self.lock();
        committed
            .rows
            .iter()
            .map(|(_, rows)| rows.clone())
            .collect()
    }

    /// One that has the rows up to an epoch and knows no job.
    pub(super) fn back_at(&self, epoch: Epoch) -> Self {
        let mut rows = self.lock().rows.clone();
        rows.retain(|(of, _)| *of <= epoch);
        Self(Arc::new(Mutex::new(Committed {
            rows,
            ..Committed::default()
        })))
    }

    pub(super) fn last(&self) -> Option<Epoch> {
        self.lock().last()
    }

    /// What was committed, in order.
    pub(super) fn marks(&self) -> Vec<Mark> {
        self.lock().marks.clone()
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.lock().positions.clone()
    }

    /// A commit point whose transactions carry the rows of one target.
    pub(super) fn commit_point(&self) -> Box<dyn CommitPoint> {
        Box::new(Holder {
            broker: self.clone(),
            number: 0,
            found: None,
            prepared: None,
        })
    }
}

struct Holder {
    broker: Broker,
    number: u64,
    /// What was committed last before it came.
    found: Option<Mark>,
    /// The epoch whose rows were sent last, and how many batches.
    prepared: Option<(Epoch, usize)>,
}

impl Holder {
    fn refuse_other(&self, committed: &Committed) -> Result<()> {
        let last = committed.marks.last();
        match last == self.found.as_ref() || last.is_some_and(|mark| mark.process == process()) {
            true => Ok(()),
            false => Err(Error::corrupt("another process has taken over this job")),
        }
    }
}

#[async_trait::async_trait]
impl CommitPoint for Holder {
    async fn last(&mut self) -> Result<Option<Epoch>> {
        before(Place::Broker).await.map_err(away)?;
        let last = {
            let mut committed = self.broker.lock();
            self.number = committed.enter();
            self.found = committed.marks.last().copied();
            committed.last()
        };
        after(Place::Broker).await.map_err(away)?;
        Ok(last)
    }

    async fn prepare(&mut self, transaction: Transaction<'_>) -> Result<()> {
        before(Place::Broker).await.map_err(away)?;
        let (epoch, batches) = (transaction.epoch, transaction.rows.len());
        let grown = self
            .prepared
            .is_none_or(|(of, before)| of != epoch || before <= batches);
        assert!(grown, "rows of epoch {epoch} are gone");
        self.prepared = Some((epoch, batches));
        after(Place::Broker).await.map_err(away)
    }

    async fn commit(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let (epoch, batches) = (transaction.epoch, transaction.rows.len());
        let known = self
            .prepared
            .is_none_or(|prepared| prepared == (epoch, batches));
        assert!(known, "something else was prepared");
        before(Place::Broker).await.map_err(away)?;
        {
            let mut committed = self.broker.lock();
            let mark = Mark {
                epoch: transaction.epoch,
                process: process(),
            };
            if committed.holder != self.number {
                self.refuse_other(&committed)?;
                note(|| "was fenced, and comes back".to_owned());
                self.number = committed.enter();
                self.refuse_other(&committed)?;
            }
            committed.settle();
            if committed.marks.last() == Some(&mark) {
                return Ok(());
            }
            committed.open = Some(Sent {
                mark,
                rows: (transaction.rows.iter().map(|(_, rows)| rows.clone())).collect(),
                positions: transaction.positions.unwrap_or_default().to_vec(),
            });
        }
        // It is under way: whoever dies or gives up here leaves it open.
        after(Place::Broker).await.map_err(away)?;
        let mut committed = self.broker.lock();
        if committed.holder != self.number {
            return Err(Error::unavailable("it was fenced"));
        }
        if let Some(open) = committed.open.take() {
            committed.take(open);
        }
        Ok(())
    }
}
