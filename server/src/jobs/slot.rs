//! One job: its record, its phase, and what runs of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Graph;
use engine::runtime::job::Observer;
use engine::runtime::{Redriver, Status};
use sql::catalog::Catalog;
use tokio::sync::watch;

use super::Refused;
use super::feeds::Feed;
use super::lifecycle::{Event, Phase};
use super::submission::{Submission, planned};
use super::view::{Figures, Job, masked, now};
use crate::script::{Plan, mask};
use crate::store::{self, jobs::Record};

/// A job; the supervisor and whoever carries it share it.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its number for good.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Held by who changes it, so that two changes never cross; none where something else
    /// carries the job.
    turn: Option<tokio::sync::Mutex<()>>,
    /// Where its log and its rows are, if not in the server's folder for it.
    pub(super) home: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Record,
    phase: Phase,
    running: Option<Running>,
}

/// What runs of a job.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Its figures.
    pub(crate) observer: Observer,
    /// Its tables.
    pub(crate) catalog: Arc<Catalog>,
    /// Its steps.
    pub(crate) graph: Arc<Graph>,
    /// Who gives dead rows back to it, where it is the server's.
    pub(crate) redriver: Option<Redriver>,
    /// Its tables whose rows are pushed.
    pub(crate) feeds: Arc<BTreeMap<String, Feed>>,
    /// Turns true to stop it.
    pub(super) stop: watch::Sender<bool>,
    /// Closed once it has ended and its folder is free.
    pub(super) ended: watch::Receiver<()>,
}

impl Slot {
    /// A job as the store has it.
    pub(super) fn new(record: Record, phase: Phase) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            turn: Some(tokio::sync::Mutex::default()),
            home: None,
            inner: Mutex::new(Inner {
                record,
                phase,
                running: None,
            }),
        }
    }

    /// A job that something else carries.
    pub(super) fn hosted(
        name: &str,
        sql: &str,
        options: &BTreeMap<String, String>,
        plan: Plan,
        observer: Observer,
    ) -> Self {
        let now = store::now();
        let record = Record {
            id: uuid::Uuid::now_v7().to_string(),
            name: name.to_owned(),
            sql: sql.to_owned(),
            options: serde_json::to_string(options).unwrap_or_default(),
            plan: plan.graph.to_string(),
            state: Phase::Running.stored().to_owned(),
            reason: None,
            generation: 1,
            figures: None,
            created_at: now.clone(),
            started_at: Some(now),
        };
        let slot = Self::new(record.clone(), Phase::Running);
        let running = Running {
            observer,
            catalog: Arc::new(plan.script.catalog),
            graph: plan.graph,
            redriver: None,
            feeds: Arc::default(),
            stop: watch::Sender::new(false),
            // Nobody here waits for its end.
            ended: watch::Sender::new(()).subscribe(),
        };
        slot.runs(record, running);
        Self { turn: None, ..slot }
    }

    /// The text and the options, as they were submitted.
    pub(crate) fn submission(&self) -> engine::Result<Submission> {
        let record = self.record();
        Ok(Submission {
            options: record.overrides()?,
            name: Some(record.name),
            sql: record.sql,
        })
    }

    /// The graph, running or not; `None` where the text can no longer be read. It may take a
    /// while.
    pub(crate) fn graph(&self) -> Option<Arc<Graph>> {
        if let Some(running) = self.running() {
            return Some(running.graph);
        }
        let submission = self.submission().ok()?;
        let plan = planned(&submission.sql, &submission.options);
        Some(plan.ok()?.graph)
    }

    /// [`graph`](Self::graph), where the text has that name in it.
    pub(crate) fn graph_with(&self, name: &str) -> Option<Arc<Graph>> {
        let named = || {
            let text = self.record().sql.to_lowercase();
            text.contains(&name.to_lowercase())
        };
        let may = self.running().is_some() || named();
        may.then(|| self.graph())?
    }

    /// The right to change it.
    pub(super) async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refused> {
        match &self.turn {
            Some(turn) => Ok(turn.lock().await),
            None => Err(Refused::Conflict(format!(
                "job '{}' belongs to the program that shows it, and ends with it",
                self.name
            ))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// What the store has of it.
    pub(super) fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// What runs of it.
    pub(crate) fn running(&self) -> Option<Running> {
        self.lock().running.clone()
    }

    /// The figures of what runs.
    pub(crate) fn status(&self) -> Option<Status> {
        Some(self.running()?.observer.status())
    }

    /// Takes an event; the new phase, or why it is refused.
    pub(super) fn take(&self, event: Event) -> Result<Phase, &'static str> {
        let mut inner = self.lock();
        inner.phase = inner.phase.after(event)?;
        Ok(inner.phase)
    }

    /// It has another text.
    pub(super) fn says(&self, sql: String, options: String) {
        let mut inner = self.lock();
        (inner.record.sql, inner.record.options) = (sql, options);
    }

    /// It runs.
    pub(super) fn runs(&self, record: Record, running: Running) {
        let mut inner = self.lock();
        inner.record = record;
        inner.running = Some(running);
    }

    /// It has ended, or was not started.
    pub(super) fn rests(&self, reason: Option<String>, figures: Option<String>) {
        let mut inner = self.lock();
        inner.running = None;
        inner.record.reason = reason;
        if figures.is_some() {
            inner.record.figures = figures;
        }
    }

    /// As the API shows it.
    pub(crate) fn view(&self) -> Job {
        let (record, phase, running) = {
            let inner = self.lock();
            (inner.record.clone(), inner.phase, inner.running.clone())
        };
        let status = running.map(|running| running.observer.status());
        let figures = match &status {
            Some(status) => Figures::of(status, now()),
            None => last_figures(&record),
        };
        Job {
            state: phase.shown(status.as_ref().map(|status| status.state)),
            sql: mask::masked(&record.sql),
            options: masked(record.overrides().unwrap_or_default()),
            id: record.id,
            name: record.name,
            reason: record.reason,
            created_at: record.created_at,
            started_at: record.started_at,
            figures,
            waiting: status.map(|status| status.waiting).unwrap_or_default(),
            plan: record.plan,
        }
    }
}

/// What the store kept when the job last ended; nothing where that cannot be read, which costs
/// only figures.
fn last_figures(record: &Record) -> Figures {
    let kept = record.figures.as_deref();
    kept.and_then(|kept| serde_json::from_str(kept).ok())
        .unwrap_or_default()
}
