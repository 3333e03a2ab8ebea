//! How a job is brought up: its past read, its ends bound, its options settled. What the command
//! line runs and what the server runs is started here.

use std::sync::Arc;
use std::time::Duration;

use connectors::http::push::Pusher;
use engine::runtime::{Backlog, Bindings, Job, JobSpec, Recorded};
use engine::{Error, SystemClock};

use crate::folder::{Folder, Past};
use crate::script::Plan;
use crate::{bind, places, recordings};

/// How often results are committed where the script does not say: often enough for who looks at them,
/// and seldom enough for a machine that does much else. The throughput of a Kafka job is the same from
/// 50 ms to a second (`make bench BENCH=commits`); what each commit costs are a record in the log and
/// some calls of the brokers.
const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

/// Why a job cannot be brought up.
#[derive(Debug)]
pub(crate) enum Grounded {
    /// What its data folder holds, or that it cannot be used.
    Folder(Error),
    /// What a source or a sink has against its options.
    Ends(Error),
}

impl Grounded {
    /// The error itself.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Folder(error) | Self::Ends(error) => error,
        }
    }
}

/// A job ready to start.
#[derive(Debug)]
pub(crate) struct Launch {
    /// What runs, and how.
    pub(crate) spec: JobSpec,
    /// Its sources and sinks.
    pub(crate) bindings: Bindings,
    /// The other ends of the tables whose rows are pushed.
    pub(crate) pushers: Vec<Pusher>,
    /// How far it came before.
    pub(crate) past: Past,
    /// What its state comes from, if not from the log.
    recordings: Vec<Recorded>,
}

impl Launch {
    /// Reads the folder's past and binds the plan's ends; outputs go by `name`.
    pub(crate) async fn prepare(
        plan: &Plan,
        name: &str,
        folder: &Folder,
        digests: bool,
    ) -> Result<Self, Grounded> {
        let past = folder.past().await.map_err(Grounded::Folder)?;
        let owner = folder.owner(name).map_err(Grounded::Folder)?;
        let bound = bind::served(&plan.graph, &owner, &folder.tables());
        let (bindings, pushers) = bound.map_err(Grounded::Ends)?;
        bind::declare(&plan.graph).map_err(Grounded::Folder)?;
        let settings = &plan.script.settings;
        let interval = settings.commit_interval;
        let a_second = Backlog::A_SECOND;
        Ok(Self {
            spec: JobSpec {
                graph: Arc::clone(&plan.graph),
                commit_interval: interval.unwrap_or(COMMIT_INTERVAL),
                snapshot_after: Backlog {
                    rows: settings.snapshot_rows.unwrap_or(a_second.rows),
                    ..a_second
                },
                digests,
            },
            bindings,
            pushers,
            past,
            recordings: vec![],
        })
    }

    /// Lets the sources go past what they no longer have, and count it.
    pub(crate) fn skip_gaps(&mut self) {
        let sources = self.bindings.sources.iter_mut();
        sources.for_each(|source| source.skip_gaps());
    }

    /// Lets the job start with the state that its own recordings give.
    pub(crate) async fn take_recordings(
        &mut self,
        name: &str,
        folder: &Folder,
    ) -> Result<(), Grounded> {
        let owner = folder.owner(name).map_err(Grounded::Folder)?;
        let graph = Arc::clone(&self.spec.graph);
        let recordings = recordings::of_job(&graph, &owner).await;
        self.recordings = recordings.map_err(Grounded::Ends)?;
        Ok(())
    }

    /// What is worth a warning before the first start.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match self.past {
            Past::Nothing => places::behind_their_time(&self.spec.graph),
            _ => vec![],
        }
    }

    /// Starts the job on the current runtime; `folder` is to stay open for as long as it runs.
    pub(crate) fn start(self, folder: &Folder) -> Job {
        let log = folder.log().clone();
        let clock = Arc::new(SystemClock);
        Job::start_from(self.recordings, self.spec, self.bindings, log, clock)
    }
}
