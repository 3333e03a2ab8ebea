//! Aggregates over `ROWS n PRECEDING`: the state of all keys in flat arenas, n + 1 slots a key.
//!
//! See [`crate::indicator::sliding`] for how a window slides. NULLs are counted only from the
//! first one on; as counting changes no value, it does not matter when it begins.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fold::{Fold, deviation};
use super::words::{Reading, Values, Words, array};
use crate::error::{Error, Result};
use crate::indicator::sliding::{Block, Spread};
use crate::kernel::{Kernel, Rows, Valid};
use crate::operator::ttl::truncate;
use crate::operator::{decode_states, encode_states};

/// What moves in the window of one key.
pub(super) trait Head: Copy + Send + Serialize + DeserializeOwned + 'static {
    type Slot: Copy + Send + Serialize + DeserializeOwned;
    const FRESH: Self;
    const EMPTY: Self::Slot;
    /// The position in the block that is filling, and whether a finished one is behind it.
    fn place(&self) -> (u32, bool);
    /// Adds a row and gives the aggregate; `counts` are the values in the window and those of
    /// them in the finished block.
    fn push(
        &mut self,
        slots: &mut [Self::Slot],
        word: Option<u64>,
        counts: (u32, u32),
        inverse: &[f64],
    ) -> Option<u64>;
}

/// A [`Fold`] over the window.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Folded<F: Fold>(Block<F::Cell>);

impl<F: Fold> Head for Folded<F> {
    type Slot = F::Cell;
    const FRESH: Self = Self(Block::new(F::EMPTY));
    const EMPTY: F::Cell = F::EMPTY;

    fn place(&self) -> (u32, bool) {
        (self.0.position, self.0.full)
    }

    #[inline]
    fn push(
        &mut self,
        slots: &mut [F::Cell],
        word: Option<u64>,
        (count, _): (u32, u32),
        _: &[f64],
    ) -> Option<u64> {
        let folded = self.0.push(slots, word.map_or(F::EMPTY, F::lift), F::join);
        F::finish(folded, u64::from(count))
    }
}

/// Variance over the window, or its root.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Spreading<const SAMPLE: bool, const ROOT: bool>(Spread);

impl<const SAMPLE: bool, const ROOT: bool> Head for Spreading<SAMPLE, ROOT> {
    type Slot = [f64; 2];
    const FRESH: Self = Self(Spread::FRESH);
    const EMPTY: [f64; 2] = [0.0; 2];

    fn place(&self) -> (u32, bool) {
        (self.0.position, self.0.full)
    }

    #[inline]
    fn push(
        &mut self,
        slots: &mut [[f64; 2]],
        word: Option<u64>,
        (count, older): (u32, u32),
        inverse: &[f64],
    ) -> Option<u64> {
        let inverse = |n: u32| inverse.get(n as usize).copied().unwrap_or_default();
        let squares = self.0.push(slots, word.map(f64::from_bits), older, inverse);
        deviation::<SAMPLE, ROOT>(squares, u64::from(count))
    }
}

/// The kernel over the last `window` rows of each key.
pub(super) struct Sliding<H: Head> {
    window: usize,
    reading: Reading,
    data_type: DataType,
    heads: Vec<H>,
    slots: Vec<H::Slot>,
    /// One over each count.
    inverse: Vec<f64>,
    counts: Option<Counts>,
    valid: Valid,
}

/// How many values the windows have, once there was a NULL.
#[derive(Default)]
struct Counts {
    heads: Vec<Block<u32>>,
    slots: Vec<u32>,
}

impl<H: Head> Sliding<H> {
    pub(super) fn boxed(window: usize, reading: Reading, data_type: DataType) -> Box<dyn Kernel> {
        let inverse = (0..=window)
            .map(|n| if n == 0 { 0.0 } else { 1.0 / n as f64 })
            .collect();
        let (heads, slots) = (vec![], vec![]);
        Box::new(Self {
            window,
            reading,
            data_type,
            heads,
            slots,
            inverse,
            counts: None,
            valid: Valid::default(),
        })
    }

    fn grow(&mut self, keys: usize) {
        if self.heads.len() < keys {
            self.heads.resize(keys, H::FRESH);
            self.slots.resize(keys * self.window, H::EMPTY);
        }
        if let Some(counts) = &mut self.counts {
            counts.heads.resize(self.heads.len(), Block::new(0));
            counts.slots.resize(self.slots.len(), 0);
        }
    }

    /// The counts as they are while there was no NULL yet.
    fn counts_without_nulls(&self) -> Counts {
        let window = self.window as u32;
        let mut counts = Counts::default();
        for head in &self.heads {
            let (position, full) = head.place();
            counts.heads.push(Block::at(position, position, full));
            counts.slots.extend((0..window).map(|slot| match full {
                _ if slot < position => 1,
                true => window - slot,
                false => 0,
            }));
        }
        counts
    }

