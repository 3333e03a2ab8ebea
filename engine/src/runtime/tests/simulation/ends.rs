//! Where the rows of a simulated job come from and where they go: both outlive it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::take_record_batch;
use arrow::datatypes::Float64Type;

use super::executor::{below, note, now, process};
use super::faults::{Place, after, before, clock_error};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sink::{Emit, Epoch, Sink};
use crate::source::{END, Polled, Position, Rejected, Source, Split};
use crate::time::Timestamp;

/// The clock of the world, with its errors. No two processes see the same instant.
#[derive(Debug)]
pub(super) struct WorldClock;

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let instant = now().as_nanos() as i64 + process() as i64;
        Timestamp(1_000_000_000 + instant + clock_error())
    }
}

/// A split: rows with their offsets, which have gaps; every seventeenth is not a row.
#[derive(Debug)]
struct Strip {
    split: Split,
    rows: RecordBatch,
}

fn offset(row: usize) -> i64 {
    (row + row / 7) as i64
}

fn is_bad(row: usize) -> bool {
    row % 17 == 16
}

/// Some rows lack what the graph needs of them.
fn with_nulls(rows: &RecordBatch) -> RecordBatch {
    let prices = rows.column(2).as_primitive::<Float64Type>().iter();
    let prices = prices.enumerate();
    let prices = prices.map(|(row, price)| price.filter(|_| row % 23 != 9));
    let mut columns = rows.columns().to_vec();
    columns[2] = Arc::new(prices.collect::<Float64Array>());
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

/// What there is to read.
#[derive(Debug, Clone)]
pub(super) struct Feed(Arc<Vec<Strip>>);

impl Feed {
    /// Splits of so many rows.
    pub(super) fn new(lengths: &[i64]) -> Self {
        let strip = |(number, length): (usize, &i64)| Strip {
            split: Split::new(&format!("p{number}")),
            rows: with_nulls(&super::super::rows_of(number, *length)),
        };
        Self(Arc::new(lengths.iter().enumerate().map(strip).collect()))
    }

    /// How many records there are, and how many of them are no rows.
    pub(super) fn counts(&self) -> (u64, u64) {
        let lengths = self.0.iter().map(|strip| strip.rows.num_rows());
        let bad = lengths
            .clone()
            .map(|rows| (0..rows).filter(|row| is_bad(*row)).count());
        (lengths.sum::<usize>() as u64, bad.sum::<usize>() as u64)
    }

    pub(super) fn source(&self) -> Box<dyn Source> {
        Box::new(Reading {
            feed: self.clone(),
            position: Position::new(),
        })
    }
}

struct Reading {
    feed: Feed,
    position: Position,
}

impl Reading {
    /// The first row of a split that is not read.
    fn next_row(&self, strip: &Strip) -> usize {
        let next = self.position.get(&strip.split).copied().unwrap_or(0);
        let rows = strip.rows.num_rows();
        (0..rows).find(|row| offset(*row) >= next).unwrap_or(rows)
    }

    fn poll(strip: &Strip, from: usize, to: usize) -> Polled {
        let (good, bad): (Vec<usize>, Vec<usize>) = (from..to).partition(|row| !is_bad(*row));
        let rows = Int64Array::from_iter_values(good.iter().map(|row| *row as i64));
        let rejected = |row: &usize| Rejected {
            offset: offset(*row),
            record_time: None,
            payload: format!("bad {row}").into(),
            reason: "no row".to_owned(),
        };
        Polled {
            split: strip.split.clone(),
            rows: take_record_batch(&strip.rows, &rows).unwrap(),
            offsets: good.iter().map(|row| offset(*row)).collect(),
            record_times: None,
            rejected: bad.iter().map(rejected).collect(),
            next_offset: to.checked_sub(1).map_or(0, |last| offset(last) + 1),
        }
    }
}

pub(super) fn away(_: ()) -> Error {
    Error::unavailable("come back later")
}

#[async_trait::async_trait]
impl Source for Reading {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        before(Place::Source).await.map_err(away)?;
        Ok(self
            .feed
            .0
            .iter()
            .map(|strip| strip.split.clone())
            .collect())
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        before(Place::Source).await.map_err(away)?;
        self.position = to.clone();
        after(Place::Source).await.map_err(away)
    }

    /// Nothing is waited for once the position has moved: what was handed over must not be lost.
    async fn next(&mut self) -> Result<Option<Polled>> {
        before(Place::Source).await.map_err(away)?;
        let strips = &self.feed.0;
        let goes_on = |strip: &&Strip| self.position.get(&strip.split) != Some(&END);
        let open: Vec<&Strip> = strips.iter().filter(goes_on).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let strip = open[below(open.len() as u64) as usize];
        let from = self.next_row(strip);
        let to = (from + below(14) as usize).min(strip.rows.num_rows());
        let mut polled = Self::poll(strip, from, to);
        if from == strip.rows.num_rows() {
            polled.next_offset = END;
        }
        self.position
            .insert(polled.split.clone(), polled.next_offset);
        Ok(Some(polled))
    }

    fn repeatable(&self) -> bool {
        true
    }
}

