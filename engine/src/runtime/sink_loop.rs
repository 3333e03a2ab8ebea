//! The loop around a sink: publish in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, oneshot};

use super::patience::{Patience, patiently};
use super::status::SharedStatus;
use crate::error::Result;
use crate::sink::{Epoch, Sink};

/// What a sink is handed.
#[derive(Debug)]
pub(super) enum Publication {
    /// Rows of an epoch. A sink that publishes after the commit hears of every epoch once, with
    /// no rows where it has none; one that takes rows at once gets them as they come.
    Rows {
        epoch: Epoch,
        rows: Vec<RecordBatch>,
    },
    /// A sink that takes rows at once has been given all rows of an epoch. It is answered once
    /// they are written; where they never are, the sender is dropped.
    End {
        epoch: Epoch,
        written: oneshot::Sender<()>,
    },
    /// A sink is to put out what it holds back, and answers when it has; where it never has, the
    /// sender is dropped.
    PutOut { out: oneshot::Sender<()> },
}

/// One sink with what it needs to be patient.
pub(super) struct SinkLoop {
    /// Position among the job's outputs.
    pub(super) output: usize,
    pub(super) sink: Box<dyn Sink>,
    /// Whether it is given rows as they come, and the end of each epoch.
    pub(super) at_once: bool,
    pub(super) status: SharedStatus,
    pub(super) patience: Patience,
    /// Where the epochs that are out are noted, by output.
    pub(super) epochs: Published,
    /// What becomes of rows that the sink does not take before a stop.
    pub(super) left: &'static str,
}

/// Per output, the last epoch that is out for good.
#[derive(Debug, Clone)]
pub(super) struct Published(Arc<Vec<AtomicU64>>);

impl Published {
    pub(super) fn new(epochs: &[Epoch]) -> Self {
        Self(Arc::new(
            epochs.iter().map(|epoch| AtomicU64::new(epoch.0)).collect(),
        ))
    }

    pub(super) fn set(&self, output: usize, epoch: Epoch) {
        self.0[output].fetch_max(epoch.0, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> Vec<Epoch> {
        self.0
            .iter()
            .map(|epoch| Epoch(epoch.load(Ordering::SeqCst)))
            .collect()
    }
}

impl SinkLoop {
    /// Publishes until the channel closes, then puts out what the sink holds back. Where the
    /// sink does not answer and the job is to stop, the rest stays unpublished, and the status
    /// says so.
    pub(super) async fn run(mut self, publications: mpsc::Receiver<Publication>) -> Result<()> {
        if self.take(publications).await?.is_none() {
            let (name, reason) = (self.patience.name(), self.patience.reason());
            let note = format!("{name} did not take all its rows ({reason}): {}", self.left);
            self.status.leave(note);
        }
        Ok(())
    }

    async fn take(&mut self, mut publications: mpsc::Receiver<Publication>) -> Result<Option<()>> {
        let mut last_with_rows = Epoch(0);
        let mut last = Epoch(0);
        while let Some(publication) = publications.recv().await {
            match publication {
                Publication::Rows { epoch, rows } => {
                    if !rows.is_empty() {
                        last_with_rows = epoch;
                    }
                    let published = patiently!(self.patience, self.sink.publish(epoch, &rows));
                    if published.is_none() {
                        return Ok(None);
                    }
                    last = epoch;
                    if self.at_once {
                        continue;
                    }
                }
                Publication::End { epoch, written } => {
                    last = epoch;
                    // A committer that is gone needs no news.
                    let _ = written.send(());
                }
                Publication::PutOut { out } => {
                    if patiently!(self.patience, self.sink.flush()).is_none() {
                        return Ok(None);
                    }
                    // Who asked may have gone.
                    let _ = out.send(());
                }
            }
            if self.note(last_with_rows, last).await?.is_none() {
                return Ok(None);
            }
        }
        if patiently!(self.patience, self.sink.flush()).is_none() {
            return Ok(None);
        }
        self.note(last_with_rows, last).await
    }

    /// The last epoch that is out, once the sink answers; `None` where the job is to stop first.
    pub(super) async fn published(&mut self) -> Result<Option<Epoch>> {
        Ok(patiently!(self.patience, self.sink.published()))
    }

    /// A sink that has put out all its rows has published every epoch it heard of.
    async fn note(&mut self, last_with_rows: Epoch, last: Epoch) -> Result<Option<()>> {
        let Some(published) = self.published().await? else {
            return Ok(None);
        };
        let published = if published >= last_with_rows {
            last
        } else {
            published
        };
        self.epochs.set(self.output, published);
        if let Some(target) = self.status.lock().targets.get_mut(self.output) {
            target.published = published;
        }
        Ok(Some(()))
    }
}