    /// No NULL, now or before: every row counts.
    fn evaluate_full(&mut self, keys: &[u32], words: &Words) -> Result<ArrayRef> {
        let window = self.window;
        let last = window as u32 - 1;
        let (heads, slots) = (self.heads.as_mut_slice(), self.slots.as_mut_slice());
        let inverse = self.inverse.as_slice();
        let mut values = vec![0; keys.len()];
        let outputs = values.iter_mut().zip(self.valid.reset(keys.len()));
        for ((key, word), (value, valid)) in keys.iter().zip(words.values.iter()).zip(outputs) {
            let key = *key as usize;
            let head = &mut heads[key];
            let slots = &mut slots[key * window..][..window];
            let (position, full) = head.place();
            let counts = if full {
                (last + 1, last - position)
            } else {
                (position + 1, 0)
            };
            match head.push(slots, Some(*word), counts, inverse) {
                Some(word) => *value = word,
                None => *valid = false,
            }
        }
        array(values, self.valid.nulls(), &self.data_type)
    }

    fn evaluate_counted(&mut self, keys: &[u32], words: &Words) -> Result<ArrayRef> {
        let window = self.window;
        let Some(counts) = &mut self.counts else {
            return Err(Error::internal("NULLs are not counted"));
        };
        let mut values = vec![0; keys.len()];
        let valid = BooleanBuffer::collect_bool(keys.len(), |row| {
            let key = keys[row] as usize;
            let word = Words::get(words, row);
            let count = &mut counts.heads[key];
            let slots = &mut counts.slots[key * window..][..window];
            let total = count.push(slots, u32::from(word.is_some()), |a, b| a + b);
            let older = if count.position == 0 {
                0
            } else {
                total - count.newer()
            };
            let slots = &mut self.slots[key * window..][..window];
            let value = self.heads[key].push(slots, word, (total, older), &self.inverse);
            values[row] = value.unwrap_or_default();
            value.is_some()
        });
        array(values, Some(NullBuffer::new(valid)), &self.data_type)
    }
}

impl<H: Head> Kernel for Sliding<H> {
    fn evaluate(&mut self, rows: Rows<'_>, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let words = Words::read(self.reading, arguments, rows.keys.len())?;
        if words.nulls.is_some() && self.counts.is_none() {
            self.counts = Some(self.counts_without_nulls());
        }
        self.grow(rows.key_count);
        if self.counts.is_some() {
            return self.evaluate_counted(rows.keys, &words);
        }
        self.evaluate_full(rows.keys, &words)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        let window = self.window;
        let states: Vec<_> = self.heads.iter().zip(self.slots.chunks(window)).collect();
        let mut tables = vec![encode_states(&states)?];
        if let Some(counts) = &self.counts {
            let states: Vec<_> = counts
                .heads
                .iter()
                .zip(counts.slots.chunks(window))
                .collect();
            tables.push(encode_states(&states)?);
        }
        Ok(tables)
    }

    fn restore(&mut self, state: &[RecordBatch]) -> Result<()> {
        let [states, counts @ ..] = state else {
            return Err(Error::corrupt("the snapshot of a frame has no table"));
        };
        let damaged = || Error::corrupt("the snapshot of a frame is of another frame");
        for (head, slots) in decode_states::<(H, Vec<H::Slot>)>(states)? {
            if slots.len() != self.window || head.place().0 as usize >= self.window {
                return Err(damaged());
            }
            self.heads.push(head);
            self.slots.extend(slots);
        }
        if let Some(table) = counts.first() {
            let mut counts = Counts::default();
            for (head, slots) in decode_states::<(Block<u32>, Vec<u32>)>(table)? {
                if slots.len() != self.window || head.position as usize >= self.window {
                    return Err(damaged());
                }
                counts.heads.push(head);
                counts.slots.extend(slots);
            }
            if counts.heads.len() != self.heads.len() {
                return Err(damaged());
            }
            self.counts = Some(counts);
        }
        Ok(())
    }

    fn forget(&mut self, keys: &[u32], key_count: usize) {
        let window = self.window;
        for key in keys.iter().map(|key| *key as usize) {
            if key < self.heads.len() {
                self.heads[key] = H::FRESH;
                self.slots[key * window..][..window].fill(H::EMPTY);
            }
            if let Some(counts) = &mut self.counts
                && key < counts.heads.len()
            {
                counts.heads[key] = Block::new(0);
                counts.slots[key * window..][..window].fill(0);
            }
        }
        truncate(&mut self.heads, key_count);
        truncate(&mut self.slots, key_count * window);
        if let Some(counts) = &mut self.counts {
            truncate(&mut counts.heads, key_count);
            truncate(&mut counts.slots, key_count * window);
        }
    }

    fn rename(&mut self, from: u32, to: u32) {
        let (from, to, window) = (from as usize, to as usize, self.window);
        let slots = from * window..(from + 1) * window;
        self.heads[to] = self.heads[from];
        self.slots.copy_within(slots.clone(), to * window);
        if let Some(counts) = &mut self.counts {
            counts.heads[to] = counts.heads[from];
            counts.slots.copy_within(slots, to * window);
        }
    }
}
