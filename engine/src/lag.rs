//! How far a source is behind whoever writes what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A figure that outlives every call: how many records a source has not handed over yet, as its
/// client last heard. It is a figure for people; nothing is decided by it.
#[derive(Debug, Clone)]
pub struct Lag(Arc<AtomicI64>);

/// What stands for a figure that is not known.
const UNKNOWN: i64 = -1;

impl Default for Lag {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl Lag {
    /// So many records wait.
    pub fn set(&self, records: u64) {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        self.0.store(records, Ordering::Relaxed);
    }

    /// How many wait; `None` where that is not known.
    #[must_use]
    pub fn records(&self) -> Option<u64> {
        u64::try_from(self.0.load(Ordering::Relaxed)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_unknown_until_it_is_told() {
        let lag = Lag::default();
        assert_eq!(lag.records(), None);
        lag.clone().set(7);
        assert_eq!(lag.records(), Some(7));
        lag.set(u64::MAX);
        assert!(lag.records().is_some());
    }
}
