//! The loop around a sink: publish in order, and patience.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::source_loop::Backoff;
use super::status::SharedStatus;
use crate::error::{ErrorKind, Result};
use crate::sink::{Epoch, Sink};

/// Rows of an epoch for one sink; empty where it has none, so that it hears of every epoch.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) epoch: Epoch,
    pub(super) rows: Vec<RecordBatch>,
}

/// One sink with what it needs to be patient.
pub(super) struct SinkLoop {
    /// Position among the job's outputs.
    pub(super) output: usize,
    pub(super) sink: Box<dyn Sink>,
    pub(super) status: SharedStatus,
    /// Where the epochs that are out are noted, by output.
    pub(super) epochs: Published,
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
    /// Publishes until the channel closes, then puts out what the sink holds back.
    pub(super) async fn run(mut self, mut publications: mpsc::Receiver<Publication>) -> Result<()> {
        let mut last_with_rows = Epoch(0);
        let mut last = Epoch(0);
        while let Some(Publication { epoch, rows }) = publications.recv().await {
            last = epoch;
            if !rows.is_empty() {
                last_with_rows = epoch;
            }
            self.publish(epoch, &rows).await?;
            self.note(last_with_rows, last).await?;
        }
        let mut backoff = Backoff::default();
        while let Err(error) = self.sink.flush().await {
            self.be_patient(error, &mut backoff).await?;
        }
        self.note(last_with_rows, last).await
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        let mut backoff = Backoff::default();
        while let Err(error) = self.sink.publish(epoch, rows).await {
            self.be_patient(error, &mut backoff).await?;
        }
        if backoff.failed() {
            self.waiting(None);
        }
        Ok(())
    }

    /// The last epoch that is out, once the sink answers.
    pub(super) async fn published(&mut self) -> Result<Epoch> {
        let mut backoff = Backoff::default();
        loop {
            match self.sink.published().await {
                Ok(published) => {
                    self.waiting(None);
                    return Ok(published);
                }
                Err(error) => self.be_patient(error, &mut backoff).await?,
            }
        }
    }

    /// A sink that has put out all its rows has published every epoch it heard of.
    async fn note(&mut self, last_with_rows: Epoch, last: Epoch) -> Result<()> {
        let published = self.published().await?;
        let published = if published >= last_with_rows {
            last
        } else {
            published
        };
        self.epochs.set(self.output, published);
        if let Some(target) = self.status.lock().targets.get_mut(self.output) {
            target.published = published;
        }
        Ok(())
    }

    async fn be_patient(&mut self, error: crate::Error, backoff: &mut Backoff) -> Result<()> {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        self.waiting(Some(error.chain()));
        backoff.wait().await;
        Ok(())
    }

    fn waiting(&self, reason: Option<String>) {
        let mut status = self.status.lock();
        let Some(target) = status.targets.get_mut(self.output) else {
            return;
        };
        match (&target.waiting, &reason) {
            (None, Some(reason)) => tracing::warn!(table = target.name, "waiting: {reason}"),
            (Some(_), None) => tracing::info!(table = target.name, "rows are taken again"),
            _ => {}
        }
        target.waiting = reason;
    }
}
