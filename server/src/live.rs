//! Live windows: a hub for each table that a running job writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::graph::Target;

/// What is live of one table.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The table's name.
    pub(crate) stream: String,
}

/// The hubs by job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hubs(Arc<Mutex<BTreeMap<String, Vec<Arc<Hub>>>>>);

impl Hubs {
    /// Opens the hub of a table that a job writes; `generation` grows with every start.
    pub(crate) fn open(&self, job: &str, target: &Target, generation: u64) -> Arc<Hub> {
        let stream = target.stream.name.clone();
        tracing::debug!(job, stream, generation, "hub opened");
        let hub = Arc::new(Hub { stream });
        let mut hubs = self.lock();
        hubs.entry(job.to_owned())
            .or_default()
            .push(Arc::clone(&hub));
        hub
    }

    /// Closes the hubs of a job.
    pub(crate) fn close(&self, job: &str) {
        let closed = self.lock().remove(job).unwrap_or_default();
        for hub in closed {
            tracing::debug!(job, stream = hub.stream, "hub closed");
        }
    }

    /// How many hubs there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Hub>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