type Epochs = BTreeMap<Epoch, Vec<RecordBatch>>;

/// What is published, for good.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Epochs>>);

impl Ledger {
    pub(super) fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap().values().flatten().cloned().collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.rows().iter().map(|rows| rows.num_rows() as u64).sum()
    }

    /// What of it was out at an epoch.
    pub(super) fn back_at(&self, epoch: Epoch) -> Self {
        let mut epochs = self.0.lock().unwrap().clone();
        epochs.retain(|of, _| *of <= epoch);
        Self(Arc::new(Mutex::new(epochs)))
    }

    fn last(&self) -> Epoch {
        let epochs = self.0.lock().unwrap();
        epochs.keys().next_back().copied().unwrap_or_default()
    }

    /// A sink that puts its rows out when it holds those of so many epochs, all at once.
    pub(super) fn sink(&self, name: &'static str, roll: u64) -> Box<dyn Sink> {
        Box::new(LedgerSink {
            name,
            ledger: self.clone(),
            roll: roll as usize,
            held: Epochs::new(),
        })
    }
}

struct LedgerSink {
    name: &'static str,
    ledger: Ledger,
    roll: usize,
    held: Epochs,
}

impl LedgerSink {
    fn put_out(&mut self) {
        if let Some(last) = self.held.keys().next_back() {
            note(|| format!("{} is out up to epoch {last}", self.name));
        }
        let mut out = self.ledger.0.lock().unwrap();
        for (epoch, rows) in std::mem::take(&mut self.held) {
            // One who was replaced may have been there first.
            let before = out.entry(epoch).or_insert_with(|| rows.clone());
            assert_eq!(*before, rows, "{} of epoch {epoch} changed", self.name);
        }
    }

    fn take(&mut self, epoch: Epoch, rows: &[RecordBatch]) {
        let out = self.ledger.0.lock().unwrap().get(&epoch).cloned();
        if let Some(before) = out.or(self.held.get(&epoch).cloned()) {
            assert_eq!(before, rows, "{} of epoch {epoch} changed", self.name);
            return;
        }
        let last = self.held.keys().next_back().copied();
        let last = last.unwrap_or_default().max(self.ledger.last());
        if rows.is_empty() {
            return;
        }
        assert!(epoch > last, "{}: epoch {epoch} after {last}", self.name);
        self.held.insert(epoch, rows.to_vec());
    }
}

#[async_trait::async_trait]
impl Sink for LedgerSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        before(Place::Sink).await.map_err(away)?;
        self.take(epoch, rows);
        if self.held.len() >= self.roll {
            self.put_out();
        }
        after(Place::Sink).await.map_err(away)
    }

    async fn published(&mut self) -> Result<Epoch> {
        before(Place::Sink).await.map_err(away)?;
        Ok(self.ledger.last())
    }

    async fn flush(&mut self) -> Result<()> {
        before(Place::Sink).await.map_err(away)?;
        self.put_out();
        after(Place::Sink).await.map_err(away)
    }
}

/// What was sent at once, again where it was sent again.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire(Arc<Mutex<Vec<RecordBatch>>>);

impl Wire {
    pub(super) fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(WireSink(self.clone()))
    }
}

struct WireSink(Wire);

#[async_trait::async_trait]
impl Sink for WireSink {
    fn emit(&self) -> Emit {
        Emit::Now
    }

    async fn publish(&mut self, _: Epoch, rows: &[RecordBatch]) -> Result<()> {
        before(Place::Sink).await.map_err(away)?;
        self.0.0.lock().unwrap().extend(rows.iter().cloned());
        after(Place::Sink).await.map_err(away)
    }

    async fn published(&mut self) -> Result<Epoch> {
        before(Place::Sink).await.map_err(away)?;
        Ok(Epoch(u64::MAX))
    }

    async fn flush(&mut self) -> Result<()> {
        before(Place::Sink).await.map_err(away)
    }
}
