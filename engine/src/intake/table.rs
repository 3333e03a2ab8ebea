//! One table of the intake: source columns to table columns, and the fate of each record.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType};
use serde::{Deserialize, Serialize};

use super::dead::{DeadRow, DeadRows, late_schema, row_as_json};
use super::keys::Keys;
use super::splits::{self, Splits};
use super::{Counts, Records};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Input, Timing};
use crate::operator::project::Project;
use crate::source::{Position, Split};
use crate::stream::ARRIVED_AT;
use crate::time::{TIMESTAMP, Timestamp, Watermark};

/// A table of the intake.
#[derive(Debug)]
pub(super) struct Table {
    /// Source columns and `_arrived_at`.
    source_schema: SchemaRef,
    /// From them to the table's columns.
    columns: Project,
    /// Table columns and system columns.
    batch_schema: SchemaRef,
    late_schema: SchemaRef,
    event_time: Option<usize>,
    delay: i64,
    timing: Timing,
    on_time: Option<OnTime>,
    /// Of a keyed table.
    pub(super) keys: Option<Keys>,
    pub(super) state: TableState,
}

/// What a table's snapshot holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct TableState {
    pub(super) splits: Splits,
    pub(super) counts: Counts,
    /// When dead rows that were given back arrived first.
    pub(super) redriven: BTreeSet<i64>,
}

/// Where the records of one call went.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) rows: Option<RecordBatch>,
    pub(super) late: Option<RecordBatch>,
    pub(super) dead: Option<RecordBatch>,
}

/// `_split` and `_late` of rows of one split, none of them late: what nearly every call appends, kept
/// from the last.
#[derive(Debug)]
struct OnTime {
    split: u32,
    rows: usize,
    columns: [ArrayRef; 2],
}

/// A row that is not one of the table, and when it arrived.
struct Bad {
    row: usize,
    arrived_at: i64,
}

/// What the row loop decides.
#[derive(Default)]
struct Verdict {
    /// By row; empty where none is late.
    late: Vec<bool>,
    future: Vec<usize>,
}

impl Table {
    pub(super) fn new(input: &Input) -> Self {
        let source = input.stream.source_schema();
        let arrived_at = Arc::new(Field::new(ARRIVED_AT, TIMESTAMP, false));
        let fields = source.fields().iter().cloned().chain([arrived_at]);
        Self {
            source_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            columns: Project {
                schema: Arc::clone(&input.schema),
                columns: input.columns.clone(),
            },
            batch_schema: input.batch_schema(),
            late_schema: late_schema(&input.schema),
            event_time: input.event_time.map(|time| time.column),
            delay: input
                .event_time
                .map_or(0, |time| time.delay.as_nanos() as i64),
            timing: input.timing,
            on_time: None,
            keys: Keys::of(input),
            state: TableState::default(),
        }
    }

    pub(super) fn announce(&mut self, splits: &[Split], at: i64) {
        for split in splits {
            self.state.splits.number(split, at);
        }
    }

    pub(super) fn reached(&mut self, split: &Split, next_offset: i64, at: i64) {
        let number = self.state.splits.number(split, at);
        self.state.splits.read(number, next_offset);
    }

    pub(super) fn end(&mut self) {
        self.state.splits.ended = true;
    }

    pub(super) fn position(&self) -> Position {
        self.state.splits.position()
    }

    /// When another split falls idle between two of these records of a keyed table, or the first of
    /// them after a pause in which that may have been so: what is waited for then is not what was
    /// before.
    pub(super) fn next_cut(&self, records: &Records) -> Option<i64> {
        self.keys.as_ref().and(self.event_time)?;
        let (first, last) = (records.first_at()?, records.last_at()?);
        let splits = &self.state.splits;
        let idle = splits.next_idle(&records.split, first, self.timing);
        let idle = idle.filter(|at| *at <= last);
        let pause = splits::pause(self.timing);
        let resumed = pause.and_then(|pause| records.resumed_at(pause));
        idle.into_iter().chain(resumed).min()
    }

    /// The watermark after everything that arrived until now, `from` a split at last, and whether
    /// it moved by silence or by rows.
    pub(super) fn watermark(
        &mut self,
        arrived_at: Timestamp,
        from: Option<&Split>,
    ) -> (Watermark, bool) {
        let before = self.state.splits.watermark(arrived_at);
        let idle = self.state.splits.mark_idle(arrived_at.0, self.timing);
        let raise = |splits: &mut Splits| splits.raise(arrived_at.0, self.timing, self.delay);
        let woken = self.event_time.is_some() && raise(&mut self.state.splits);
        let watermark = self.state.splits.watermark(arrived_at);
        let changed = idle || woken || watermark != before;
        let own = from.and_then(|split| self.state.splits.own(split));
        (Watermark { own, ..watermark }, changed)
    }

