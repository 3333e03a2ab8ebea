//! Giving dead rows back to a running job.
//!
//! The rows go to the shard between two arrivals and are answered for once their epoch is
//! committed. A kill before that leaves everything as if nobody had asked; one after it finds in
//! the log that they are in. Either way the same request may be made again.

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, oneshot, watch};

use super::committed::Committed;
use super::committer::OutputNumbers;
use super::savepoint::{Savepointer, Wish};
use super::shard_loop::ShardLoop;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::intake::{Arrival, Redrive, Redriven, recording};
use crate::log::Log;
use crate::sink::Epoch;

/// What became of rows that were to be given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that arrived again.
    pub redriven: usize,
    /// Rows that had been given back before.
    pub known: usize,
    /// Rows that were not given back: nothing says which split they came from, and the table's keys
    /// have one split each.
    pub lost: usize,
    /// The epoch that they came in with, which is committed; 0 where none came in.
    pub epoch: Epoch,
}

/// What somebody asks of the shard.
#[derive(Debug)]
pub(super) enum Request {
    /// Give dead rows back.
    Redrive {
        redrive: Redrive,
        answer: oneshot::Sender<Result<Outcome>>,
    },
    /// End the epoch with a savepoint.
    Savepoint(Wish),
}

/// Gives dead rows back to a job, for as long as it runs.
#[derive(Debug, Clone)]
pub struct Redriver {
    requests: mpsc::Sender<Request>,
    committed: watch::Receiver<Committed>,
}

impl Redriver {
    /// A redriver and the end that the shard takes requests from.
    pub(super) fn new(committed: watch::Receiver<Committed>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(1);
        let redriver = Self {
            requests,
            committed,
        };
        (redriver, receiver)
    }

    /// Who asks the same job for savepoints.
    #[must_use]
    pub fn savepointer(&self) -> Savepointer {
        Savepointer::new(self.requests.clone())
    }

    /// Gives rows back, and answers once they are committed.
    pub async fn redrive(&self, redrive: Redrive) -> Result<Outcome> {
        let ended = || {
            Error::unavailable(
                "the job ended before the rows were committed: ask again once it runs; what came \
                 in does not come in twice",
            )
        };
        let (answer, answered) = oneshot::channel();
        let request = Request::Redrive { redrive, answer };
        self.requests.send(request).await.map_err(|_| ended())?;
        let outcome = answered.await.map_err(|_| ended())??;
        let mut committed = self.committed.clone();
        let waiting = committed.wait_for(|committed| committed.epoch >= outcome.epoch);
        waiting.await.map_err(|_| ended())?;
        Ok(outcome)
    }
}

impl ShardLoop {
    /// Does what is asked.
    pub(super) async fn answer(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Redrive { redrive, answer } => self.redrive(redrive, answer).await,
            Request::Savepoint(wish) => self.end_epoch(false, false, Some(wish)).await,
        }
    }

    /// Lets the rows of a redrive arrive that are new.
    async fn redrive(
        &mut self,
        redrive: Redrive,
        answer: oneshot::Sender<Result<Outcome>>,
    ) -> Result<()> {
        let table = redrive.table;
        let cut = match self.shard.intake().cut_redrive(redrive) {
            Ok(cut) => cut,
            Err(error) => {
                // Whoever asked is told; the job goes on.
                let _ = answer.send(Err(error));
                return Ok(());
            }
        };
        let mut outcome = Outcome {
            known: cut.known,
            lost: cut.lost,
            ..Outcome::default()
        };
        for (split, rows, origins) in cut.arrivals {
            let first = self.shard.intake().stamp(self.clock.now());
            outcome.redriven += rows.num_rows();
            let arrival = Arrival::Redriven(Redriven::new(table, (split, rows, origins), first));
            if self.kept[table].is_none() {
                let source = self.shard.graph().inputs[table].stream.source_schema();
                let schema = recording::schema(&source);
                for rows in recording::encode(&schema, &arrival, table)? {
                    self.epoch.keep(table, rows);
                }
            }
            self.arrive(arrival, true).await?;
        }
        if outcome.redriven > 0 {
            outcome.epoch = self.epoch.epoch();
        }
        // Whoever asked may have gone; the rows are in all the same.
        let _ = answer.send(Ok(outcome));
        self.end_if_full().await
    }
}

/// The dead rows of a table that are committed, and in the log alone as far as `published` says.
pub async fn unpublished(
    log: &Log,
    graph: &Graph,
    table: usize,
    published: Epoch,
    committed: Epoch,
) -> Result<Vec<RecordBatch>> {
    let numbers = OutputNumbers {
        targets: graph.targets.len(),
        tables: graph.inputs.len(),
    };
    let output = numbers.dead(table);
    let mut rows = vec![];
    let contents = log.contents().await?;
    for epoch in log.history(&contents, published, committed).await?.epochs {
        let outputs = log.read(epoch).await?.outputs.into_iter();
        rows.extend(
            outputs
                .filter(|(of, _)| *of == output)
                .flat_map(|(_, rows)| rows),
        );
    }
    Ok(rows)
}
