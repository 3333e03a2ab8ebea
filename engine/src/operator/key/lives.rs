//! Which numbers the keys have where they are forgotten, and when each was last met.
//!
//! The table of keys only grows, so now and then it is made anew of those that are remembered;
//! a key then has another place in it and the number that it had.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType, UInt32Type};

use super::Table;
use crate::error::{Error, Result};
use crate::operator::ttl::Ttl;
use crate::time::Watermark;

/// What is known of the keys, by their place in the table.
pub(super) struct Lives {
    types: Vec<DataType>,
    time: usize,
    ttl: Ttl,
    numbers: Vec<u32>,
    last: Vec<i64>,
    /// Numbers below `next` that no key has; the lowest is given out first.
    free: BinaryHeap<Reverse<u32>>,
    next: u32,
    /// Keys last met then are to be over before all keys are looked at again.
    due: Option<i64>,
}

impl Lives {
    pub(super) fn new(types: Vec<DataType>, time: usize, ttl: Ttl) -> Self {
        Self {
            types,
            time,
            ttl,
            numbers: vec![],
            last: vec![],
            free: BinaryHeap::new(),
            next: 0,
            due: None,
        }
    }

    /// Makes numbers of places, and notes when their keys were met.
    pub(super) fn meet(&mut self, places: &mut [u32], rows: &RecordBatch) -> Result<()> {
        let times = rows.column(self.time);
        let times = times.as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("key: the time is not TIMESTAMP(9)"))?;
        for (row, place) in places.iter_mut().enumerate() {
            let at = *place as usize;
            if at == self.numbers.len() {
                let number = match self.free.pop() {
                    Some(Reverse(number)) => number,
                    None => {
                        self.next += 1;
                        self.next - 1
                    }
                };
                self.numbers.push(number);
                self.last.push(i64::MIN);
            }
            *place = self.numbers[at];
            if times.is_valid(row) {
                let time = times.value(row);
                self.last[at] = self.last[at].max(time);
                let later = || time.saturating_add(self.ttl.length / 8);
                self.due.get_or_insert_with(later);
            }
        }
        Ok(())
    }

    /// Forgets the keys that no row to come finds in time, once they are a good part of all.
    pub(super) fn sweep(&mut self, watermark: Watermark, table: &mut Table) -> Result<()> {
        if !self
            .due
            .is_some_and(|due| self.ttl.has_passed(watermark, due))
        {
            return Ok(());
        }
        let live = |last: &i64| !self.ttl.has_passed(watermark, *last);
        let kept: Vec<u32> = (0..self.last.len() as u32)
            .filter(|place| live(&self.last[*place as usize]))
            .collect();
        let oldest = kept.iter().map(|place| self.last[*place as usize]).min();
        self.due = oldest.map(|oldest| oldest.saturating_add(self.ttl.length / 8));
        if kept.len() * 4 > self.last.len() * 3 {
            return Ok(());
        }
        let places = UInt32Array::from(kept.clone());
        let keys = table.keys()?;
        let keys: Vec<ArrayRef> = keys
            .iter()
            .map(|column| take(column, &places, None))
            .collect::<std::result::Result<_, _>>()?;
        *table = Table::new(&self.types)?;
        table.number(&keys, kept.len())?;
        self.numbers = kept
            .iter()
            .map(|place| self.numbers[*place as usize])
            .collect();
        self.last = kept
            .iter()
            .map(|place| self.last[*place as usize])
            .collect();
        self.find_free();
        Ok(())
    }

    /// The numbers that are free, from those that are not.
    fn find_free(&mut self) {
        let mut taken = self.numbers.clone();
        taken.sort_unstable();
        self.next = taken.last().map_or(0, |highest| highest + 1);
        let mut taken = taken.into_iter().peekable();
        let free = (0..self.next).filter(|number| taken.next_if_eq(number).is_none());
        self.free = free.map(Reverse).collect();
    }

    pub(super) fn snapshot(&self) -> Result<RecordBatch> {
        let numbers: ArrayRef = Arc::new(UInt32Array::from(self.numbers.clone()));
        let last: ArrayRef = Arc::new(Int64Array::from(self.last.clone()));
        let schema = Schema::new(vec![
            Field::new("number", DataType::UInt32, false),
            Field::new("last", DataType::Int64, false),
        ]);
        Ok(RecordBatch::try_new(Arc::new(schema), vec![numbers, last])?)
    }

    pub(super) fn restore(&mut self, table: Option<RecordBatch>) -> Result<()> {
        let damaged = || Error::corrupt("the snapshot of key does not say which numbers keys have");
        let table = table.ok_or_else(damaged)?;
        let [numbers, last] = table.columns() else {
            return Err(damaged());
        };
        let numbers = numbers.as_primitive_opt::<UInt32Type>();
        self.numbers = numbers.ok_or_else(damaged)?.values().to_vec();
        let last = last.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?;
        self.last = last.values().to_vec();
        self.find_free();
        Ok(())
    }
}
