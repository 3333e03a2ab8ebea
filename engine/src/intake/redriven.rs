//! Dead rows that are given back to their table, as new arrivals.
//!
//! They come in by the intake like any rows, stamped anew, on the split that they came from: so
//! whether they are late, and what a recording says of them, is as if the source had sent them
//! again. They move no position, and the log keeps them, because no source can be asked for them.
//! What has been given back is known by when it first arrived, which no other row of the shard
//! shares; that is part of the intake's state, and so of every snapshot and journal: a second
//! redrive of a row finds it there, also after a kill.

use arrow::array::RecordBatch;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};

use super::Records;
use crate::error::{Error, Result};
use crate::source::Split;

/// The offset of a poll that says nothing of how far its split is read.
pub(super) const NOWHERE: i64 = i64::MIN;

/// Dead rows to be given back to a table.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Position of the table.
    pub table: usize,
    /// The rows, with the columns of the source.
    pub rows: RecordBatch,
    /// Of each row, where it came from and when it first arrived.
    pub origins: Vec<Origin>,
    /// Whether rows that were given back before are given back again.
    pub again: bool,
}

/// Where a dead row came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When it arrived: nothing else did at that instant.
    pub arrived_at: i64,
    /// Its split, where that is known.
    pub split: Option<Split>,
    /// Its offset there.
    pub offset: i64,
}

/// Rows of one split that arrive again.
#[derive(Debug, Clone)]
pub struct Redriven {
    /// They.
    pub records: Records,
    /// When each arrived before.
    pub before: Vec<i64>,
}

/// A redrive cut into arrivals.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// By split, in the order in which their first rows came.
    pub(crate) arrivals: Vec<(Split, RecordBatch, Vec<Origin>)>,
    /// Rows that were given back before.
    pub(crate) known: usize,
    /// Rows of which nothing says where they came from, and the table asks for it.
    pub(crate) lost: usize,
}

impl Redrive {
    /// What is new of it, in the order of its first arrival, split by split. A row inside the graph
    /// has no split: it is taken for one of `any`, unless that is `None`.
    pub(crate) fn cut(self, is_known: impl Fn(i64) -> bool, any: Option<&Split>) -> Result<Cut> {
        if self.rows.num_rows() != self.origins.len() {
            return Err(Error::internal("a redrive has not as many rows as origins"));
        }
        let mut order: Vec<usize> = (0..self.origins.len()).collect();
        order.sort_by_key(|row| self.origins[*row].arrived_at);
        let mut cut = Cut::default();
        let mut splits: Vec<(Split, Vec<usize>)> = vec![];
        let mut last = None;
        for row in order {
            let origin = &self.origins[row];
            // A row that two steps gave up comes back once.
            let twice = last.replace(origin.arrived_at) == Some(origin.arrived_at);
            if twice || (!self.again && is_known(origin.arrived_at)) {
                cut.known += 1;
                continue;
            }
            let Some(split) = origin.split.as_ref().or(any) else {
                cut.lost += 1;
                continue;
            };
            match splits.iter_mut().find(|(of, _)| of == split) {
                Some((_, rows)) => rows.push(row),
                None => splits.push((split.clone(), vec![row])),
            }
        }
        for (split, rows) in splits {
            let places = rows.iter().map(|row| *row as u32);
            let batch = take_record_batch(&self.rows, &UInt32Array::from_iter_values(places))?;
            let origins = rows.iter().map(|row| self.origins[*row].clone());
            cut.arrivals.push((split, batch, origins.collect()));
        }
        Ok(cut)
    }
}

impl Redriven {
    /// Rows of a split, the first of them arriving at `first`, each a nanosecond later.
    pub(crate) fn new(
        table: usize,
        (split, rows, origins): (Split, RecordBatch, Vec<Origin>),
        first: i64,
    ) -> Self {
        let count = rows.num_rows() as i64;
        Self {
            before: origins.iter().map(|origin| origin.arrived_at).collect(),
            records: Records {
                table,
                split,
                rows,
                offsets: origins.iter().map(|origin| origin.offset).collect(),
                record_times: None,
                arrived_at: (first..first + count).collect(),
                rejected: vec![],
                next_offset: NOWHERE,
            },
        }
    }

    /// The same again from the pieces that the log kept of it.
    pub(crate) fn repeat(pieces: &[Records], before: Vec<i64>) -> Result<Self> {
        let lost = || Error::corrupt("the log lacks rows that its journal says were redriven");
        let first = pieces.first().ok_or_else(lost)?;
        let rows: Vec<&RecordBatch> = pieces.iter().map(|piece| &piece.rows).collect();
        let each = |values: fn(&Records) -> &[i64]| pieces.iter().flat_map(values).copied();
        let records = Records {
            rows: concat_batches(&first.rows.schema(), rows)?,
            offsets: each(|piece| &piece.offsets).collect(),
            arrived_at: each(|piece| &piece.arrived_at).collect(),
            record_times: None,
            next_offset: NOWHERE,
            ..first.clone()
        };
        match records.count() == before.len() {
            true => Ok(Self { records, before }),
            false => Err(lost()),
        }
    }
}