    pub(super) fn take(&mut self, records: Records) -> Result<Taken> {
        let mut dead = DeadRows::default();
        self.state.counts.arrived += records.count() as u64;
        let (records, columns, bad) = self.to_table(records, &mut dead)?;
        let verdict = self.judge(&records, &columns, &bad)?;
        if let Some(keys) = &mut self.keys {
            keys.meet(&columns, &records.split, &self.state.splits)?;
        }
        for (at, rejected) in &records.rejected {
            dead.push(DeadRow {
                arrived_at: *at,
                origin: Some((&records.split.0, rejected.offset)),
                record_time: rejected.record_time,
                stage: "source",
                reason: &rejected.reason,
                payload: &rejected.payload,
            });
        }
        self.state.counts.dead += dead.len();
        self.state.counts.future += verdict.future.len() as u64;
        for row in &verdict.future {
            let reason = "future: the event time is further ahead of the arrival than \
                          watermark.max-future-skew allows";
            bury(&mut dead, &records, *row, reason)?;
        }
        let taken = self.sort_out(&records, columns, &verdict)?;
        Ok(Taken {
            dead: dead.finish()?,
            ..taken
        })
    }

    /// The records that make rows of the table, the columns of those rows, and the other
    /// records, which are buried.
    fn to_table(
        &self,
        records: Records,
        dead: &mut DeadRows,
    ) -> Result<(Records, Vec<ArrayRef>, Vec<Bad>)> {
        let columns = match self.columns.columns.iter().all(|c| c.position().is_some()) {
            true => self.pick(&records),
            false => self.evaluate(&self.source(&records)?),
        };
        match columns {
            Ok(columns) => return Ok((records, columns, vec![])),
            Err(error) if error.kind() != ErrorKind::Invalid => return Err(error),
            Err(_) => {}
        }
        let source = self.source(&records)?;
        let mut bad = vec![];
        for row in 0..source.num_rows() {
            if let Err(error) = self.evaluate(&source.slice(row, 1)) {
                bury(dead, &records, row, &error.chain())?;
                bad.push(Bad {
                    row,
                    arrived_at: records.arrived_at[row],
                });
            }
        }
        let mut good = vec![true; source.num_rows()];
        for bad in &bad {
            good[bad.row] = false;
        }
        let good = BooleanArray::from(good);
        let columns = self.evaluate(&filter_record_batch(&source, &good)?)?;
        let records = Records {
            rows: filter_record_batch(&records.rows, &good)?,
            offsets: keep(&records.offsets, &good)?,
            record_times: match &records.record_times {
                Some(times) => Some(keep(times, &good)?),
                None => None,
            },
            arrived_at: keep(&records.arrived_at, &good)?,
            ..records
        };
        Ok((records, columns, bad))
    }

    /// The columns of the source and the arrival.
    fn source(&self, records: &Records) -> Result<RecordBatch> {
        let mut columns = records.rows.columns().to_vec();
        columns.push(records.arrivals());
        Ok(RecordBatch::try_new(
            Arc::clone(&self.source_schema),
            columns,
        )?)
    }

    /// The columns of a table that computes none of them.
    fn pick(&self, records: &Records) -> Result<Vec<ArrayRef>> {
        let columns = records.rows.columns();
        self.with_time(self.columns.collect(|column| {
            let column = column.position().and_then(|at| columns.get(at));
            Ok(column.map_or_else(|| records.arrivals(), Arc::clone))
        })?)
    }

    fn evaluate(&self, source: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.with_time(self.columns.evaluate(source)?)
    }

    fn with_time(&self, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        if let Some(time) = self.event_time
            && columns[time].null_count() > 0
        {
            return Err(Error::invalid("the event time is NULL"));
        }
        Ok(columns)
    }

    /// Goes through the records in the order of arrival.
    fn judge(&mut self, records: &Records, columns: &[ArrayRef], bad: &[Bad]) -> Result<Verdict> {
        let at = records.arrived_at.first().copied();
        let at = at
            .or(records.rejected.first().map(|(at, _)| *at))
            .unwrap_or_default();
        let at = bad.first().map_or(at, |bad| at.min(bad.arrived_at));
        let number = self.state.splits.number(&records.split, at);
        let mut run = self.state.splits.run(number, self.timing, self.delay);
        let skew = self
            .timing
            .max_future_skew
            .map(|skew| skew.as_nanos() as i64);
        let times = match self.event_time {
            Some(time) => Some(event_times(&columns[time])?),
            None => None,
        };
        // What nearly every call is: rows of which nothing needs to be said, taken in one pass.
        if bad.is_empty()
            && records.rejected.is_empty()
            && let (Some(times), Some(last)) = (times, records.last_at())
            && !any_ahead(records, times, skew)
            && run.all_on_time(times, at, last)
        {
            self.state.splits.read(number, records.next_offset);
            return Ok(Verdict::default());
        }
        let mut verdict = Verdict {
            late: vec![false; records.arrived_at.len()],
            future: vec![],
        };
        let mut bad = bad.iter().map(|bad| bad.arrived_at).peekable();
        for (row, at) in records.arrived_at.iter().enumerate() {
            while let Some(at) = bad.next_if(|bad| bad < at) {
                run.awake(at);
                run.raise();
            }
            run.awake(*at);
            if let Some(times) = times {
                let recorded = records
                    .record_times
                    .as_ref()
                    .map_or(*at, |times| times[row]);
                let latest = skew.map(|skew| recorded.min(*at).saturating_add(skew));
                match latest {
                    Some(latest) if times[row] > latest => verdict.future.push(row),
                    _ => verdict.late[row] = run.is_late(times[row]),
                }
                run.raise();
            }
        }
        for at in bad.chain(records.rejected.iter().map(|(at, _)| *at)) {
            run.awake(at);
            run.raise();
        }
        self.state.splits.read(number, records.next_offset);
        Ok(verdict)
    }

