//! What the server runs: jobs from their submission to their deletion, also across its restarts.
//!
//! A job has a record in the store and a folder `<data>/jobs/<id>` with its log, state, late and
//! dead rows. The store says what is to run: that is written before a job starts or stops, so a
//! kill at any moment leaves it as it was last asked for.

mod carry;
pub(crate) mod feeds;
mod lifecycle;
mod savepoints;
mod slot;
mod steps;
mod submission;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::runtime::job::Observer;
use engine::{Error, Graph, Result, Tap, Taps};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::folder;
use crate::live::Hubs;
use crate::script::Plan;
use crate::store::Store;

pub(crate) use lifecycle::Phase as JobPhase;
use lifecycle::{Event, Phase};
pub(crate) use slot::{Running, Slot};
use steps::Begin;
pub(crate) use submission::{Submission, check_name, plan};

/// Why a wish is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The text or its options are wrong; the text is for places.
    Script(String, Vec<sql::Error>),
    /// What is asked for does not fit how things stand.
    Conflict(String),
    /// Anything else.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// With what a job starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartFrom {
    /// With the state it stopped with.
    State,
    /// With none: its log, state, late and dead rows are removed.
    Empty,
    /// With the one that the recordings of its tables give; it goes on where it stopped.
    Recording,
    /// With the state it stopped with, past what its sources no longer have.
    Offset,
    /// With what was kept of it under a name.
    Savepoint {
        /// The name.
        name: String,
        /// Whether a state that the text has no place for is given up.
        may_drop: bool,
    },
}

/// A text in the place of the one that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewText {
    /// The text.
    pub(crate) sql: String,
    /// Options by `table.key`.
    pub(crate) options: BTreeMap<String, String>,
}

/// All jobs; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    folders: PathBuf,
    hubs: Hubs,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// True once the server stops.
    closing: watch::Sender<bool>,
}

impl Supervisor {
    /// The jobs of a store, none of them started; their data is below `folders`.
    pub(crate) async fn open(store: Store, folders: PathBuf, hubs: Hubs) -> Result<Self> {
        let records = store.jobs().await?;
        let slot = |record: crate::store::jobs::Record| {
            let (phase, _) = Phase::restored(&record.state);
            (record.id.clone(), Arc::new(Slot::new(record, phase)))
        };
        Ok(Self(Arc::new(Shared {
            slots: Mutex::new(records.into_iter().map(slot).collect()),
            store,
            folders,
            hubs,
            closing: watch::Sender::new(false),
        })))
    }

    /// Starts the jobs that ran when the server ended. One that cannot start is failed, with the
    /// reason, and holds up no other.
    pub(crate) async fn restore(&self) {
        for slot in self.list() {
            let (_, starts) = Phase::restored(&slot.record().state);
            if !starts {
                // A start from a savepoint that was not noted.
                if let Err(error) = folder::withdraw(&self.folder(&slot.id)) {
                    tracing::error!(job = slot.name, "{}", error.chain());
                }
                continue;
            }
            match Box::pin(self.start(&slot, StartFrom::State, None)).await {
                Ok(()) => tracing::info!(job = slot.name, id = slot.id, "started again"),
                Err(refused) => {
                    tracing::error!(job = slot.name, id = slot.id, ?refused, "cannot be started");
                }
            }
        }
    }

