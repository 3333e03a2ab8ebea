//! The rows that a commit point carries: from when they leave the graph until their epoch is
//! committed. They go into its transaction ahead of the epoch's end, so that little is left to send
//! when somebody waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use crate::sink::Epoch;

/// So many rows are worth a call.
const WORTH: usize = 256;
/// Of epochs that last longer nothing is sent before their end: a transaction that is open for long
/// holds up who reads committed rows of others, and is aborted when it is open for too long.
const LONGEST: Duration = Duration::from_secs(5);

/// Rows that left the graph for the commit point.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) epoch: Epoch,
    pub(super) target: usize,
    pub(super) rows: RecordBatch,
}

/// Those that are not committed.
#[derive(Debug)]
pub(super) struct Ahead {
    epochs: BTreeMap<Epoch, Rows>,
    /// Whether any are sent before the end of their epoch.
    wanted: bool,
}

#[derive(Debug, Default)]
struct Rows {
    batches: Vec<(usize, RecordBatch)>,
    /// How many rows came since the last were due.
    new: usize,
}

impl Ahead {
    /// None yet.
    pub(super) fn new(commit_interval: Duration) -> Self {
        Self {
            epochs: BTreeMap::new(),
            wanted: commit_interval <= LONGEST,
        }
    }

    /// Takes rows, and all that came with them.
    pub(super) fn take(&mut self, first: Carried, carried: &mut mpsc::UnboundedReceiver<Carried>) {
        let mut next = Some(first);
        while let Some(Carried {
            epoch,
            target,
            rows,
        }) = next
        {
            let of = self.epochs.entry(epoch).or_default();
            of.new += rows.num_rows();
            of.batches.push((target, rows));
            next = carried.try_recv().ok();
        }
    }

    /// All rows of an epoch so far, where those that are new are worth sending.
    pub(super) fn due(&mut self, epoch: Epoch) -> Option<&[(usize, RecordBatch)]> {
        let rows = self.epochs.get_mut(&epoch).filter(|_| self.wanted)?;
        if rows.new < WORTH {
            return None;
        }
        rows.new = 0;
        Some(&rows.batches)
    }

    /// All rows of an epoch that has ended.
    pub(super) fn end(
        &mut self,
        epoch: Epoch,
        carried: &mut mpsc::UnboundedReceiver<Carried>,
    ) -> Vec<(usize, RecordBatch)> {
        if let Ok(first) = carried.try_recv() {
            self.take(first, carried);
        }
        self.epochs.remove(&epoch).unwrap_or_default().batches
    }
}