    /// Cuts the rows into those that enter the graph (late ones marked) and a copy of the late.
    fn sort_out(
        &mut self,
        records: &Records,
        mut columns: Vec<ArrayRef>,
        verdict: &Verdict,
    ) -> Result<Taken> {
        let rows = records.arrived_at.len();
        let late_count = verdict.late.iter().filter(|late| **late).count();
        let late = || BooleanArray::from(BooleanBuffer::from(verdict.late.as_slice()));
        let counts = &mut self.state.counts;
        counts.late += late_count as u64;
        counts.accepted += (rows - late_count - verdict.future.len()) as u64;
        let number = self.state.splits.number(&records.split, 0);
        let late_rows = match late_count {
            0 => None,
            _ => Some(filter_record_batch(
                &self.late_rows(records, &columns)?,
                &late(),
            )?),
        };
        columns.reserve_exact(3);
        columns.push(records.arrivals());
        match late_count {
            0 => columns.extend(self.on_time(number, rows)),
            _ => {
                columns.push(Arc::new(UInt32Array::from_value(number, rows)));
                columns.push(Arc::new(late()));
            }
        }
        let mut batch = RecordBatch::try_new(Arc::clone(&self.batch_schema), columns)?;
        if !verdict.future.is_empty() {
            let mut stays = vec![true; rows];
            verdict.future.iter().for_each(|row| stays[*row] = false);
            batch = filter_record_batch(&batch, &BooleanArray::from(stays))?;
        }
        Ok(Taken {
            rows: (batch.num_rows() > 0).then_some(batch),
            late: late_rows,
            dead: None,
        })
    }

    fn on_time(&mut self, split: u32, rows: usize) -> [ArrayRef; 2] {
        if let Some(last) = &self.on_time
            && (last.split, last.rows) == (split, rows)
        {
            return last.columns.clone();
        }
        let columns: [ArrayRef; 2] = [
            Arc::new(UInt32Array::from_value(split, rows)),
            Arc::new(BooleanArray::new(BooleanBuffer::new_unset(rows), None)),
        ];
        let kept = self.on_time.insert(OnTime {
            split,
            rows,
            columns,
        });
        kept.columns.clone()
    }

    fn late_rows(&self, records: &Records, columns: &[ArrayRef]) -> Result<RecordBatch> {
        let splits = vec![records.split.0.as_ref(); records.arrived_at.len()];
        let origin: [ArrayRef; 3] = [
            records.arrivals(),
            Arc::new(StringArray::from(splits)),
            Arc::new(Int64Array::new(records.offsets.clone(), None)),
        ];
        let columns = columns.iter().cloned().chain(origin).collect();
        Ok(RecordBatch::try_new(
            Arc::clone(&self.late_schema),
            columns,
        )?)
    }
}

/// Whether a row's event time is further ahead of its arrival than `skew` allows.
fn any_ahead(records: &Records, times: &[i64], skew: Option<i64>) -> bool {
    let Some(skew) = skew else {
        return false;
    };
    let ahead = |any: bool, time: i64, at: i64| any | (time > at.saturating_add(skew));
    let arrivals = times.iter().zip(records.arrived_at.iter());
    match &records.record_times {
        None => arrivals.fold(false, |any, (time, at)| ahead(any, *time, *at)),
        Some(recorded) => arrivals
            .zip(recorded.iter())
            .fold(false, |any, ((time, at), recorded)| {
                ahead(any, *time, *recorded.min(at))
            }),
    }
}

fn event_times(column: &ArrayRef) -> Result<&[i64]> {
    let times = column.as_primitive_opt::<TimestampNanosecondType>();
    let times = times.ok_or_else(|| Error::internal("the event-time column is no timestamp"))?;
    Ok(times.values())
}

fn keep(values: &ScalarBuffer<i64>, keep: &BooleanArray) -> Result<ScalarBuffer<i64>> {
    let values = Int64Array::new(values.clone(), None);
    Ok(filter(&values, keep)?
        .as_primitive::<Int64Type>()
        .values()
        .clone())
}

fn bury(dead: &mut DeadRows, records: &Records, row: usize, reason: &str) -> Result<()> {
    dead.push(DeadRow {
        arrived_at: records.arrived_at[row],
        origin: Some((&records.split.0, records.offsets[row])),
        record_time: records.record_times.as_ref().map(|times| times[row]),
        stage: "intake",
        reason,
        payload: &row_as_json(&records.rows.slice(row, 1))?,
    });
    Ok(())
}
