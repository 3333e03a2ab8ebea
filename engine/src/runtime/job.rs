//! A job: bound, started, watched, stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::backlog::Backlog;
use super::committed::Committed;
use super::redrive::{Redriver, Request};
use super::running::Running;
use super::savepoint::Savepointer;
use super::status::{SharedStatus, State, Status, TableStatus, TargetStatus};
use super::stop::{Stop, Stopper};
use super::tasks::spawn;
use super::warm_up::Recorded;
use crate::clock::Clock;
use crate::commit::CommitPoint;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node};
use crate::log::Log;
use crate::sink::Sink;
use crate::source::Source;
use crate::tap::Taps;

/// What runs, and how often it commits.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// The graph.
    pub graph: Arc<Graph>,
    /// How long an epoch is, unless it is full before, or the one before is not committed yet.
    pub commit_interval: Duration,
    /// A snapshot follows after so much, so that recovery stays short: [`Backlog::A_SECOND`].
    pub snapshot_after: Backlog,
    /// Whether to keep a digest of each target.
    pub digests: bool,
}

/// The ends of a graph's named inputs and outputs.
pub struct Bindings {
    /// By table.
    pub sources: Vec<Box<dyn Source>>,
    /// By target; `None` where the commit point carries its rows.
    pub targets: Vec<Option<Box<dyn Sink>>>,
    /// What commits the job, if some of its targets share a transaction.
    pub commit_point: Option<Box<dyn CommitPoint>>,
    /// By table: its `$late`.
    pub late: Vec<Box<dyn Sink>>,
    /// By table: its `$dead`.
    pub dead: Vec<Box<dyn Sink>>,
    /// By table: its recording, if it has one.
    pub recorders: Vec<Option<Box<dyn Sink>>>,
    /// By target: who looks at its rows as they leave the graph.
    pub taps: Taps,
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

/// A running job. Dropping it asks the job to stop.
#[derive(Debug)]
pub struct Job {
    status: SharedStatus,
    stopper: Stopper,
    committed: watch::Receiver<Committed>,
    redriver: Redriver,
    outcome: oneshot::Receiver<Result<()>>,
}

impl Job {
    /// Starts a job on the current tokio runtime, which carries its I/O; the shard runs on a
    /// thread of its own. Recovery goes on in the background: [`Job::status`] tells.
    #[must_use]
    pub fn start(spec: JobSpec, bindings: Bindings, log: Log, clock: Arc<dyn Clock>) -> Self {
        Self::start_from(vec![], spec, bindings, log, clock)
    }

    /// [`Job::start`], with the state that the job's own recordings give, one a table, in place of
    /// the one in its log; it goes on where the log ends. With no recordings it is that of the log.
    #[must_use]
    pub fn start_from(
        recordings: Vec<Recorded>,
        spec: JobSpec,
        bindings: Bindings,
        log: Log,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let status = SharedStatus::new(first_status(&spec.graph));
        let (committed, receiver) = watch::channel(Committed::default());
        Self::spawn(status.clone(), receiver, |stop, requests| {
            Running {
                spec,
                log,
                clock,
                status,
                committed,
                requests,
                stop,
            }
            .run(bindings, recordings)
        })
    }

    /// Runs what `run` makes of the stop signal, and of the end where requests come out.
    pub(super) fn spawn<F>(
        status: SharedStatus,
        committed: watch::Receiver<Committed>,
        run: impl FnOnce(Stop, mpsc::Receiver<Request>) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stopper, stop) = Stop::channel();
        let (done, outcome) = oneshot::channel();
        let (redriver, requests) = Redriver::new(committed.clone());
        let (running, shared) = (run(stop, requests), status.clone());
        let carried = async move {
            let outcome = running.await;
            if outcome.is_err() {
                shared.lock().state = State::Failed;
            }
            let _ = done.send(outcome);
        };
        // Lines that it logs are those of the job that the caller is about.
        spawn(carried.in_current_span());
        Self {
            status,
            stopper,
            committed,
            redriver,
            outcome,
        }
    }

    /// The figures as they are now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.read()
    }

    /// Who sees the figures beside the one that waits for the job.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer(self.status.clone())
    }

    /// What is committed, as it grows; it ends with the job. A replay commits nothing: its watch
    /// has ended from the beginning.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.clone()
    }

    /// Who gives dead rows back to it. A replay takes none.
    #[must_use]
    pub fn redriver(&self) -> Redriver {
        self.redriver.clone()
    }

    /// Who asks it for savepoints. A replay has none.
    #[must_use]
    pub fn savepointer(&self) -> Savepointer {
        self.redriver.savepointer()
    }

    /// Asks the job to stop after a last commit and a snapshot; `wait` tells when it has. What
    /// does not answer is given a moment, and then left to the next start:
    /// [`Status::unsettled`] says what that is.
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits until the job has ended: finished, stopped or failed.
    pub async fn wait(&mut self) -> Result<()> {
        let gone = |_| Error::internal("the job's task is gone");
        (&mut self.outcome).await.map_err(gone)?
    }
}

/// Sees the figures of a job, also after its end; it neither keeps the job nor stops it.
#[derive(Debug, Clone)]
pub struct Observer(SharedStatus);

impl Observer {
    /// The figures as they are now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.read()
    }
}

pub(super) fn first_status(graph: &Graph) -> Status {
    let table = |name: &String| TableStatus {
        name: name.clone(),
        ..TableStatus::default()
    };
    let target = |name: &String| TargetStatus {
        name: name.clone(),
        ..TargetStatus::default()
    };
    let read = |node: &Node| {
        let names = node.inputs.iter().map(|port| graph.name_of(*port));
        names.collect()
    };
    Status {
        reads: graph.nodes.iter().map(read).collect(),
        tables: graph
            .inputs
            .iter()
            .map(|input| table(&input.stream.name))
            .collect(),
        targets: graph
            .targets
            .iter()
            .map(|t| target(&t.stream.name))
            .collect(),
        ..Status::default()
    }
}
