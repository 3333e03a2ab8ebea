//! The one way in: a pure state machine that fixes the order in which rows of all tables of a
//! shard enter the graph, times them, decides which are late, and counts.
//!
//! Everything that could differ between two runs is in its input, the [`Arrival`]s: how polls
//! interleave, when rows arrived, when nothing did. Whoever repeats the arrivals (a journal on
//! recovery, a recording on replay) gets the same rows, however they are cut into batches.
//!
//! A split that is silent is idle and waited for no longer. But silence tells nothing of one split
//! when all are silent, nor when nobody listened: whatever stood still, the clock that jumped or the
//! transport that was away, no split's backlog is late because another's was read first.
//!
//! After the rows of a split its watermark also says how far that split alone is complete: `order`
//! of a keyed table goes by it. Such a table's keys are watched, each is to stay on one split.

pub mod dead;
pub mod journal;
mod keys;
pub mod recording;
mod records;
pub mod redriven;
mod splits;
mod table;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::Input;
use crate::message::Message;
use crate::source::{Position, Split};
use crate::time::{Timestamp, Watermark};
use keys::KeysState;
pub use records::Records;
pub use redriven::{Origin, Redrive, Redriven};
use table::{Table, TableState};

/// What the intake is told, in order.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// A table has these splits, besides those known: its watermark waits for them.
    Splits {
        /// Position of the table.
        table: usize,
        /// The splits, known ones included.
        splits: Vec<Split>,
        /// When that became known.
        at: i64,
    },
    /// Records of one split arrived.
    Records(Records),
    /// Dead rows are given back.
    Redriven(Redriven),
    /// A split is read up to an offset, without a record: it begins there, or ends (see
    /// [`END`](crate::source::END)).
    Reached {
        /// Position of the table.
        table: usize,
        /// The split.
        split: Split,
        /// The offset that follows.
        next_offset: i64,
        /// When that became known.
        at: i64,
    },
    /// No row of a table with an event time before `time` follows, by the source's own word.
    Advance {
        /// Position of the table.
        table: usize,
        /// Up to where its past is complete, in nanoseconds.
        time: i64,
        /// When that became known.
        at: i64,
    },
    /// Nothing arrived until now.
    Tick {
        /// Now.
        at: i64,
    },
    /// A bounded table has ended: its windows close.
    End {
        /// Position of the table.
        table: usize,
        /// When.
        at: i64,
    },
}

impl Arrival {
    /// When it begins.
    #[must_use]
    pub fn at(&self) -> i64 {
        match self {
            Self::Records(records) => records.first_at().unwrap_or(i64::MIN),
            Self::Redriven(redriven) => redriven.records.first_at().unwrap_or(i64::MIN),
            Self::Splits { at, .. }
            | Self::Reached { at, .. }
            | Self::Advance { at, .. }
            | Self::Tick { at }
            | Self::End { at, .. } => *at,
        }
    }

    /// When it is over.
    #[must_use]
    pub fn last_at(&self) -> i64 {
        match self {
            Self::Records(records) => records.last_at().unwrap_or(i64::MIN),
            Self::Redriven(redriven) => redriven.records.last_at().unwrap_or(i64::MIN),
            other => other.at(),
        }
    }
}

/// Where every record of a table went: arrived = accepted + late + future + dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Everything the source handed over.
    pub arrived: u64,
    /// On time.
    pub accepted: u64,
    /// Below the watermark: in `<table>$late`.
    pub late: u64,
    /// Too far ahead: in `<table>$dead`.
    pub future: u64,
    /// Not a row of the table: in `<table>$dead`.
    pub dead: u64,
}

impl Counts {
    /// Whether nothing is lost unseen.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.arrived == self.accepted + self.late + self.future + self.dead
    }
}

/// What follows from one arrival.
#[derive(Debug, Default)]
pub struct Step {
    /// For the graph: table and message, in order.
    pub messages: Vec<(usize, Message)>,
    /// Rows for `<table>$late`, of [`dead::late_schema`].
    pub late: Vec<(usize, RecordBatch)>,
    /// Rows for `<table>$dead`, of [`dead::dead_schema`].
    pub dead: Vec<(usize, RecordBatch)>,
    /// Whether a watermark moved or a split fell idle: a tick that changes nothing need not be
    /// journaled.
    pub changed: bool,
}

/// The intake of a shard.
#[derive(Debug)]
pub struct Intake {
    tables: Vec<Table>,
    last_arrival: i64,
}

