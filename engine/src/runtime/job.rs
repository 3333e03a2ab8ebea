//! A job: bound, started, watched, stopped.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::committer::{Committer, OutputNumbers, Outputs};
use super::recovery::{Recovered, recover};
use super::shard_loop::{EpochBuilder, ShardLoop};
use super::sink_loop::{Publication, Published, SinkLoop};
use super::source_loop::SourceLoop;
use super::status::{SharedStatus, State, Status, TableStatus, TargetStatus};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::intake::recording;
use crate::log::Log;
use crate::sink::{Emit, Epoch, Sink};
use crate::source::{Position, Source};

/// Polls waiting for the shard at most, over all sources.
const EVENTS: usize = 8;
/// Epochs waiting for the committer or a sink at most.
const EPOCHS: usize = 2;
/// Batches waiting for a sink that takes them at once at most.
const BATCHES: usize = 64;

/// What runs, and how often it commits.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// The graph.
    pub graph: Arc<Graph>,
    /// How long an epoch is.
    pub commit_interval: Duration,
    /// A snapshot follows after so many rows: about what recovery can run again in a second.
    pub snapshot_rows: u64,
    /// Whether to keep a digest of each target.
    pub digests: bool,
}

/// The ends of a graph's named inputs and outputs.
pub struct Bindings {
    /// By table.
    pub sources: Vec<Box<dyn Source>>,
    /// By target.
    pub targets: Vec<Box<dyn Sink>>,
    /// By table: its `$late`.
    pub late: Vec<Box<dyn Sink>>,
    /// By table: its `$dead`.
    pub dead: Vec<Box<dyn Sink>>,
    /// By table: its recording, if it has one.
    pub recorders: Vec<Option<Box<dyn Sink>>>,
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

/// A running job. Dropping it stops the job without a last snapshot, as a kill would.
#[derive(Debug)]
pub struct Job {
    status: SharedStatus,
    stop: watch::Sender<bool>,
    outcome: oneshot::Receiver<Result<()>>,
}

impl Job {
    /// Starts a job on the current tokio runtime, which carries its I/O; the shard runs on a
    /// thread of its own. Recovery goes on in the background: [`Job::status`] tells.
    #[must_use]
    pub fn start(spec: JobSpec, bindings: Bindings, log: Log, clock: Arc<dyn Clock>) -> Self {
        let status = SharedStatus::new(first_status(&spec.graph));
        Self::spawn(status.clone(), |stop| {
            Running {
                spec,
                log,
                clock,
                status,
                stop,
            }
            .run(bindings)
        })
    }

