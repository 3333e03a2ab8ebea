//! A number that tells whether two runs gave the same rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::error::Result;

/// The digest of an output so far: per key a chain of xxh3-128 over its rows in order, all keys
/// added up by wrapping sum. Equal digests: every key had the same rows in the same order, bit
/// for bit; how keys interleaved and how rows were cut into batches does not count.
#[derive(Debug)]
pub struct Digest {
    rows: u64,
    chains: HashMap<u128, u128, FixedState>,
    columns: usize,
    row: RowConverter,
    key: Option<(RowConverter, Vec<usize>)>,
}

/// A digest as a number; prints as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestValue {
    /// How many rows went in.
    pub rows: u64,
    /// The sum of the chains.
    pub sum: u128,
}

impl fmt::Display for DigestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

impl Digest {
    /// The digest of no rows of these columns; `key` are the positions of the key's columns.
    /// Without any, the order of all rows counts.
    pub fn new(schema: &Schema, key: &[usize]) -> Result<Self> {
        let field = |i: usize| SortField::new(schema.field(i).data_type().clone());
        let all = (0..schema.fields().len()).map(field).collect();
        let key = match key {
            [] => None,
            _ => {
                let fields = key.iter().map(|i| field(*i)).collect();
                Some((RowConverter::new(fields)?, key.to_vec()))
            }
        };
        Ok(Self {
            rows: 0,
            chains: HashMap::with_hasher(FixedState::with_seed(0)),
            columns: schema.fields().len(),
            row: RowConverter::new(all)?,
            key,
        })
    }

    /// Adds rows, in order. Columns beyond those of the schema do not count.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.row.convert_columns(&batch.columns()[..self.columns])?;
        let keys = match &self.key {
            None => None,
            Some((converter, columns)) => {
                let columns: Vec<_> = columns
                    .iter()
                    .map(|i| Arc::clone(batch.column(*i)))
                    .collect();
                Some(converter.convert_columns(&columns)?)
            }
        };
        for i in 0..batch.num_rows() {
            let key = keys.as_ref().map_or(0, |keys| xxh3_128(keys.row(i).data()));
            let row = xxh3_128(rows.row(i).data());
            let chain = self.chains.entry(key).or_insert(key);
            let mut link = [0; 32];
            link[..16].copy_from_slice(&chain.to_le_bytes());
            link[16..].copy_from_slice(&row.to_le_bytes());
            *chain = xxh3_128_with_seed(&link, 0);
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The number.
    #[must_use]
    pub fn value(&self) -> DigestValue {
        let mut sum = 0_u128;
        for chain in self.chains.values() {
            sum = sum.wrapping_add(*chain);
        }
        DigestValue {
            rows: self.rows,
            sum,
        }
    }

    /// The rows so far and the chains, sorted by key.
    #[must_use]
    pub fn snapshot(&self) -> (u64, Vec<(u128, u128)>) {
        let mut chains: Vec<_> = self
            .chains
            .iter()
            .map(|(key, chain)| (*key, *chain))
            .collect();
        chains.sort_unstable();
        (self.rows, chains)
    }

    /// Takes up a state of `snapshot`.
    pub fn restore(&mut self, rows: u64, chains: Vec<(u128, u128)>) {
        self.rows = rows;
        self.chains.extend(chains);
    }
}
