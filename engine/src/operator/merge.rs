//! What `order` and `union` share: rows held back and let go in the order (time, rank, arrival).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};

use crate::error::{Error, Result};
use crate::operator::Output;

/// Rows out in one batch at most.
const BATCH_ROWS: usize = 8_192;

/// Held rows as sorted runs, one per batch, merged by a heap over the runs' next rows. Rows in
/// order that can go at once pass through without being copied.
#[derive(Debug, Default)]
pub(super) struct MergeBuffer {
    /// The runs, the first of them numbered `first`; `None` once it is used up.
    runs: VecDeque<Option<Run>>,
    first: u64,
    heap: BinaryHeap<Reverse<(i64, u32, u64)>>,
    picked: Picked,
}

#[derive(Debug)]
struct Run {
    rows: RecordBatch,
    times: ScalarBuffer<i64>,
    ranks: Ranks,
    /// Row numbers in order; `None` where the rows are in order as they are.
    order: Option<Vec<u32>>,
    next: usize,
    picked: Option<(u64, usize)>,
}

/// What breaks ties of time.
#[derive(Debug, Clone)]
pub(super) enum Ranks {
    /// All rows have this rank.
    All(u32),
    /// One per row.
    Each(ScalarBuffer<u32>),
}

impl Ranks {
    fn of(&self, row: usize) -> u32 {
        match self {
            Self::All(rank) => *rank,
            Self::Each(ranks) => ranks[row],
        }
    }
}

impl Run {
    fn new(rows: RecordBatch, time: usize, ranks: Ranks) -> Result<Self> {
        let times = rows
            .column(time)
            .as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("the time column is not a timestamp"))?;
        let times = times.values().clone();
        let key = |row: usize| (times[row], ranks.of(row));
        let sorted = match &ranks {
            Ranks::All(_) => times.is_sorted(),
            Ranks::Each(_) => (1..times.len()).all(|row| key(row - 1) <= key(row)),
        };
        let order = (!sorted).then(|| {
            let mut order: Vec<u32> = (0..times.len() as u32).collect();
            order.sort_by_key(|row| key(*row as usize));
            order
        });
        Ok(Self {
            rows,
            times,
            ranks,
            order,
            next: 0,
            picked: None,
        })
    }

    fn row(&self, i: usize) -> usize {
        self.order.as_ref().map_or(i, |order| order[i] as usize)
    }

    fn key(&self, i: usize) -> (i64, u32) {
        let row = self.row(i);
        (self.times[row], self.ranks.of(row))
    }

    /// Whether rows up to `end` are all of them, in order as they are.
    fn is_whole(&self, end: usize) -> bool {
        self.order.is_none() && self.next == 0 && end == self.times.len()
    }

    /// The first row from `next` on for which `goes` is false; it is true for all before.
    fn end(&self, goes: impl Fn((i64, u32)) -> bool) -> usize {
        let (mut low, mut high) = (self.next, self.times.len());
        while low < high {
            let middle = low.midpoint(high);
            match goes(self.key(middle)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

impl MergeBuffer {
    /// Holds the rows.
    pub(super) fn push(&mut self, rows: RecordBatch, time: usize, ranks: Ranks) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let run = Run::new(rows, time, ranks)?;
        let (time, rank) = run.key(0);
        self.heap
            .push(Reverse((time, rank, self.first + self.runs.len() as u64)));
        self.runs.push_back(Some(run));
        Ok(())
    }

    /// Whether `goes` lets the first row go.
    pub(super) fn is_ready(&self, goes: impl Fn(i64, u32) -> bool) -> bool {
        let first = self.heap.peek();
        first.is_some_and(|Reverse((time, rank, _))| goes(*time, *rank))
    }

    /// Emits, in order, the rows whose time and rank `goes` lets go: all up to some point.
    pub(super) fn release(
        &mut self,
        goes: impl Fn(i64, u32) -> bool,
        out: &mut Output,
    ) -> Result<()> {
        while let Some(Reverse((time, rank, number))) = self.heap.peek().copied() {
            if !goes(time, rank) {
                break;
            }
            self.heap.pop();
            let next = self.heap.peek().map(|Reverse(next)| *next);
            let slot = (number - self.first) as usize;
            let Some(run) = self.runs[slot].as_mut() else {
                return Err(Error::internal("a used-up run is still in the heap"));
            };
            let before = |key: (i64, u32)| next.is_none_or(|(t, r, n)| (key, number) < ((t, r), n));
            let end = run.end(|key| goes(key.0, key.1) && before(key));
            if run.is_whole(end) && self.picked.rows.is_empty() {
                if let Some(run) = self.runs[slot].take() {
                    out.emit(run.rows);
                }
                continue;
            }
            self.picked.add(run, end, out)?;
            run.next = end;
            if end < run.times.len() {
                let (time, rank) = run.key(end);
                self.heap.push(Reverse((time, rank, number)));
            } else {
                self.runs[slot] = None;
            }
        }
        self.picked.flush(out)?;
        while let Some(None) = self.runs.front() {
            self.runs.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// The held rows of a rank, or of all, in order; they stay held.
    pub(super) fn held(&self, schema: &SchemaRef, rank: Option<u32>) -> Result<RecordBatch> {
        let runs: Vec<&Run> = self.runs.iter().flatten().collect();
        let mut rows = vec![];
        for (number, run) in runs.iter().enumerate() {
            rows.extend((run.next..run.times.len()).map(|i| (run.key(i), number, run.row(i))));
        }
        rows.retain(|(key, ..)| rank.is_none_or(|rank| key.1 == rank));
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        rows.sort_unstable();
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(_, number, row)| (number, row))
            .collect();
        let batches: Vec<_> = runs.iter().map(|run| &run.rows).collect();
        Ok(interleave_record_batch(&batches, &rows)?)
    }
}

/// Rows on their way out, gathered into batches. A run knows its place in the gathering that is
/// under way by `picked`.
#[derive(Debug, Default)]
struct Picked {
    gathering: u64,
    batches: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
}

impl Picked {
    /// Picks rows `next..end` of the run.
    fn add(&mut self, run: &mut Run, end: usize, out: &mut Output) -> Result<()> {
        // Copying a few rows beats a batch of its own for what follows, many rows do not.
        if run.order.is_none() && end - run.next >= BATCH_ROWS / 8 {
            self.flush(out)?;
            out.emit(run.rows.slice(run.next, end - run.next));
            return Ok(());
        }
        if run
            .picked
            .is_none_or(|(gathering, _)| gathering != self.gathering)
        {
            run.picked = Some((self.gathering, self.batches.len()));
            self.batches.push(run.rows.clone());
        }
        let place = run.picked.map_or(0, |(_, place)| place);
        self.rows
            .extend((run.next..end).map(|i| (place, run.row(i))));
        if self.rows.len() >= BATCH_ROWS {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if !self.rows.is_empty() {
            let batches: Vec<_> = self.batches.iter().collect();
            out.emit(interleave_record_batch(&batches, &self.rows)?);
            self.gathering += 1;
            self.batches.clear();
            self.rows.clear();
        }
        Ok(())
    }
}