    /// Runs what `run` makes of the stop signal.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime is where tasks are started"
    )]
    pub(super) fn spawn<F>(
        status: SharedStatus,
        run: impl FnOnce(watch::Receiver<bool>) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let (done, outcome) = oneshot::channel();
        let (running, shared) = (run(stopped), status.clone());
        tokio::spawn(async move {
            let outcome = running.await;
            if outcome.is_err() {
                shared.lock().state = State::Failed;
            }
            let _ = done.send(outcome);
        });
        Self {
            status,
            stop,
            outcome,
        }
    }

    /// The figures as they are now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// Asks the job to stop after a last commit and a snapshot; `wait` tells when it has.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the job has ended: finished, stopped or failed.
    pub async fn wait(&mut self) -> Result<()> {
        let gone = |_| Error::internal("the job's task is gone");
        (&mut self.outcome).await.map_err(gone)?
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
    Status {
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

/// The sinks of a job, their loops running.
struct Opened {
    outputs: Outputs,
    /// By target: where rows go that do not wait for the commit.
    at_once: Vec<Option<mpsc::Sender<Publication>>>,
    epochs: Published,
    tasks: JoinSet<Result<()>>,
}

struct Running {
    spec: JobSpec,
    log: Log,
    clock: Arc<dyn Clock>,
    status: SharedStatus,
    stop: watch::Receiver<bool>,
}

impl Running {
    async fn run(self, bindings: Bindings) -> Result<()> {
        self.check_plan().await?;
        let graph = &self.spec.graph;
        let recorded = bindings.recorders.iter().map(Option::is_some);
        let kept = bindings.sources.iter().zip(recorded);
        let kept: Vec<_> = kept
            .map(|(source, recorded)| recorded || !source.repeatable())
            .collect();
        let source_loop = |(table, source)| SourceLoop {
            table,
            source,
            position: Position::new(),
            status: self.status.clone(),
        };
        let sources = bindings.sources.into_iter().enumerate();
        let mut sources: Vec<_> = sources.map(source_loop).collect();
        let digests = self.spec.digests;
        let recovered = tokio::select! {
            recovered = recover(&self.log, graph, digests, &mut sources, &kept) => recovered?,
            () = stopped(self.stop.clone()) => {
                self.status.lock().state = State::Stopped;
                return Ok(());
            }
        };
        let mut sinks: Vec<Option<Box<dyn Sink>>> = vec![];
        sinks.extend(bindings.targets.into_iter().map(Some));
        sinks.extend(bindings.late.into_iter().chain(bindings.dead).map(Some));
        sinks.extend(bindings.recorders);
        self.run_loops(recovered, sources, sinks, &kept).await
    }

    /// The plan must be the one that the log was written by.
    async fn check_plan(&self) -> Result<()> {
        let plan = self.spec.graph.to_string();
        match self.log.plan().await? {
            None => self.log.put_plan(&plan).await,
            Some(known) if known == plan => Ok(()),
            Some(known) => Err(Error::invalid(format!(
                "the state in this folder is of another job; {}; use another --data folder, or \
                 --fresh to start empty",
                difference(&known, &plan)
            ))),
        }
    }

    async fn run_loops(
        self,
        recovered: Recovered,
        sources: Vec<SourceLoop>,
        sinks: Vec<Option<Box<dyn Sink>>>,
        kept: &[bool],
    ) -> Result<()> {
        let Some(opened) = self
            .open_sinks(sinks, &recovered.published, kept.len())
            .await?
        else {
            self.status.lock().state = State::Stopped;
            return Ok(());
        };
        let Opened {
            outputs,
            at_once,
            epochs,
            mut tasks,
        } = opened;
        self.publish_again(&outputs, &epochs.get()).await?;
        if recovered.finished {
            drop((outputs, at_once));
            self.status.lock().digests = recovered.shard.digests();
            join(tasks).await?;
            self.status.lock().state = State::Finished;
            return Ok(());
        }
        self.status.lock().committed = recovered.epoch;
        let (events, event_receiver) = mpsc::channel(EVENTS);
        let (commits, commit_receiver) = mpsc::channel(EPOCHS);
        let (status, log) = (self.status.clone(), self.log.clone());
        let committer = Committer {
            log,
            outputs,
            published: epochs,
            status,
        };
        tasks.spawn(committer.run(commit_receiver));
        let (halt, halted) = watch::channel(false);
        let mut feeds = JoinSet::new();
        for source in sources {
            feeds.spawn(source.run(events.clone(), halted.clone()));
        }
        drop(events);
        let inputs = &self.spec.graph.inputs;
        let schemas = inputs
            .iter()
            .zip(kept)
            .map(|(input, kept)| kept.then(|| recording::schema(&input.stream.source_schema())));
        let shard = ShardLoop {
            shard: recovered.shard,
            clock: Arc::clone(&self.clock),
            events: event_receiver,
            commits,
            at_once,
            stop: self.stop.clone(),
            status: self.status.clone(),
            commit_interval: self.spec.commit_interval,
            snapshot_rows: self.spec.snapshot_rows,
            kept: schemas.collect(),
            epoch: EpochBuilder::after(recovered.epoch, recovered.rows_since_snapshot),
        };
        self.status.lock().state = State::Running;
        tasks.spawn(on_thread(shard.run()));
        let outcome = join(tasks).await;
        halt.send_replace(true);
        while feeds.join_next().await.is_some() {}
        outcome?;
        let stopped = *self.stop.borrow();
        self.status.lock().state = if stopped {
            State::Stopped
        } else {
            State::Finished
        };
        Ok(())
    }

    /// Starts the sinks' loops, once each sink has said what it holds; `None` if the job is
    /// stopped before.
    async fn open_sinks(
        &self,
        sinks: Vec<Option<Box<dyn Sink>>>,
        published: &[Epoch],
        tables: usize,
    ) -> Result<Option<Opened>> {
        let targets = self.spec.graph.targets.len();
        let epochs = Published::new(&vec![Epoch(0); sinks.len()]);
        for (output, epoch) in published.iter().enumerate() {
            epochs.set(output, *epoch);
        }
        let outputs = Outputs {
            numbers: OutputNumbers { targets, tables },
            sinks: vec![],
        };
        let mut opened = Opened {
            outputs,
            at_once: vec![],
            epochs,
            tasks: JoinSet::new(),
        };
        for (output, sink) in sinks.into_iter().enumerate() {
            let Some(sink) = sink else {
                opened.outputs.sinks.push(None);
                continue;
            };
            let after_commit = sink.emit() == Emit::AfterCommit;
            let (status, epochs) = (self.status.clone(), opened.epochs.clone());
            let mut sink = SinkLoop {
                output,
                sink,
                status,
                epochs,
            };
            let published = tokio::select! {
                published = sink.published() => published?,
                () = stopped(self.stop.clone()) => return Ok(None),
            };
            sink.epochs.set(output, published);
            let (sender, receiver) = mpsc::channel(if after_commit { EPOCHS } else { BATCHES });
            opened
                .outputs
                .sinks
                .push(after_commit.then(|| sender.clone()));
            if output < targets {
                opened.at_once.push((!after_commit).then_some(sender));
            }
            opened.tasks.spawn(sink.run(receiver));
        }
        Ok(Some(opened))
    }

    /// Publishes committed epochs that a sink may lack.
    async fn publish_again(&self, outputs: &Outputs, published: &[Epoch]) -> Result<()> {
        for epoch in self.log.contents().await?.records {
            if published.iter().any(|published| *published < epoch) {
                outputs
                    .publish(&self.log.read(epoch).await?, published)
                    .await;
            }
        }
        Ok(())
    }
}

/// Waits for all; the first error ends the others.
pub(super) async fn join(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|e| Error::internal("a task of the job broke down").caused_by(e))??;
    }
    Ok(())
}

/// Runs a loop on a thread with a runtime of its own, so that heavy batches never delay I/O.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime is where threads are started"
)]
pub(super) async fn on_thread(
    looping: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let (done, outcome) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(looping),
            Err(error) => Err(Error::internal("no runtime for the shard").caused_by(error)),
        };
        let _ = done.send(outcome);
    });
    outcome
        .await
        .map_err(|_| Error::internal("the shard's thread broke down"))?
}

/// Waits until the job is asked to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // A job handle that is gone stops the job as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The first line in which two plans differ.
fn difference(known: &str, new: &str) -> String {
    let (mut known, mut new) = (known.lines(), new.lines());
    loop {
        match (known.next(), new.next()) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => {
                let line = |line: Option<&str>| line.unwrap_or("nothing").trim().to_string();
                return format!("it says '{}' where this one says '{}'", line(a), line(b));
            }
        }
    }
}