    /// Checks, keeps and starts a new job.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Arc<Slot>, Refused> {
        let (record, plan) = submission.record().await?;
        self.open_for_changes()?;
        if !self.0.store.insert_job(&record).await? {
            return Err(Refused::Conflict(format!(
                "a job is called '{}' already; choose another name, or delete that job",
                record.name
            )));
        }
        let slot = Arc::new(Slot::new(record, Phase::Created));
        self.slots().insert(slot.id.clone(), Arc::clone(&slot));
        let turn = slot.turn().await?;
        let launched = Box::pin(self.launch(&slot, plan, Begin::State)).await;
        if let Err(grounded) = launched {
            // Nothing has run: it is as if it had not been submitted.
            self.forget(&slot).await?;
            return Err(grounded.into_error().into());
        }
        drop(turn);
        Ok(slot)
    }

    /// All jobs, in the order of their submission.
    pub(crate) fn list(&self) -> Vec<Arc<Slot>> {
        self.slots().values().cloned().collect()
    }

    /// A job by its id or its name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Slot>> {
        let slots = self.slots();
        let by_name = || slots.values().find(|slot| slot.name == name);
        let found = slots.get(name).or_else(by_name).map(Arc::clone);
        found.ok_or_else(|| Error::not_found(format!("there is no job '{name}'")))
    }

    /// Opens the live windows of what a job writes, by target. It comes before the job's start;
    /// `generation` grows with every start.
    pub(crate) fn open_windows(&self, job: &str, graph: &Graph, generation: u64) -> Taps {
        let targets = graph.targets.iter();
        let open = |target| Some(self.0.hubs.open(job, target, generation) as Arc<dyn Tap>);
        Taps::new(targets.map(open).collect())
    }

    /// Shows a job that something else carries, for as long as this server is there: it can be
    /// looked at, and nothing more.
    pub(crate) fn host(
        &self,
        name: &str,
        sql: &str,
        options: &BTreeMap<String, String>,
        plan: Plan,
        observer: Observer,
        home: &Path,
    ) {
        let mut slot = Slot::hosted(name, sql, options, plan, observer);
        slot.home = Some(home.to_owned());
        self.slots().insert(slot.id.clone(), Arc::new(slot));
    }

    /// Starts a job that does not run, with another text where one is given: it is the job's from
    /// then on.
    pub(crate) async fn start(
        &self,
        slot: &Arc<Slot>,
        from: StartFrom,
        text: Option<NewText>,
    ) -> Result<(), Refused> {
        let _turn = slot.turn().await?;
        self.open_for_changes()?;
        let refused =
            |why| Refused::Conflict(format!("job '{}' cannot be started: {why}", slot.name));
        slot.phase().after(Event::Start).map_err(refused)?;
        let record = slot.record();
        let planned = match &text {
            // What is wrong with a new text is no failure of the job.
            Some(text) => Ok(plan(text.sql.clone(), text.options.clone()).await?),
            None => plan(record.sql.clone(), record.overrides()?).await,
        };
        let started = match planned {
            Ok(plan) => {
                let begin = self.begin(slot, &plan, from).await?;
                if let Some(text) = text {
                    self.take_text(slot, text).await?;
                }
                let launched = Box::pin(self.launch(slot, plan, begin)).await;
                launched.map_err(|grounded| Refused::Error(grounded.into_error()))
            }
            Err(refused) => Err(refused),
        };
        if let Err(refused) = &started {
            self.fail(slot, refused).await?;
        }
        started
    }

    /// Asks a job to stop; whoever asks again changes nothing.
    pub(crate) async fn stop(&self, slot: &Arc<Slot>) -> Result<(), Refused> {
        let _turn = slot.turn().await?;
        let refused =
            |why| Refused::Conflict(format!("job '{}' cannot be stopped: {why}", slot.name));
        let phase = slot.phase().after(Event::Stop).map_err(refused)?;
        self.0.store.job_is(&slot.id, phase.stored(), None).await?;
        match slot.take(Event::Stop) {
            Ok(_) => {
                if let Some(running) = slot.running() {
                    running.stop.send_replace(true);
                }
            }
            // It has ended by itself meanwhile: how, is what the store is to say.
            Err(_) => {
                let (state, reason) = (slot.phase().stored(), slot.record().reason);
                self.0
                    .store
                    .job_is(&slot.id, state, reason.as_deref())
                    .await?;
            }
        }
        Ok(())
    }

    /// Stops a job where it runs, and removes it with its folder. What it wrote elsewhere stays.
    pub(crate) async fn delete(&self, slot: &Arc<Slot>) -> Result<(), Refused> {
        let _turn = slot.turn().await?;
        if let Some(running) = slot.running() {
            self.0
                .store
                .job_is(&slot.id, Phase::Stopped.stored(), None)
                .await?;
            let _ = slot.take(Event::Stop);
            running.stop.send_replace(true);
            let mut ended = running.ended;
            while ended.changed().await.is_ok() {}
        }
        self.forget(slot).await?;
        Ok(())
    }

    /// Stops all jobs at once, each with a last commit and snapshot, and waits until they have
    /// stopped, at most for `limit`. They start again with the server.
    pub(crate) async fn close(&self, limit: Duration) {
        // Whether somebody listens or not, it is so.
        self.0.closing.send_replace(true);
        let running: Vec<_> = self
            .list()
            .iter()
            .filter_map(|slot| slot.running())
            .collect();
        for running in &running {
            running.stop.send_replace(true);
        }
        let all = async {
            for mut running in running {
                while running.ended.changed().await.is_ok() {}
            }
        };
        if timeout(limit, all).await.is_err() {
            tracing::warn!("jobs that did not stop in time are left as by a kill");
        }
    }

    /// Whether the server stops.
    pub(crate) fn is_closing(&self) -> bool {
        *self.0.closing.borrow()
    }

    fn open_for_changes(&self) -> Result<()> {
        match self.is_closing() {
            true => Err(Error::unavailable("the server is stopping")),
            false => Ok(()),
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a job's log, state, late and dead rows are.
    pub(crate) fn home(&self, slot: &Slot) -> PathBuf {
        let own = || self.folder(&slot.id);
        slot.home.clone().unwrap_or_else(own)
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.0.folders.join(id)
    }
}
