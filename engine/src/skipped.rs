//! What a source was allowed to go past because it is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::Split;

/// How many records were gone when they were asked for, and were gone past; it outlives every call.
/// Who counts is told once of each place, however often it is found there.
#[derive(Debug, Clone, Default)]
pub struct Skipped(Arc<Mutex<BTreeMap<(Split, i64), u64>>>);

impl Skipped {
    /// The records of a split from `from` on, up to `to`, are gone. Says whether that is new.
    pub fn add(&self, split: &Split, from: i64, to: i64) -> bool {
        let records = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.insert((split.clone(), from), records) != Some(records)
    }

    /// How many records that are.
    #[must_use]
    pub fn records(&self) -> u64 {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_once_and_as_it_is_at_last() {
        let (skipped, split) = (Skipped::default(), Split::new("t-0"));
        assert!(skipped.add(&split, 5, 9));
        assert!(!skipped.clone().add(&split, 5, 9));
        assert_eq!(skipped.records(), 4);
        assert!(skipped.add(&split, 5, 12));
        assert!(skipped.add(&split, 20, 21));
        assert_eq!(skipped.records(), 8);
    }
}
