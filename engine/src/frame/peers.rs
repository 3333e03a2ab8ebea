//! Windows that the block arenas do not fit: `RANGE` frames with their peers, frames without a
//! start, frames that end before the current row, and very long ones.
//!
//! A window is measured in marks: the time of a row for `RANGE`, its number within the key for
//! `ROWS`. Peers (rows of a key with equal time) are all added before any of them has its value.

use std::marker::PhantomData;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::words::{Reading, Values};
use super::{Frame, Units};
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows};
use crate::operator::ttl::truncate;
use crate::operator::{decode_states, encode_states};

/// Which marks belong to the window of a mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// How far back it begins; `None` with the first row.
    pub(super) start: Option<i64>,
    /// How far back it ends.
    pub(super) end: i64,
}

impl Reach {
    pub(super) fn of(frame: Frame) -> Self {
        let mark = |distance| i64::try_from(distance).unwrap_or(i64::MAX);
        Self {
            start: frame.start.map(mark),
            end: mark(frame.end),
        }
    }

    /// Whether a row at `mark` is too old for the window of `current`.
    pub(super) fn is_over(self, mark: i64, current: i64) -> bool {
        self.start
            .is_some_and(|start| mark < current.saturating_sub(start))
    }

    /// Whether a row at `mark` has entered the window of `current`.
    pub(super) fn has_begun(self, mark: i64, current: i64) -> bool {
        mark <= current.saturating_sub(self.end)
    }
}

/// The window of one key. Marks never fall.
pub(super) trait Window: Clone + Send + Serialize + DeserializeOwned {
    type Values: Values;
    /// Takes a row.
    fn add(&mut self, mark: i64, cell: Option<Cell<Self>>, reach: Reach);
    /// The value of the rows at `mark`; `None` is NULL.
    fn value(&mut self, mark: i64, reach: Reach) -> Option<Cell<Self>>;
}

type Cell<W> = <<W as Window>::Values as Values>::Cell;

/// The kernel of such windows.
pub(super) struct Grouped<W> {
    frame: Frame,
    reading: Reading,
    data_type: DataType,
    fresh: W,
    keys: Vec<Key<W>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "W: Window")]
struct Key<W> {
    window: W,
    rows: u64,
    /// The last of the peers whose value is due, within one call.
    #[serde(skip)]
    due: Option<u32>,
}

/// What one call writes: the cells, and for each row the peer before it.
struct Results<W: Window> {
    cells: Vec<Option<Cell<W>>>,
    previous: Vec<Option<u32>>,
    window: PhantomData<W>,
}

impl<W: Window> Results<W> {
    /// Gives a key's due peers their value.
    fn settle(&mut self, key: &mut Key<W>, mark: i64, reach: Reach) {
        let mut next = key.due.take();
        if next.is_none() {
            return;
        }
        let value = key.window.value(mark, reach);
        while let Some(row) = next {
            self.cells[row as usize].clone_from(&value);
            next = self.previous[row as usize];
        }
    }
}

impl<W: Window + 'static> Grouped<W> {
    pub(super) fn boxed(
        frame: Frame,
        reading: Reading,
        data_type: DataType,
        fresh: W,
    ) -> Box<dyn Kernel> {
        Box::new(Self {
            frame,
            reading,
            data_type,
            fresh,
            keys: vec![],
        })
    }

    fn by_rows(&mut self, keys: &[u32], column: &Column<W>) -> Vec<Option<Cell<W>>> {
        let reach = Reach::of(self.frame);
        let step = |(row, key): (usize, &u32)| {
            let key = &mut self.keys[*key as usize];
            let mark = key.rows as i64;
            key.rows += 1;
            key.window.add(mark, W::Values::get(column, row), reach);
            key.window.value(mark, reach)
        };
        keys.iter().enumerate().map(step).collect()
    }

    fn by_time(&mut self, rows: Rows<'_>, column: &Column<W>) -> Vec<Option<Cell<W>>> {
        let reach = Reach::of(self.frame);
        let count = rows.keys.len();
        let mut results = Results::<W> {
            cells: vec![None; count],
            previous: vec![None; count],
            window: PhantomData,
        };
        for (row, (number, time)) in rows.keys.iter().zip(rows.times).enumerate() {
            let key = &mut self.keys[*number as usize];
            if let Some(last) = key.due {
                let mark = rows.times[last as usize];
                if mark == *time {
                    results.previous[row] = Some(last);
                } else {
                    results.settle(key, mark, reach);
                }
            }
            key.rows += 1;
            key.due = Some(row as u32);
            key.window.add(*time, W::Values::get(column, row), reach);
        }
        for (number, time) in rows.keys.iter().zip(rows.times).rev() {
            results.settle(&mut self.keys[*number as usize], *time, reach);
        }
        results.cells
    }
}

type Column<W> = <<W as Window>::Values as Values>::Column;

impl<W: Window + 'static> Kernel for Grouped<W> {
    fn evaluate(&mut self, rows: Rows<'_>, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        if self.keys.len() < rows.key_count {
            let fresh = Key {
                window: self.fresh.clone(),
                rows: 0,
                due: None,
            };
            self.keys.resize(rows.key_count, fresh);
        }
        let column = W::Values::read(self.reading, arguments, rows.keys.len())?;
        let cells = match self.frame.units {
            Units::Rows => self.by_rows(rows.keys, &column),
            Units::Range => self.by_time(rows, &column),
        };
        W::Values::array(cells, &self.data_type)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        Ok(vec![encode_states(&self.keys)?])
    }

    fn restore(&mut self, state: &[RecordBatch]) -> Result<()> {
        let [keys] = state else {
            return Err(Error::corrupt("the snapshot of a frame is not one table"));
        };
        self.keys = decode_states(keys)?;
        Ok(())
    }

    fn forget(&mut self, keys: &[u32], key_count: usize) {
        for key in keys {
            if let Some(state) = self.keys.get_mut(*key as usize) {
                state.window = self.fresh.clone();
                state.rows = 0;
            }
        }
        truncate(&mut self.keys, key_count);
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.keys.swap(from as usize, to as usize);
    }
}
