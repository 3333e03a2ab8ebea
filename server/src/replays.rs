//! The replays that the server runs: a few at once, each until its end or until it is cancelled.
//! Those that have ended are remembered for a while, until the server stops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::Error;
use engine::runtime::job::Observer;
use engine::runtime::status::State;
use engine::runtime::{Job, Status};
use tokio::sync::watch;
use tracing::Instrument;

use crate::progress::arrived;
use crate::replay::Prepared;
use crate::store::now;

/// Replays that have ended and are remembered.
const REMEMBERED: usize = 100;

/// All of them; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Replays(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How many may run at once.
    most: usize,
    all: Mutex<BTreeMap<String, Arc<Replay>>>,
}

/// One replay.
#[derive(Debug)]
pub(crate) struct Replay {
    /// A UUID of version 7.
    pub(crate) id: String,
    /// The job whose text is replayed, where it is one's.
    pub(crate) job: Option<String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// How many rows there are, about.
    pub(crate) total: u64,
    /// The tables whose files are no recording.
    pub(crate) by_event_time: Vec<String>,
    observer: Observer,
    started: Instant,
    cancel: watch::Sender<bool>,
    end: Mutex<Option<End>>,
}

/// How a replay ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// RFC 3339.
    pub(crate) at: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why, where it failed.
    pub(crate) failure: Option<String>,
}

/// Where a replay stands.
#[derive(Debug)]
pub(crate) struct Standing {
    /// `running`, `finished`, `cancelled` or `failed`.
    pub(crate) state: &'static str,
    /// The figures.
    pub(crate) status: Status,
    /// How it ended, if it has.
    pub(crate) end: Option<End>,
    /// Rows so far.
    pub(crate) rows: u64,
    /// For how long it has run.
    pub(crate) elapsed: Duration,
    /// About how long it takes still.
    pub(crate) left: Option<Duration>,
}

impl Replays {
    /// None yet, and at most so many at once.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            all: Mutex::default(),
        }))
    }

    /// Starts one on the current runtime; `None` where enough run. `job` is whose text it is.
    pub(crate) fn start(&self, prepared: Prepared, job: Option<String>) -> Option<Arc<Replay>> {
        let mut all = self.lock();
        let running = all.values().filter(|replay| replay.end().is_none()).count();
        if running >= self.0.most {
            return None;
        }
        let ended: Vec<String> = all
            .values()
            .filter(|replay| replay.end().is_some())
            .map(|replay| replay.id.clone())
            .collect();
        for id in ended
            .iter()
            .take(ended.len().saturating_sub(REMEMBERED - 1))
        {
            all.remove(id);
        }
        let id = uuid::Uuid::now_v7().to_string();
        let span = tracing::info_span!("replay", id);
        let started = span.in_scope(|| prepared.replay.start());
        let (cancel, cancelled) = watch::channel(false);
        let replay = Arc::new(Replay {
            id,
            job,
            created_at: now(),
            total: prepared.rows,
            by_event_time: prepared.by_event_time,
            observer: started.observer(),
            started: Instant::now(),
            cancel,
            end: Mutex::new(None),
        });
        let carried = carry(Arc::clone(&replay), started, cancelled);
        tokio::spawn(carried.instrument(span));
        all.insert(replay.id.clone(), Arc::clone(&replay));
        Some(replay)
    }

    /// All that are remembered, the oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Replay>> {
        self.lock().values().cloned().collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> engine::Result<Arc<Replay>> {
        let found = self.lock().get(id).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no replay '{id}'")))
    }

    /// Cancels one where it runs, and forgets it.
    pub(crate) fn remove(&self, id: &str) -> engine::Result<()> {
        let replay = self.get(id)?;
        replay.cancel();
        self.lock().remove(id);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Replay>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a replay.
async fn carry(replay: Arc<Replay>, mut job: Job, mut cancelled: watch::Receiver<bool>) {
    let mut asked = false;
    let outcome = loop {
        tokio::select! {
            outcome = job.wait() => break outcome,
            // The other end is in the replay, which is held here.
            _ = cancelled.wait_for(|cancelled| *cancelled), if !asked => {
                asked = true;
                job.stop();
            }
        }
    };
    let failure = outcome.err().map(|error| error.chain());
    match &failure {
        None => tracing::info!(cancelled = asked, "ended"),
        Some(reason) => tracing::warn!(reason, "failed"),
    }
    *replay.lock() = Some(End {
        at: now(),
        took: replay.started.elapsed(),
        failure,
    });
}

impl Replay {
    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> Option<End> {
        self.lock().clone()
    }

    /// Asks it to end where it is.
    pub(crate) fn cancel(&self) {
        let _ = self.cancel.send(true);
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        let end = self.end();
        let status = self.observer.status();
        let elapsed = end
            .as_ref()
            .map_or_else(|| self.started.elapsed(), |end| end.took);
        let rows = arrived(&status);
        let left = self.total.saturating_sub(rows) as f64;
        let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * left / rows as f64);
        Standing {
            state: match (&end, status.state) {
                (None, _) => "running",
                (
                    Some(End {
                        failure: Some(_), ..
                    }),
                    _,
                ) => "failed",
                (Some(_), State::Finished) => "finished",
                (Some(_), _) => "cancelled",
            },
            left: left.ok().filter(|_| end.is_none()),
            status,
            end,
            rows,
            elapsed,
        }
    }
}
