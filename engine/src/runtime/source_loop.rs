//! The loop around a source: splits, seek, poll, and patience.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::job::stopped;
use super::status::SharedStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Polled, Position, Source, Split};

/// What a source loop tells the shard.
#[derive(Debug)]
pub(super) enum Event {
    Splits { table: usize, splits: Vec<Split> },
    Polled { table: usize, polled: Polled },
    Ended { table: usize },
    Failed(Error),
}

/// Waits longer after each failure: 0.1 s, 0.2 s, … up to 10 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) async fn wait(&mut self) {
        let wait = Duration::from_millis(100 << self.failures.min(7));
        self.failures += 1;
        tokio::time::sleep(wait.min(Duration::from_secs(10))).await;
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failed(&self) -> bool {
        self.failures > 0
    }
}

/// One source with what it needs to be patient.
pub(super) struct SourceLoop {
    pub(super) table: usize,
    pub(super) source: Box<dyn Source>,
    pub(super) position: Position,
    pub(super) status: SharedStatus,
}

impl SourceLoop {
    /// Runs until the source ends, fails for good, or `stop` turns true.
    pub(super) async fn run(mut self, events: mpsc::Sender<Event>, stop: watch::Receiver<bool>) {
        let outcome = tokio::select! {
            outcome = self.read(&events) => outcome,
            () = stopped(stop) => return,
        };
        let event = match outcome {
            Ok(()) => Event::Ended { table: self.table },
            Err(error) => Event::Failed(error),
        };
        // A shard that is gone needs no news.
        let _ = events.send(event).await;
    }

    async fn read(&mut self, events: &mpsc::Sender<Event>) -> Result<()> {
        let splits = self.open().await?;
        let table = self.table;
        if events.send(Event::Splits { table, splits }).await.is_err() {
            return Ok(());
        }
        let mut backoff = Backoff::default();
        loop {
            match self.source.next().await {
                Ok(Some(polled)) => {
                    self.waiting(None);
                    backoff.reset();
                    if events.send(Event::Polled { table, polled }).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => self.be_patient(error, &mut backoff).await?,
            }
        }
    }

    /// The splits, once the source answers; it then stands at the position.
    pub(super) async fn open(&mut self) -> Result<Vec<Split>> {
        let mut backoff = Backoff::default();
        loop {
            let opened = async {
                let splits = self.source.splits().await?;
                if !self.position.is_empty() {
                    self.source.seek(&self.position).await?;
                }
                Ok(splits)
            };
            match opened.await {
                Ok(splits) => {
                    self.waiting(None);
                    return Ok(splits);
                }
                Err(error) => self.be_patient(error, &mut backoff).await?,
            }
        }
    }

    /// Waits where the source is unavailable; passes other errors on.
    pub(super) async fn be_patient(&mut self, error: Error, backoff: &mut Backoff) -> Result<()> {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        self.waiting(Some(error.chain()));
        backoff.wait().await;
        Ok(())
    }

    /// Notes why nothing comes; logs each reason once.
    fn waiting(&self, reason: Option<String>) {
        let mut status = self.status.lock();
        let table = &mut status.tables[self.table];
        match (&table.waiting, &reason) {
            (None, Some(reason)) => tracing::warn!(table = table.name, "waiting: {reason}"),
            (Some(_), None) => tracing::info!(table = table.name, "rows come again"),
            _ => {}
        }
        table.waiting = reason;
    }
}
