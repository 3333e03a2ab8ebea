//! Transactions that commit a job: each takes place as a whole or not at all, and what became of one
//! whose answer was lost is not known until the next call.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;

use super::ends::away;
use super::executor::{below, note};
use super::faults::{Place, after, before};
use crate::commit::{CommitPoint, Transaction};
use crate::error::{Error, Result};
use crate::sink::Epoch;
use crate::source::Position;

/// What was committed, by all who came.
#[derive(Debug, Clone, Default)]
pub(super) struct Broker(Arc<Mutex<Committed>>);

#[derive(Debug, Default)]
struct Committed {
    last: Option<Epoch>,
    rows: Vec<(Epoch, RecordBatch)>,
    positions: Vec<Position>,
    /// Only who came last commits.
    holder: u64,
    /// Sent, and nobody knows whether it has taken place.
    open: Option<Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    epoch: Epoch,
    rows: Vec<RecordBatch>,
    positions: Vec<Position>,
}

impl Committed {
    fn take(&mut self, sent: Sent) {
        if self.last >= Some(sent.epoch) {
            return;
        }
        note(|| format!("the transaction of epoch {} is committed", sent.epoch));
        self.last = Some(sent.epoch);
        let rows = sent.rows.into_iter().map(|rows| (sent.epoch, rows));
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
        self.lock().last
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.lock().positions.clone()
    }

    /// A commit point whose transactions carry the rows of one target.
    pub(super) fn commit_point(&self) -> Box<dyn CommitPoint> {
        Box::new(Holder {
            broker: self.clone(),
            number: 0,
            prepared: None,
        })
    }
}

struct Holder {
    broker: Broker,
    number: u64,
    /// The epoch whose rows were sent last, and how many batches.
    prepared: Option<(Epoch, usize)>,
}

#[async_trait::async_trait]
impl CommitPoint for Holder {
    async fn last(&mut self) -> Result<Option<Epoch>> {
        before(Place::Broker).await.map_err(away)?;
        let last = {
            let mut committed = self.broker.lock();
            committed.settle();
            committed.holder += 1;
            self.number = committed.holder;
            committed.last
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
            if committed.holder != self.number {
                return Err(Error::corrupt("another process has taken over this job"));
            }
            committed.settle();
            committed.open = Some(Sent {
                epoch: transaction.epoch,
                rows: (transaction.rows.iter().map(|(_, rows)| rows.clone())).collect(),
                positions: transaction.positions.unwrap_or_default().to_vec(),
            });
        }
        // It is under way: whoever dies or gives up here leaves it open.
        after(Place::Broker).await.map_err(away)?;
        let mut committed = self.broker.lock();
        if committed.holder != self.number {
            return Err(Error::corrupt("another process has taken over this job"));
        }
        if let Some(open) = committed.open.take() {
            committed.take(open);
        }
        Ok(())
    }
}
