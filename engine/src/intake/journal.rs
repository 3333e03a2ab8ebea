//! What the log keeps of an arrival: enough to repeat it when the source is asked again.

use serde::{Deserialize, Serialize};

use super::{Arrival, Records, Redriven};
use crate::error::{Error, Result};
use crate::source::{Polled, Split};

/// An arrival without its rows: a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// [`Arrival::Splits`].
    Splits {
        /// Position of the table.
        table: usize,
        /// The splits.
        splits: Vec<Split>,
        /// When.
        at: i64,
    },
    /// [`Arrival::Records`].
    Records {
        /// Position of the table.
        table: usize,
        /// Where they were from.
        split: Split,
        /// How many rows.
        rows: u32,
        /// How many records that were none.
        rejected: u32,
        /// The offset that follows.
        next_offset: i64,
        /// When the first arrived; the others a nanosecond each later.
        first: i64,
    },
    /// [`Arrival::Reached`].
    Reached {
        /// Position of the table.
        table: usize,
        /// The split.
        split: Split,
        /// The offset that follows.
        next_offset: i64,
        /// When.
        at: i64,
    },
    /// [`Arrival::Advance`].
    Advance {
        /// Position of the table.
        table: usize,
        /// Up to where its past is complete.
        time: i64,
        /// When.
        at: i64,
    },
    /// [`Arrival::Tick`].
    Tick {
        /// When.
        at: i64,
    },
    /// [`Arrival::End`].
    End {
        /// Position of the table.
        table: usize,
        /// When.
        at: i64,
    },
    /// [`Arrival::Redriven`]: the log holds the rows.
    Redriven {
        /// Position of the table.
        table: usize,
        /// Where the rows came from.
        split: Split,
        /// When each of them arrived before.
        before: Vec<i64>,
        /// When the first arrived; the others a nanosecond each later.
        first: i64,
    },
}

impl Entry {
    /// When it begins.
    #[must_use]
    pub fn at(&self) -> i64 {
        match self {
            Self::Records { first, .. } | Self::Redriven { first, .. } => *first,
            Self::Splits { at, .. }
            | Self::Reached { at, .. }
            | Self::Advance { at, .. }
            | Self::Tick { at }
            | Self::End { at, .. } => *at,
        }
    }

    /// What it is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Splits { .. } => "splits",
            Self::Records { .. } => "records",
            Self::Redriven { .. } => "redriven",
            Self::Reached { .. } => "reached",
            Self::Advance { .. } => "advance",
            Self::Tick { .. } => "tick",
            Self::End { .. } => "end",
        }
    }

    /// What to keep of an arrival.
    #[must_use]
    pub fn of(arrival: &Arrival) -> Self {
        match arrival {
            Arrival::Splits { table, splits, at } => Self::Splits {
                table: *table,
                splits: splits.clone(),
                at: *at,
            },
            Arrival::Records(records) => Self::Records {
                table: records.table,
                split: records.split.clone(),
                rows: records.rows.num_rows() as u32,
                rejected: records.rejected.len() as u32,
                next_offset: records.next_offset,
                first: records.first_at().unwrap_or_default(),
            },
            Arrival::Redriven(Redriven { records, before }) => Self::Redriven {
                table: records.table,
                split: records.split.clone(),
                before: before.clone(),
                first: records.first_at().unwrap_or_default(),
            },
            Arrival::Reached {
                table,
                split,
                next_offset,
                at,
            } => Self::Reached {
                table: *table,
                split: split.clone(),
                next_offset: *next_offset,
                at: *at,
            },
            Arrival::Advance { table, time, at } => Self::Advance {
                table: *table,
                time: *time,
                at: *at,
            },
            Arrival::Tick { at } => Self::Tick { at: *at },
            Arrival::End { table, at } => Self::End {
                table: *table,
                at: *at,
            },
        }
    }

    /// The arrival again, given the records that the source handed over for it, if it is one
    /// of records. An error where they are not those that arrived then.
    pub fn repeat(self, polled: Option<Polled>) -> Result<Arrival> {
        Ok(match (self, polled) {
            (
                Self::Records {
                    table,
                    split,
                    rows,
                    rejected,
                    first,
                    next_offset,
                },
                Some(polled),
            ) => {
                let found = (polled.rows.num_rows(), polled.rejected.len());
                if found != (rows as usize, rejected as usize) {
                    let (rows_found, rejected_found) = found;
                    return Err(Error::corrupt(format!(
                        "split {split} no longer holds what the log says was read from it up to \
                         offset {next_offset}: {rows} rows and {rejected} rejected records then, \
                         {rows_found} and {rejected_found} now; its history was cut or \
                         rewritten: start the job afresh, or from its recording"
                    )));
                }
                Arrival::Records(Records::of_poll(table, polled, first))
            }
            (
                Self::Reached {
                    table,
                    split,
                    next_offset,
                    at,
                },
                None,
            ) => Arrival::Reached {
                table,
                split,
                next_offset,
                at,
            },
            (Self::Splits { table, splits, at }, None) => Arrival::Splits { table, splits, at },
            (Self::Advance { table, time, at }, None) => Arrival::Advance { table, time, at },
            (Self::Tick { at }, None) => Arrival::Tick { at },
            (Self::End { table, at }, None) => Arrival::End { table, at },
            _ => {
                return Err(Error::internal(
                    "records are given just for entries of records",
                ));
            }
        })
    }
}
