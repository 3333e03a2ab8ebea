//! The loop around a source: splits, seek, poll.

use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::patience::{Patience, patiently};
use crate::error::{Error, Result};
use crate::source::{Polled, Position, Source, Split};

/// What a source loop tells the shard.
#[derive(Debug)]
pub(super) enum Event {
    Splits { table: usize, splits: Vec<Split> },
    Polled { table: usize, polled: Polled },
    Ended { table: usize },
    Failed(Error),
}

/// One source with what it needs to be patient.
pub(super) struct SourceLoop {
    pub(super) table: usize,
    pub(super) source: Box<dyn Source>,
    pub(super) position: Position,
    pub(super) patience: Patience,
}

impl SourceLoop {
    /// Runs until the source ends, fails for good, `halt` turns true, or the job is to stop.
    pub(super) async fn run(
        mut self,
        events: mpsc::Sender<Event>,
        mut halt: watch::Receiver<bool>,
    ) {
        let stop = self.patience.stop();
        let outcome = tokio::select! {
            biased;
            () = stop.wait() => return,
            // A job that is gone halts its sources as well.
            _ = halt.wait_for(|halt| *halt) => return,
            outcome = self.read(&events) => outcome,
        };
        let event = match outcome {
            Ok(true) => Event::Ended { table: self.table },
            Ok(false) => return,
            Err(error) => Event::Failed(error),
        };
        // A shard that is gone needs no news.
        let _ = events.send(event).await;
    }

    /// Reads the source to its end; says whether it came there.
    async fn read(&mut self, events: &mpsc::Sender<Event>) -> Result<bool> {
        let table = self.table;
        let Some(splits) = self.open().await? else {
            return Ok(false);
        };
        if events.send(Event::Splits { table, splits }).await.is_err() {
            return Ok(false);
        }
        loop {
            let Some(polled) = patiently!(self.patience, self.source.next()) else {
                return Ok(false);
            };
            let Some(polled) = polled else {
                return Ok(true);
            };
            if !self.hand_over(polled, events).await {
                return Ok(false);
            }
        }
    }

    /// Hands rows to the shard, waiting for room; `false` where the shard is gone.
    async fn hand_over(&mut self, polled: Polled, events: &mpsc::Sender<Event>) -> bool {
        let table = self.table;
        let bytes = bytes(&polled.rows);
        let event = Event::Polled { table, polled };
        let blocked = match events.try_send(event) {
            Ok(()) => Duration::ZERO,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(event)) => {
                let since = Instant::now();
                if events.send(event).await.is_err() {
                    return false;
                }
                since.elapsed()
            }
        };
        if let Some(status) = self.patience.status().lock().tables.get_mut(table) {
            status.bytes += bytes;
            status.blocked += blocked;
        }
        true
    }

    /// The splits, once the source answers; it then stands at the position. `None` where the job
    /// is to stop first.
    pub(super) async fn open(&mut self) -> Result<Option<Vec<Split>>> {
        let opened = patiently!(self.patience, async {
            let splits = self.source.splits().await?;
            if !self.position.is_empty() {
                self.source.seek(&self.position).await?;
            }
            Ok(splits)
        });
        Ok(opened)
    }
}

/// Bytes of rows in memory, without what their buffers hold besides.
fn bytes(rows: &RecordBatch) -> u64 {
    let columns = rows.columns().iter();
    let sizes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
    sizes.sum::<usize>() as u64
}
