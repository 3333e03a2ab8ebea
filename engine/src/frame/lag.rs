//! `lag` over words and `row_number`: flat arenas, a power-of-two ring a key.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

use super::words::{Reading, Values, Words, array};
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Valid};
use crate::operator::ttl::truncate;
use crate::operator::{decode_states, encode_states};

/// The value so many rows before.
pub(super) struct Lag {
    offset: u64,
    default: Option<u64>,
    data_type: DataType,
    /// Length of a ring: a power of two above the offset.
    ring: usize,
    seen: Vec<u64>,
    words: Vec<u64>,
    /// Which words are NULL, by position in `words`; empty while none is.
    nulls: Vec<bool>,
    valid: Valid,
}

impl Lag {
    pub(super) fn boxed(offset: u64, default: Option<u64>, data_type: DataType) -> Box<dyn Kernel> {
        let ring = (offset as usize + 1).next_power_of_two();
        let (seen, words, nulls) = (vec![], vec![], vec![]);
        Box::new(Self {
            offset,
            default,
            data_type,
            ring,
            seen,
            words,
            nulls,
            valid: Valid::default(),
        })
    }

    fn grow(&mut self, keys: usize, nulls: bool) {
        if self.seen.len() < keys {
            self.seen.resize(keys, 0);
            self.words.resize(keys * self.ring, 0);
        }
        if nulls || !self.nulls.is_empty() {
            self.nulls.resize(self.words.len(), false);
        }
    }
}

impl Lag {
    fn evaluate_with_nulls(&mut self, keys: &[u32], column: &Words) -> Result<ArrayRef> {
        let (mask, offset) = (self.ring as u64 - 1, self.offset);
        let step = |(row, key): (usize, &u32)| {
            let key = *key as usize;
            let seen = self.seen[key];
            self.seen[key] = seen + 1;
            let now = key * self.ring + (seen & mask) as usize;
            let word = Words::get(column, row);
            self.words[now] = word.unwrap_or_default();
            self.nulls[now] = word.is_none();
            if seen < offset {
                return self.default;
            }
            let before = key * self.ring + ((seen - offset) & mask) as usize;
            (!self.nulls[before]).then(|| self.words[before])
        };
        let cells = keys.iter().enumerate().map(step).collect();
        Words::array(cells, &self.data_type)
    }
}

impl Kernel for Lag {
    fn evaluate(&mut self, rows: Rows<'_>, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let column = Words::read(Reading::Value, arguments, rows.keys.len())?;
        self.grow(rows.key_count, column.nulls.is_some());
        if !self.nulls.is_empty() {
            return self.evaluate_with_nulls(rows.keys, &column);
        }
        let (mask, offset, ring) = (self.ring as u64 - 1, self.offset, self.ring);
        let (states, words) = (self.seen.as_mut_slice(), self.words.as_mut_slice());
        let mut values = vec![self.default.unwrap_or_default(); rows.keys.len()];
        let outputs = values.iter_mut().zip(self.valid.reset(rows.keys.len()));
        for ((key, word), (value, valid)) in rows.keys.iter().zip(column.values.iter()).zip(outputs)
        {
            let key = *key as usize;
            let ring = &mut words[key * ring..][..ring];
            let seen = states[key];
            states[key] = seen + 1;
            ring[(seen & mask) as usize] = *word;
            if seen >= offset {
                *value = ring[((seen - offset) & mask) as usize];
            } else {
                *valid = self.default.is_some();
            }
        }
        array(values, self.valid.nulls(), &self.data_type)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        let rings: Vec<_> = self.seen.iter().zip(self.words.chunks(self.ring)).collect();
        let nulls: Vec<_> = self.nulls.chunks(self.ring).collect();
        Ok(vec![encode_states(&rings)?, encode_states(&nulls)?])
    }

    fn restore(&mut self, state: &[RecordBatch]) -> Result<()> {
        let damaged = || Error::corrupt("the snapshot of a lag is of another lag");
        let [rings, nulls] = state else {
            return Err(damaged());
        };
        for (seen, words) in decode_states::<(u64, Vec<u64>)>(rings)? {
            if words.len() != self.ring {
                return Err(damaged());
            }
            self.seen.push(seen);
            self.words.extend(words);
        }
        self.nulls = decode_states::<Vec<bool>>(nulls)?.concat();
        if self.nulls.is_empty() || self.nulls.len() == self.words.len() {
            Ok(())
        } else {
            Err(damaged())
        }
    }

    fn forget(&mut self, keys: &[u32], key_count: usize) {
        // What is in a ring before its first row is never read.
        for key in keys {
            if let Some(seen) = self.seen.get_mut(*key as usize) {
                *seen = 0;
            }
        }
        truncate(&mut self.seen, key_count);
        truncate(&mut self.words, key_count * self.ring);
        truncate(&mut self.nulls, key_count * self.ring);
    }

    fn rename(&mut self, from: u32, to: u32) {
        let (from, to, ring) = (from as usize, to as usize, self.ring);
        self.seen[to] = self.seen[from];
        self.words
            .copy_within(from * ring..(from + 1) * ring, to * ring);
        if !self.nulls.is_empty() {
            self.nulls
                .copy_within(from * ring..(from + 1) * ring, to * ring);
        }
    }
}

/// The number of the row within its key, from one.
#[derive(Default)]
pub(super) struct RowNumber {
    seen: Vec<u64>,
}

impl Kernel for RowNumber {
    fn evaluate(&mut self, rows: Rows<'_>, _: &[ArrayRef]) -> Result<ArrayRef> {
        self.seen.resize(rows.key_count.max(self.seen.len()), 0);
        let step = |key: &u32| {
            let seen = &mut self.seen[*key as usize];
            *seen += 1;
            *seen
        };
        array(
            rows.keys.iter().map(step).collect(),
            None,
            &DataType::UInt64,
        )
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        Ok(vec![encode_states(&self.seen)?])
    }

    fn restore(&mut self, state: &[RecordBatch]) -> Result<()> {
        let [seen] = state else {
            return Err(Error::corrupt(
                "the snapshot of row_number is not one table",
            ));
        };
        self.seen = decode_states(seen)?;
        Ok(())
    }

    fn forget(&mut self, keys: &[u32], key_count: usize) {
        for key in keys {
            if let Some(seen) = self.seen.get_mut(*key as usize) {
                *seen = 0;
            }
        }
        truncate(&mut self.seen, key_count);
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.seen[to as usize] = self.seen[from as usize];
    }
}