#[derive(Serialize, Deserialize)]
struct State {
    tables: Vec<TableState>,
    last_arrival: i64,
}

impl Intake {
    /// An intake for the tables of a graph, at the beginning of time.
    #[must_use]
    pub fn new(inputs: &[Input]) -> Self {
        let tables = inputs.iter().map(Table::new).collect();
        Self {
            tables,
            last_arrival: i64::MIN,
        }
    }

    /// The arrival time of the first of the next records, given the clock: later than every
    /// arrival before, whatever the clock does.
    #[must_use]
    pub fn stamp(&self, now: Timestamp) -> i64 {
        now.0.max(self.last_arrival.saturating_add(1))
    }

    /// Takes an arrival. Its times must be later than all before.
    pub fn arrive(&mut self, arrival: Arrival) -> Result<Step> {
        let (mut step, mut from) = (Step::default(), None);
        match arrival {
            Arrival::Splits { table, splits, at } => {
                // A recording that is read in batches may cut one announcement in two.
                if at != self.last_arrival {
                    self.arrived(at)?;
                }
                self.table(table)?.announce(&splits, at);
                step.changed = true;
            }
            Arrival::Records(records) => {
                from = Some((records.table, records.split.clone()));
                self.take_records(records, &mut step)?;
            }
            Arrival::Redriven(Redriven { records, before }) => {
                from = Some((records.table, records.split.clone()));
                self.table(records.table)?.state.redriven.extend(before);
                self.take_records(records, &mut step)?;
                step.changed = true;
            }
            Arrival::Reached {
                table,
                split,
                next_offset,
                at,
            } => {
                self.arrived(at)?;
                self.table(table)?.reached(&split, next_offset, at);
            }
            Arrival::Advance { table, time, at } => {
                self.arrived(at)?;
                self.table(table)?.state.splits.advance(time);
            }
            Arrival::Tick { at } => self.arrived(at)?,
            Arrival::End { table, at } => {
                self.arrived(at)?;
                self.table(table)?.end();
            }
        }
        self.move_watermarks(from.as_ref(), &mut step);
        Ok(step)
    }

    /// Takes records, of a keyed table in pieces: rows of a split that falls idle between two
    /// records go on at that moment, and not only after whatever was polled together.
    fn take_records(&mut self, records: Records, step: &mut Step) -> Result<()> {
        let Some(first) = records.first_at() else {
            return Ok(());
        };
        self.arrived(first)?;
        let (number, mut rest) = (records.table, records);
        while let Some(at) = self.table(number)?.next_cut(&rest) {
            let (piece, later) = rest.cut(at);
            let split = piece.split.clone();
            self.take_piece(piece, step)?;
            let arrived_at = Timestamp(self.last_arrival);
            let (watermark, changed) = self.table(number)?.watermark(arrived_at, Some(&split));
            step.changed |= changed;
            step.messages.push((number, Message::Watermark(watermark)));
            rest = later;
        }
        self.take_piece(rest, step)
    }

    fn take_piece(&mut self, records: Records, step: &mut Step) -> Result<()> {
        let number = records.table;
        self.last_arrival = records.last_at().unwrap_or(self.last_arrival);
        let taken = self.table(number)?.take(records)?;
        if let Some(rows) = taken.rows {
            step.messages.push((number, Message::Batch(rows)));
        }
        step.late.extend(taken.late.map(|rows| (number, rows)));
        step.dead.extend(taken.dead.map(|rows| (number, rows)));
        Ok(())
    }

    fn table(&mut self, number: usize) -> Result<&mut Table> {
        let unknown = || Error::internal(format!("the graph has no table number {number}"));
        self.tables.get_mut(number).ok_or_else(unknown)
    }

    fn arrived(&mut self, at: i64) -> Result<()> {
        if at <= self.last_arrival {
            return Err(Error::corrupt(format!(
                "a record arrived at {} after one at {}",
                Timestamp(at),
                Timestamp(self.last_arrival)
            )));
        }
        self.last_arrival = at;
        Ok(())
    }

    fn move_watermarks(&mut self, from: Option<&(usize, Split)>, step: &mut Step) {
        let arrived_at = Timestamp(self.last_arrival);
        for (number, table) in self.tables.iter_mut().enumerate() {
            let split = from.filter(|(table, _)| *table == number);
            let (watermark, changed) = table.watermark(arrived_at, split.map(|(_, split)| split));
            step.changed |= changed;
            step.messages.push((number, Message::Watermark(watermark)));
        }
    }

