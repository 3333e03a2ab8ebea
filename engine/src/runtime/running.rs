//! A job under way: recovery, then its loops, until all of them have ended.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::ahead::Ahead;
use super::backlog::Backlog;
use super::committed::Committed;
use super::committer::{Committer, OutputNumbers, Outputs};
use super::fence::{Begun, Fence};
use super::job::{Bindings, JobSpec};
use super::patience::{Patience, patiently};
use super::recovery::{Past, Recovered, recover, stopped};
use super::redrive::Request;
use super::shard::Shard;
use super::shard_loop::{EpochBuilder, Route, ShardLoop};
use super::sink_loop::{Published, SinkLoop};
use super::snapshot_loop::SnapshotLoop;
use super::source_loop::SourceLoop;
use super::status::{SharedStatus, State};
use super::stop::Stop;
use super::tasks::{JoinSet, join, on_thread};
use super::warm_up::{Recorded, warm_up};
use crate::clock::Clock;
use crate::commit::CommitPoint;
use crate::crash::{self, Point};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Graph;
use crate::intake::dead::{DEAD_SUFFIX, LATE_SUFFIX};
use crate::intake::recording;
use crate::log::Log;
use crate::log::record::Start;
use crate::sink::{Emit, Epoch, Sink};
use crate::source::Position;
use crate::tap::Taps;

/// Polls waiting for the shard at most, over all sources.
const EVENTS: usize = 8;
/// Epochs waiting for the committer or a sink at most.
const EPOCHS: usize = 1;
/// Batches waiting for a sink that takes them at once at most.
const BATCHES: usize = 16;
/// Who is waited for where no epoch can be committed.
const LOG: &str = "the log";
/// Who is waited for where an epoch is in the log and cannot be committed.
const COMMIT: &str = "the commit";
/// Who is waited for where no snapshot can be stored, and the log not be cut.
const SNAPSHOTS: &str = "the snapshots of the log";

/// The sinks of a job, their loops running.
struct Opened {
    outputs: Outputs,
    /// By target: where its rows go.
    routes: Vec<Route>,
    epochs: Published,
    tasks: JoinSet<Result<()>>,
}

/// What a job consists of, without its sources and sinks.
pub(super) struct Running {
    pub(super) spec: JobSpec,
    pub(super) log: Log,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: SharedStatus,
    pub(super) committed: watch::Sender<Committed>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) stop: Stop,
}

/// What is known of the tables that are read, and who looks at those that are written.
pub(super) struct Inputs {
    pub(super) sources: Vec<SourceLoop>,
    /// Whose arrivals the log holds.
    pub(super) kept: Vec<bool>,
    /// The names of those that cannot be asked again.
    once: Vec<String>,
    pub(super) taps: Taps,
    /// What the state is to come from, if not from the log alone.
    recordings: Vec<Recorded>,
}

impl Running {
    pub(super) async fn run(self, bindings: Bindings, recordings: Vec<Recorded>) -> Result<()> {
        let recorded = bindings.recorders.iter().map(Option::is_some);
        let mut inputs = Inputs {
            sources: vec![],
            kept: vec![],
            once: vec![],
            taps: bindings.taps,
            recordings,
        };
        for (table, (source, recorded)) in bindings.sources.into_iter().zip(recorded).enumerate() {
            let name = &self.spec.graph.inputs[table].stream.name;
            self.status.watch(name, source.waiting());
            self.status.follow(table, source.lag());
            self.status.follow_skipped(table, source.skipped());
            inputs.kept.push(recorded || !source.repeatable());
            if !source.repeatable() {
                inputs.once.push(name.clone());
            }
            inputs.sources.push(SourceLoop {
                table,
                source,
                position: Position::new(),
                patience: self.patience(name),
            });
        }
        let mut point = bindings.commit_point;
        if let Some(point) = &point {
            self.status.watch(COMMIT, point.waiting());
        }
        let mut sinks = bindings.targets;
        sinks.extend(bindings.late.into_iter().chain(bindings.dead).map(Some));
        sinks.extend(bindings.recorders);
        let starting = self.start(&mut point, &mut inputs, sinks);
        let Some((recovered, opened)) = starting.await? else {
            self.status.lock().state = State::Stopped;
            return Ok(());
        };
        self.publish_and_go_on(point, recovered, inputs, opened)
            .await
    }

