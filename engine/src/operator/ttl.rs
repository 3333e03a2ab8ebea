//! `state.ttl`: a key whose next row comes more than this after its last one starts afresh.
//!
//! That is tested when a row comes, by the times of the key's own rows, so it does not depend on
//! when watermarks came or how rows were cut into batches. What is kept of a key can be given up
//! as soon as no row can come any more that would find it in time; nobody can tell whether it was.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::union::TimeDomain;
use crate::error::{Error, Result};
use crate::time::Watermark;

/// How long a key is remembered after its last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// The longest time between two rows of a key, in nanoseconds.
    pub length: i64,
    /// Which time the rows are ordered by.
    pub domain: TimeDomain,
    /// How far that time lags behind what `domain` says is complete (a window's start on arrival
    /// time: its size), in nanoseconds.
    pub lag: i64,
}

impl Ttl {
    /// Whether a row at `time` finds nothing of a key that was last met at `last`.
    #[must_use]
    pub fn is_over(self, last: i64, time: i64) -> bool {
        time > last.saturating_add(self.length)
    }

    /// Whether every row to come finds nothing of a key that was last met at `last`.
    #[must_use]
    pub fn has_passed(self, watermark: Watermark, last: i64) -> bool {
        let end = last.saturating_add(self.length).saturating_add(self.lag);
        self.domain.passed(watermark, end)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ttl {:?}",
            Duration::from_nanos(self.length.unsigned_abs())
        )
    }
}

/// A key that was never met, or is forgotten.
const NEVER: i64 = i64::MIN;

/// When each key was last met, by its number.
#[derive(Debug)]
pub(super) struct Ages {
    ttl: Ttl,
    last: Vec<i64>,
    /// Keys last met then are to be over before all keys are looked at again: looking at all of
    /// them for each watermark would cost more than the rows do.
    due: Option<i64>,
}

/// Rows of keys that start afresh in a call: their keys have a stand-in there.
#[derive(Debug)]
pub(super) struct StandIns {
    /// The key of every row.
    pub(super) keys: Vec<u32>,
    /// The last stand-in of each key.
    pub(super) of: BTreeMap<u32, u32>,
    /// One more than the highest number.
    pub(super) count: usize,
}

impl Ages {
    pub(super) fn new(ttl: Ttl) -> Self {
        Self {
            ttl,
            last: vec![],
            due: None,
        }
    }

    /// Notes rows. Where keys start afresh, their rows from then on get the number of a stand-in,
    /// from `count` on: a call may have rows of a key before and after, and peers of others
    /// between them.
    pub(super) fn meet(&mut self, keys: &[u32], times: &[i64], count: usize) -> Option<StandIns> {
        if self.last.len() < count {
            self.last.resize(count, NEVER);
        }
        if self.due.is_none() {
            self.due = times.first().map(|time| self.later(*time));
        }
        let mut stand_ins: Option<StandIns> = None;
        for (row, (key, time)) in keys.iter().zip(times).enumerate() {
            let last = std::mem::replace(&mut self.last[*key as usize], *time);
            if last != NEVER && self.ttl.is_over(last, *time) {
                let all = stand_ins.get_or_insert_with(|| StandIns {
                    keys: keys.to_vec(),
                    of: BTreeMap::new(),
                    count,
                });
                all.of.insert(*key, all.count as u32);
                all.count += 1;
            }
            if let Some(all) = &mut stand_ins
                && let Some(stand_in) = all.of.get(key)
            {
                all.keys[row] = *stand_in;
            }
        }
        stand_ins
    }

    fn later(&self, last: i64) -> i64 {
        last.saturating_add(self.ttl.length / 8)
    }

    /// The keys that no row to come finds any more, each told once; now and then.
    pub(super) fn sweep(&mut self, watermark: Watermark) -> Vec<u32> {
        if !self
            .due
            .is_some_and(|due| self.ttl.has_passed(watermark, due))
        {
            return vec![];
        }
        let (ttl, mut gone) = (self.ttl, vec![]);
        for (key, last) in self.last.iter_mut().enumerate() {
            if *last != NEVER && ttl.has_passed(watermark, *last) {
                *last = NEVER;
                gone.push(key as u32);
            }
        }
        let live = self.last.iter().rposition(|last| *last != NEVER);
        truncate(&mut self.last, live.map_or(0, |highest| highest + 1));
        let oldest = self.last.iter().filter(|last| **last != NEVER).min();
        self.due = oldest.map(|oldest| self.later(*oldest));
        gone
    }

    /// One more than the highest number of a key that is remembered.
    pub(super) fn count(&self) -> usize {
        self.last.len()
    }

    pub(super) fn snapshot(&self) -> Result<RecordBatch> {
        let last: ArrayRef = Arc::new(Int64Array::from(self.last.clone()));
        let schema = Schema::new(vec![Field::new("last", DataType::Int64, false)]);
        Ok(RecordBatch::try_new(Arc::new(schema), vec![last])?)
    }

    pub(super) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let column = table.columns().first();
        let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let damaged = || Error::corrupt("the snapshot does not say when keys were last met");
        self.last = column.ok_or_else(damaged)?.values().to_vec();
        Ok(())
    }
}

/// Cuts what is kept by number, and gives memory back where most of it is unused.
pub(crate) fn truncate<T>(states: &mut Vec<T>, count: usize) {
    states.truncate(count);
    if states.capacity() > 4 * states.len().max(256) {
        states.shrink_to(2 * states.len());
    }
}
