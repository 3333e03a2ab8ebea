//! A commit point in memory, with the faults that a real one has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::commit::{CommitPoint, Transaction};
use crate::error::{Error, Result};
use crate::sink::Epoch;
use crate::source::Position;

/// What was committed, by all who came; it outlives a kill.
#[derive(Debug, Clone, Default)]
pub struct Transactions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<Epoch>,
    rows: BTreeMap<usize, Vec<RecordBatch>>,
    positions: Vec<Position>,
    /// How often somebody came: only the last one commits.
    holder: u64,
    /// Answers that are still lost: whether the transaction then takes place.
    lost: Vec<bool>,
}

impl Transactions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of a target, in the order of their epochs.
    #[must_use]
    pub fn rows(&self, target: usize) -> Vec<RecordBatch> {
        self.lock().rows.get(&target).cloned().unwrap_or_default()
    }

    /// The last epoch.
    #[must_use]
    pub fn last(&self) -> Option<Epoch> {
        self.lock().last
    }

    /// The positions that were committed with it.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.lock().positions.clone()
    }

    /// Forgets which epoch was the last.
    pub fn expire(&self) {
        self.lock().last = None;
    }

    /// Lets the next commits be answered as unavailable, one for each of these, whether the
    /// transaction takes place (`true`) or not. Those that were to be lost before are forgotten.
    pub fn lose_answers(&self, lost: &[bool]) {
        self.lock().lost = lost.to_vec();
    }

    /// A commit point that commits here until another one has asked for the last epoch.
    #[must_use]
    pub fn commit_point(&self) -> Box<dyn CommitPoint> {
        Box::new(Holder {
            all: self.clone(),
            number: 0,
        })
    }
}

struct Holder {
    all: Transactions,
    number: u64,
}

#[async_trait]
impl CommitPoint for Holder {
    async fn last(&mut self) -> Result<Option<Epoch>> {
        let mut state = self.all.lock();
        state.holder += 1;
        self.number = state.holder;
        Ok(state.last)
    }

    async fn commit(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let mut state = self.all.lock();
        if state.holder != self.number {
            return Err(Error::corrupt("another process has taken over this job"));
        }
        let lost = (!state.lost.is_empty()).then(|| state.lost.remove(0));
        if lost != Some(false) && state.last < Some(transaction.epoch) {
            state.last = Some(transaction.epoch);
            for (target, rows) in transaction.rows {
                state.rows.entry(*target).or_default().push(rows.clone());
            }
            if let Some(positions) = transaction.positions.filter(|of| !of.is_empty()) {
                state.positions = positions.to_vec();
            }
        }
        match lost {
            None => Ok(()),
            Some(_) => Err(Error::unavailable("the answer was lost")),
        }
    }
}