    /// Brings the shard to where the log ends and opens the sinks; `None` where the job is to stop
    /// first.
    async fn start(
        &self,
        point: &mut Option<Box<dyn CommitPoint>>,
        inputs: &mut Inputs,
        sinks: Vec<Option<Box<dyn Sink>>>,
    ) -> Result<Option<(Recovered, Opened)>> {
        let recovering = self.recover(point, inputs);
        let Some(recovered) = self.unless_stopped(recovering).await? else {
            return Ok(None);
        };
        self.status.tell(&recovered.shard);
        let Begun { follows, epoch } = recovered.begun;
        self.status.lock().committed = epoch;
        // What a predecessor showed of later epochs was never committed.
        inputs.taps.committed(follows);
        if epoch > follows {
            inputs.taps.committed(epoch);
        }
        self.committed.send_replace(Committed {
            epoch,
            positions: recovered.shard.intake().positions(),
        });
        let opening = self.open_sinks(sinks, &recovered.published, epoch);
        let opened = self.unless_stopped(opening).await?;
        Ok(opened.map(|opened| (recovered, opened)))
    }

    fn patience(&self, name: &str) -> Patience {
        Patience::new(name, &self.status, &self.stop)
    }

    fn past(&self) -> Past<'_> {
        Past {
            log: &self.log,
            patience: self.patience(LOG),
        }
    }

    /// What a step before the loops gives; `None` where the job is to stop first.
    async fn unless_stopped<T>(&self, step: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        let outcome = tokio::select! {
            biased;
            () = self.stop.clone().wait() => return Ok(None),
            outcome = step => outcome,
        };
        match outcome {
            // What is unavailable is waited for, unless the step saw the stop first.
            Err(error) if error.kind() == ErrorKind::Unavailable && self.stop.asked() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    async fn recover(
        &self,
        point: &mut Option<Box<dyn CommitPoint>>,
        inputs: &mut Inputs,
    ) -> Result<Recovered> {
        let mut past = self.past();
        self.check_plan(&mut past.patience).await?;
        let mut fence = Fence {
            log: self.log.clone(),
            patience: self.patience(LOG),
            point,
            point_patience: self.patience(COMMIT),
            start: Start {
                at: self.clock.now().0,
                process: std::process::id(),
                follows: Epoch(0),
            },
        };
        let begun = fence.take().await?;
        let fresh = || Shard::new(Arc::clone(&self.spec.graph), self.spec.digests);
        let recordings = std::mem::take(&mut inputs.recordings);
        if !recordings.is_empty() {
            warm_up(&mut past, begun.epoch, fresh, recordings).await?;
        }
        let recovered = recover(&mut past, begun, fresh()?, inputs).await?;
        crash::reach(Point::RecoveryRepeated);
        // Repeating takes its time. The sinks of one that has taken over meanwhile are to be left
        // alone: they would end it, and nobody would run the job.
        past.contents(begun.epoch).await?;
        Ok(recovered)
    }

    /// The plan must be the one that the log was written by.
    async fn check_plan(&self, patience: &mut Patience) -> Result<()> {
        let plan = self.spec.graph.plan();
        match patiently!(patience, self.log.plan()).ok_or_else(stopped)? {
            None => patiently!(patience, self.log.put_plan(&plan)).ok_or_else(stopped),
            Some(known) if known == plan => Ok(()),
            Some(known) => Err(Error::invalid(format!(
                "the state in this folder is of another job; {}; start from a savepoint of that job \
                 (--from savepoint:NAME), which keeps what is as it was, or empty (--from empty), or \
                 use another --data folder",
                difference(&known, &plan)
            ))),
        }
    }

    /// Publishes what is committed and unpublished. A job that has finished before is finished
    /// then; another goes on.
    async fn publish_and_go_on(
        self,
        point: Option<Box<dyn CommitPoint>>,
        recovered: Recovered,
        inputs: Inputs,
        opened: Opened,
    ) -> Result<()> {
        let publishing = self.publish_again(&opened, recovered.begun.epoch);
        let published = self.unless_stopped(publishing).await?.is_some();
        if published && !recovered.finished {
            return self.run_loops(point, recovered, inputs, opened).await;
        }
        let Opened {
            outputs,
            routes,
            epochs,
            tasks,
        } = opened;
        let from_log = outputs.out_of_log();
        drop((outputs, routes));
        join(tasks).await?;
        self.note_published(&epochs, &from_log).await?;
        let mut status = self.status.lock();
        status.digests = recovered.shard.digests();
        if !published {
            let note = "what is committed and not published yet is published at the next start";
            status.unsettled.push(note.to_owned());
        }
        status.state = match status.unsettled.is_empty() {
            true => State::Finished,
            false => State::Stopped,
        };
        Ok(())
    }

    async fn run_loops(
        mut self,
        point: Option<Box<dyn CommitPoint>>,
        recovered: Recovered,
        inputs: Inputs,
        opened: Opened,
    ) -> Result<()> {
        let Opened {
            outputs,
            routes,
            epochs,
            mut tasks,
        } = opened;
        let (events, event_receiver) = mpsc::channel(EVENTS);
        let (commits, commit_receiver) = mpsc::channel(EPOCHS);
        let (carried, carried_receiver) = mpsc::unbounded_channel();
        let (snapshots, newest) = watch::channel(None);
        let from_log = outputs.out_of_log();
        let keeping = SnapshotLoop {
            log: self.log.clone(),
            from_log: from_log.clone(),
            published: epochs.clone(),
            status: self.status.clone(),
            patience: self.patience(SNAPSHOTS),
        };
        tasks.spawn(keeping.run(newest).in_current_span());
        let committer = Committer {
            log: self.log.clone(),
            point,
            outputs,
            published: epochs.clone(),
            status: self.status.clone(),
            patience: self.patience(LOG),
            point_patience: self.patience(COMMIT),
            committed: self.committed.clone(),
            snapshots,
            once: inputs.once,
            taps: inputs.taps.clone(),
            ahead: Ahead::new(self.spec.commit_interval),
        };
        let committing = committer.run(commit_receiver, carried_receiver);
        tasks.spawn(committing.in_current_span());
        let (halt, halted) = watch::channel(false);
        let mut feeds = JoinSet::new();
        for source in inputs.sources {
            feeds.spawn(source.run(events.clone(), halted.clone()).in_current_span());
        }
        drop(events);
        let schemas = self.spec.graph.inputs.iter().zip(inputs.kept);
        let schemas = schemas
            .map(|(input, kept)| kept.then(|| recording::schema(&input.stream.source_schema())));
        let shard = ShardLoop {
            shard: recovered.shard,
            clock: Arc::clone(&self.clock),
            events: event_receiver,
            requests: std::mem::replace(&mut self.requests, mpsc::channel(1).1),
            commits,
            committed: self.committed.subscribe(),
            carried,
            routes,
            stop: self.stop.clone(),
            status: self.status.clone(),
            commit_interval: self.spec.commit_interval,
            snapshot_after: self.spec.snapshot_after,
            kept: schemas.collect(),
            epoch: EpochBuilder::after(recovered.begun.epoch, recovered.backlog),
            told: i64::MIN,
            taps: inputs.taps,
            formed: i64::MIN,
        };
        self.status.lock().state = State::Running;
        tasks.spawn(on_thread(shard.run()).in_current_span());
        let outcome = join(tasks).await;
        halt.send_replace(true);
        while feeds.join_next().await.is_some() {}
        outcome?;
        self.note_published(&epochs, &from_log).await?;
        self.status.lock().state = match self.stop.asked() {
            true => State::Stopped,
            false => State::Finished,
        };
        Ok(())
    }

    /// Notes what the outputs have out in the end: the records were written before. What leaves with
    /// the commit is out. Where the log does not answer the next start asks the sinks alone.
    async fn note_published(&self, epochs: &Published, from_log: &[bool]) -> Result<()> {
        let committed = self.committed.borrow().epoch;
        let published = epochs.get().into_iter().zip(from_log);
        let published: Vec<Epoch> = published
            .map(|(out, from_log)| if *from_log { out } else { committed })
            .collect();
        let mut patience = self.patience(LOG);
        let _ = patiently!(patience, self.log.put_published(&published));
        Ok(())
    }

    /// Starts the sinks' loops, once each sink has said what it holds.
    async fn open_sinks(
        &self,
        sinks: Vec<Option<Box<dyn Sink>>>,
        known: &[Epoch],
        committed: Epoch,
    ) -> Result<Opened> {
        let graph = &self.spec.graph;
        let epochs = Published::new(&vec![Epoch(0); sinks.len()]);
        for (output, epoch) in known.iter().enumerate() {
            epochs.set(output, *epoch);
        }
        let numbers = OutputNumbers {
            targets: graph.targets.len(),
            tables: graph.inputs.len(),
        };
        let mut opened = Opened {
            outputs: Outputs {
                numbers,
                sinks: vec![],
            },
            routes: vec![],
            epochs,
            tasks: JoinSet::new(),
        };
        for (output, (sink, name)) in sinks.into_iter().zip(names(graph)).enumerate() {
            let Some(sink) = sink else {
                opened.outputs.sinks.push(None);
                if output < numbers.targets {
                    opened.routes.push(Route::InCommit);
                }
                continue;
            };
            // Late and dead rows, and recordings, wait for the commit whatever their sink says.
            let at_once = output < numbers.targets && sink.emit() == Emit::Now;
            self.status.watch(&name, sink.waiting());
            let mut sink = SinkLoop {
                output,
                sink,
                at_once,
                status: self.status.clone(),
                patience: self.patience(&name),
                epochs: opened.epochs.clone(),
                left: match at_once {
                    true => "they are not committed",
                    false => "what is committed is published at the next start",
                },
            };
            let published = sink.published().await?.ok_or_else(stopped)?;
            if !at_once && published > committed {
                self.past().contents(committed).await?;
                return Err(Error::corrupt(format!(
                    "{name} holds rows up to epoch {published} of this job, but its log ends at \
                     epoch {committed}: the log has lost its end or is an older copy; restore it, \
                     or start the job with --fresh"
                )));
            }
            opened.epochs.set(output, published);
            let (sender, receiver) = mpsc::channel(if at_once { BATCHES } else { EPOCHS });
            let after_commit = (!at_once).then(|| sender.clone());
            opened.outputs.sinks.push(after_commit);
            if output < numbers.targets {
                opened.routes.push(match at_once {
                    true => Route::AtOnce(sender),
                    false => Route::AfterCommit,
                });
            }
            opened.tasks.spawn(sink.run(receiver).in_current_span());
        }
        Ok(opened)
    }

    /// Publishes committed epochs that a sink may lack.
    async fn publish_again(&self, opened: &Opened, committed: Epoch) -> Result<()> {
        let mut past = self.past();
        let published = opened.epochs.get();
        let sinks = opened.outputs.sinks.iter().zip(&published);
        let lacking = sinks.filter_map(|(sink, published)| sink.as_ref().map(|_| *published));
        let Some(complete) = lacking.min() else {
            return Ok(());
        };
        let contents = past.contents(committed).await?;
        let history = past.history(&contents, complete, committed).await?;
        let mut backlog = Backlog::NONE;
        for epoch in history.epochs {
            let record = past.read(epoch).await?;
            opened.outputs.publish(&record, &published).await;
            backlog = backlog.and(&record);
        }
        // A job that is killed more often than its sinks put out what they hold back would have more
        // to publish again each time.
        if backlog.reaches(self.spec.snapshot_after) {
            drop(opened.outputs.put_out().await);
        }
        crash::reach(Point::RecoveryPublished);
        Ok(())
    }
}

/// The names of a job's outputs, as they are numbered.
fn names(graph: &Graph) -> impl Iterator<Item = String> {
    let tables = || graph.inputs.iter().map(|input| &input.stream.name);
    let targets = graph
        .targets
        .iter()
        .map(|target| target.stream.name.clone());
    targets
        .chain(tables().map(|table| format!("{table}{LATE_SUFFIX}")))
        .chain(tables().map(|table| format!("{table}{DEAD_SUFFIX}")))
        .chain(tables().map(|table| format!("the recording of {table}")))
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
