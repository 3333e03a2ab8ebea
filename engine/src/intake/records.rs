//! What arrived of one split: rows, what could not be decoded, and when each came.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::buffer::ScalarBuffer;

use super::redriven::NOWHERE;
use crate::source::{Polled, Rejected, Split};

/// Records of one split with their arrival times.
#[derive(Debug, Clone)]
pub struct Records {
    /// Position of the table.
    pub table: usize,
    /// Where they are from.
    pub split: Split,
    /// The rows, with the columns of the source.
    pub rows: RecordBatch,
    /// The offset of each row.
    pub offsets: ScalarBuffer<i64>,
    /// The transport's time of each row.
    pub record_times: Option<ScalarBuffer<i64>>,
    /// When each row arrived: strictly increasing.
    pub arrived_at: ScalarBuffer<i64>,
    /// What could not be decoded, each with its arrival, later than those of the rows.
    pub rejected: Vec<(i64, Rejected)>,
    /// The offset that follows.
    pub next_offset: i64,
}

impl Records {
    /// How many records there are, good and bad.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.num_rows() + self.rejected.len()
    }

    /// When the first of them arrived.
    #[must_use]
    pub fn first_at(&self) -> Option<i64> {
        let row = self.arrived_at.first().copied();
        row.or(self.rejected.first().map(|(at, _)| *at))
    }

    /// When the last of them arrived.
    #[must_use]
    pub fn last_at(&self) -> Option<i64> {
        let rejected = self.rejected.last().map(|(at, _)| *at);
        rejected.or(self.arrived_at.last().copied())
    }

    /// When the first of them arrived that came more than `pause` nanoseconds after the one before.
    pub(super) fn resumed_at(&self, pause: i64) -> Option<i64> {
        if self.last_at()?.saturating_sub(self.first_at()?) <= pause {
            return None;
        }
        let rows = self.arrived_at.iter().copied();
        let mut arrivals = rows.chain(self.rejected.iter().map(|(at, _)| *at));
        let mut before = arrivals.next()?;
        arrivals.find(|at| at.saturating_sub(std::mem::replace(&mut before, *at)) > pause)
    }

    /// The records that arrived before `at`, and the others.
    pub(super) fn cut(mut self, at: i64) -> (Self, Self) {
        let row = self.arrived_at.partition_point(|arrived| *arrived < at);
        let bad = self.rejected.partition_point(|(arrived, _)| *arrived < at);
        let rows = self.rows.num_rows() - row;
        let later = Self {
            table: self.table,
            split: self.split.clone(),
            rows: self.rows.slice(row, rows),
            offsets: self.offsets.slice(row, rows),
            record_times: self
                .record_times
                .as_ref()
                .map(|times| times.slice(row, rows)),
            arrived_at: self.arrived_at.slice(row, rows),
            rejected: self.rejected.split_off(bad),
            next_offset: self.next_offset,
        };
        let offsets = [
            later.offsets.first().copied(),
            later.rejected.first().map(|(_, rejected)| rejected.offset),
        ];
        let next_offset = offsets.into_iter().flatten().min();
        let earlier = Self {
            rows: self.rows.slice(0, row),
            offsets: self.offsets.slice(0, row),
            record_times: self.record_times.map(|times| times.slice(0, row)),
            arrived_at: self.arrived_at.slice(0, row),
            next_offset: match self.next_offset {
                NOWHERE => NOWHERE,
                whole => next_offset.unwrap_or(whole),
            },
            ..self
        };
        (earlier, later)
    }

    /// When each row arrived, as a column.
    pub(super) fn arrivals(&self) -> ArrayRef {
        Arc::new(TimestampNanosecondArray::new(self.arrived_at.clone(), None))
    }

    /// The records of a poll, the first of them arriving at `first`, each a nanosecond later.
    #[must_use]
    pub fn of_poll(table: usize, polled: Polled, first: i64) -> Self {
        let rows = polled.rows.num_rows() as i64;
        let stamps = first + rows..;
        Self {
            table,
            split: polled.split,
            arrived_at: (first..first + rows).collect(),
            rows: polled.rows,
            offsets: polled.offsets,
            record_times: polled.record_times,
            rejected: stamps.zip(polled.rejected).collect(),
            next_offset: polled.next_offset,
        }
    }
}
