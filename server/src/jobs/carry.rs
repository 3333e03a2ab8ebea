//! Carrying a job: from its start until it has ended and everyone knows.

use std::sync::Arc;

use engine::runtime::status::State;
use engine::runtime::{Job, Status};
use engine::{Error, Result};
use tokio::sync::watch;
use tracing::Instrument;

use super::Supervisor;
use super::feeds::Feed;
use super::lifecycle::Event;
use super::slot::{Running, Slot};
use super::view::{Figures, now};
use crate::folder::Folder;
use crate::launch::Launch;
use crate::script::Plan;
use crate::store::jobs::Record;

/// What is needed until the job's end.
pub(super) struct Carrier {
    supervisor: Supervisor,
    slot: Arc<Slot>,
    job: Job,
    folder: Folder,
    stop: watch::Receiver<bool>,
    /// Dropped last: the job has ended.
    ended: watch::Sender<()>,
}

impl Carrier {
    /// Opens the live windows of its outputs and starts the job, on the current runtime.
    pub(super) fn new(
        supervisor: Supervisor,
        slot: &Arc<Slot>,
        plan: Plan,
        mut launch: Launch,
        folder: Folder,
        record: &Record,
    ) -> (Self, Running) {
        let generation = record.generation.unsigned_abs();
        launch.bindings.taps = supervisor.open_windows(&slot.name, &plan.graph, generation);
        let span = tracing::info_span!("job", job = slot.name, id = slot.id);
        let pushers = std::mem::take(&mut launch.pushers);
        let job = span.in_scope(|| launch.start(&folder));
        let (stop, asked) = watch::channel(false);
        let (ended, end) = watch::channel(());
        let running = Running {
            observer: job.observer(),
            redriver: Some(job.redriver()),
            feeds: Arc::new(Feed::all(&plan.graph, pushers, &job)),
            catalog: Arc::new(plan.script.catalog),
            graph: plan.graph,
            stop,
            ended: end,
        };
        let carrier = Self {
            supervisor,
            slot: Arc::clone(slot),
            job,
            folder,
            stop: asked,
            ended,
        };
        (carrier, running)
    }

    /// Goes on in the background until the job has ended.
    pub(super) fn go(self) {
        let span = tracing::info_span!("job", job = self.slot.name, id = self.slot.id);
        tokio::spawn(self.carry().instrument(span));
    }

    async fn carry(self) {
        let Self {
            supervisor,
            slot,
            mut job,
            folder,
            mut stop,
            ended,
        } = self;
        let mut asked = false;
        let outcome = loop {
            tokio::select! {
                outcome = job.wait() => break outcome,
                // The other end is in the slot, for as long as the job runs.
                _ = stop.wait_for(|stop| *stop), if !asked => {
                    asked = true;
                    job.stop();
                }
            }
        };
        let status = job.status();
        let (event, reason) = ending(&outcome, &status);
        match &reason {
            None => tracing::info!(state = ?status.state, "ended"),
            Some(reason) => tracing::error!(reason, "failed"),
        }
        let figures = Figures::of(&status, now()).at_rest();
        let figures = serde_json::to_string(&figures).ok();
        supervisor.0.hubs.close(&slot.name);
        // Free before it is said, so that a start that follows finds it free.
        drop(folder);
        let settled = supervisor.settle(&slot, event, reason, figures).await;
        if let Err(error) = settled {
            tracing::error!(error = error.chain(), "how it ended is not noted");
        }
        drop(ended);
    }
}

/// How a job ended, and why where it failed.
fn ending(outcome: &Result<(), Error>, status: &Status) -> (Event, Option<String>) {
    match (outcome, status.state) {
        (Err(error), _) => (Event::Failed, Some(error.chain())),
        (Ok(()), State::Finished) => (Event::Finished, None),
        (Ok(()), _) => (Event::Stopped, None),
    }
}