    /// Whether a table knows all of these splits.
    #[must_use]
    pub fn knows(&self, table: usize, splits: &[Split]) -> bool {
        self.tables
            .get(table)
            .is_some_and(|table| table.state.splits.knows(splits))
    }

    /// Cuts a redrive into arrivals that are new: what is known, and where rows go of which
    /// nothing says where they came from, is the table's to say. In a keyed table that would be
    /// a guess.
    pub(crate) fn cut_redrive(&self, redrive: Redrive) -> Result<redriven::Cut> {
        let table = self.tables.get(redrive.table);
        let table = table.ok_or_else(|| Error::internal("a redrive into no table"))?;
        if table.state.splits.ended {
            return Err(Error::invalid(
                "the table's input has ended: nothing enters it any more",
            ));
        }
        let any = table.state.splits.name(0).filter(|_| table.keys.is_none());
        redrive.cut(|at| table.state.redriven.contains(&at), any)
    }

    /// Per table, the offset that follows what was taken of each split.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.tables.iter().map(Table::position).collect()
    }

    /// Per table, where its records went.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.tables.iter().map(|table| table.state.counts).collect()
    }

    /// Per table, how far it is complete.
    #[must_use]
    pub fn watermarks(&self) -> Vec<Watermark> {
        let arrived_at = Timestamp(self.last_arrival);
        self.tables
            .iter()
            .map(|table| table.state.splits.watermark(arrived_at))
            .collect()
    }

    /// Per table, whether its input has ended.
    #[must_use]
    pub fn ended(&self) -> Vec<bool> {
        self.tables
            .iter()
            .map(|table| table.state.splits.ended)
            .collect()
    }

    /// The positions in a state of `snapshot`.
    pub(crate) fn positions_in(bytes: &[u8]) -> Result<Vec<Position>> {
        let damaged =
            |e| Error::corrupt("the intake's state in the snapshot cannot be decoded").caused_by(e);
        let (state, _): (State, _) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        let tables = state.tables.iter();
        Ok(tables.map(|table| table.splits.position()).collect())
    }

    /// The whole state.
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        let tables = self
            .tables
            .iter()
            .map(|table| table.state.clone())
            .collect();
        let state = State {
            tables,
            last_arrival: self.last_arrival,
        };
        let unfit = |e| Error::internal("the intake's state cannot be encoded").caused_by(e);
        let bytes = postcard::to_stdvec(&state).map_err(unfit)?;
        let keys = self.tables.iter().map(|table| match &table.keys {
            Some(keys) => keys.snapshot().map(Some),
            None => Ok(None),
        });
        let keys = keys.collect::<Result<Vec<Option<KeysState>>>>()?;
        // Where no table is keyed, the snapshot ends here.
        match keys.iter().all(Option::is_none) {
            true => Ok(bytes),
            false => postcard::to_extend(&keys, bytes).map_err(unfit),
        }
    }

    /// Takes up a state of `snapshot`.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let own: Vec<Option<usize>> = (0..self.tables.len()).map(Some).collect();
        if Self::positions_in(bytes)?.len() != own.len() {
            return Err(Error::corrupt("the snapshot is of a job with other tables"));
        }
        self.take_over(bytes, &own)
    }

    /// Takes up the states of tables out of a state of `snapshot`: by table here the number there;
    /// one that has none begins anew.
    pub(crate) fn take_over(&mut self, bytes: &[u8], from: &[Option<usize>]) -> Result<()> {
        let damaged =
            |e| Error::corrupt("the intake's state in the snapshot cannot be decoded").caused_by(e);
        let (state, rest): (State, _) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        let keys: Vec<Option<KeysState>> = match rest {
            [] => vec![],
            rest => postcard::from_bytes(rest).map_err(damaged)?,
        };
        for (table, from) in self.tables.iter_mut().zip(from) {
            let Some(from) = from else { continue };
            let lacking = || Error::corrupt("the snapshot is of a job with other tables");
            table.state = state.tables.get(*from).ok_or_else(lacking)?.clone();
            if let (Some(own), Some(Some(keys))) = (&mut table.keys, keys.get(*from)) {
                own.restore(keys)?;
            }
        }
        self.last_arrival = state.last_arrival;
        Ok(())
    }
}
