//! A source and a sink for tests: rows from memory, rows to memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::error::Result;
use crate::sink::{Emit, Epoch, Sink};
use crate::source::{Polled, Position, Rejected, Source, Split};

/// Hands over rows of memory, split by split in turns, so many at a poll.
#[derive(Debug, Clone)]
pub struct ScriptedSource {
    splits: Vec<(Split, RecordBatch)>,
    position: Position,
    turn: usize,
    poll_rows: usize,
    pause: Duration,
    /// For a source that cannot be asked again: how far it is, for all its clones.
    gone: Option<Arc<Mutex<Position>>>,
    /// Offsets that are handed over as rejected instead.
    bad: Vec<i64>,
}

impl ScriptedSource {
    /// The rows of each split; offsets count from zero.
    #[must_use]
    pub fn new(splits: Vec<(&str, RecordBatch)>, poll_rows: usize) -> Self {
        let splits: Vec<_> = splits
            .into_iter()
            .map(|(s, rows)| (Split::new(s), rows))
            .collect();
        Self {
            splits,
            position: Position::new(),
            turn: 0,
            poll_rows,
            pause: Duration::ZERO,
            gone: None,
            bad: vec![],
        }
    }

    /// Waits between polls.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// A source that cannot be asked again: what it or a clone handed over is gone.
    #[must_use]
    pub fn not_repeatable(mut self) -> Self {
        self.gone = Some(Arc::default());
        self
    }

    /// Rejects the rows at these offsets, on every split.
    #[must_use]
    pub fn rejecting(mut self, offsets: Vec<i64>) -> Self {
        self.bad = offsets;
        self
    }

    fn poll(&mut self, split: usize, from: i64) -> Polled {
        let (name, rows) = &self.splits[split];
        let to = (from + self.poll_rows as i64).min(rows.num_rows() as i64);
        let good: Vec<i64> = (from..to)
            .filter(|offset| !self.bad.contains(offset))
            .collect();
        let bad = (from..to).filter(|offset| self.bad.contains(offset));
        let indices = arrow::array::Int64Array::from(good.clone());
        let taken = arrow::compute::take_record_batch(rows, &indices);
        Polled {
            split: name.clone(),
            rows: taken.unwrap_or_else(|_| RecordBatch::new_empty(rows.schema())),
            offsets: good.into(),
            record_times: None,
            rejected: bad.map(rejected).collect(),
            next_offset: to,
        }
    }
}

fn rejected(offset: i64) -> Rejected {
    let payload = format!("bad {offset}").into();
    Rejected {
        offset,
        record_time: None,
        payload,
        reason: "scripted".into(),
    }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        Ok(self.splits.iter().map(|(split, _)| split.clone()).collect())
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        if self.gone.is_none() {
            self.position = to.clone();
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        let gone = self.gone.clone();
        let mut gone = gone
            .as_ref()
            .map(|gone| gone.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(gone) = &gone {
            self.position.clone_from(gone);
        }
        for _ in 0..self.splits.len() {
            let split = self.turn % self.splits.len();
            self.turn += 1;
            let (name, rows) = &self.splits[split];
            let from = self.position.get(name).copied().unwrap_or(0);
            if from < rows.num_rows() as i64 {
                let polled = self.poll(split, from);
                self.position
                    .insert(polled.split.clone(), polled.next_offset);
                if let Some(gone) = &mut gone {
                    gone.clone_from(&self.position);
                }
                return Ok(Some(polled));
            }
        }
        Ok(None)
    }

    fn repeatable(&self) -> bool {
        self.gone.is_none()
    }
}

/// What sinks received; outlives the jobs that wrote it, as a file would.
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Mutex<BTreeMap<Epoch, Vec<RecordBatch>>>>);

impl Collected {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Epoch, Vec<RecordBatch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rows, in epoch order.
    #[must_use]
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.lock().values().flatten().cloned().collect()
    }

    /// The rows of every epoch that was published, also of those without any.
    #[must_use]
    pub fn by_epoch(&self) -> BTreeMap<Epoch, Vec<RecordBatch>> {
        self.lock().clone()
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows().iter().map(RecordBatch::num_rows).sum()
    }

    /// A sink that adds to this.
    #[must_use]
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(CollectingSink(self.clone()))
    }
}

#[derive(Debug)]
struct CollectingSink(Collected);

#[async_trait]
impl Sink for CollectingSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        self.0.lock().entry(epoch).or_insert_with(|| rows.to_vec());
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        Ok(self
            .0
            .lock()
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
