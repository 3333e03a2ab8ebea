//! The server: its parts, in the order in which they come up and go down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use engine::runtime::job::Observer;
use engine::{Error, Graph, Result, Taps};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::api::metrics::Metrics;
use crate::auth::Access;
use crate::config::Config;
use crate::jobs::Supervisor;
use crate::jobs::view::now;
use crate::listen::{Gate, Listener};
use crate::live::{Hubs, Limits, end_those_of_revoked_keys};
use crate::query::Queries;
use crate::replays::Replays;
use crate::script::Plan;
use crate::state::AppState;
use crate::store::Store;

/// How long the jobs may take to stop: the server is gone within 10 s.
const LAST_COMMITS: Duration = Duration::from_secs(9);

/// The server, its jobs running.
pub struct Server {
    state: AppState,
    tls: Option<TlsAcceptor>,
    /// What it looks after beside its requests.
    _tasks: JoinSet<()>,
    _lock: std::fs::File,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the data folder and its store, and starts the jobs that ran before. It needs a tokio
    /// runtime, which carries the jobs' I/O.
    pub async fn open(config: Config) -> Result<Self> {
        let lock = lock(&config.data)?;
        let store = Store::open(&config.data).await?;
        store.release_answers().await?;
        let access = Access::new(&config, &store)?;
        let tls = config.tls()?;
        let hubs = Hubs::new(Limits {
            connections: config.max_live_connections,
            subscriptions: config.max_subscriptions,
            frame_bytes: config.max_frame,
            ..Limits::default()
        });
        let folders = config.data.join("jobs");
        let jobs = Supervisor::open(store.clone(), folders, hubs.clone()).await?;
        jobs.restore().await;
        let state = AppState {
            store,
            jobs,
            hubs,
            access,
            queries: Queries::new(config.max_queries, config.query_memory),
            replays: Replays::new(config.max_replays),
            config: Arc::new(config),
            metrics: Metrics::default(),
        };
        let mut tasks = JoinSet::new();
        let (access, hubs) = (state.access.clone(), state.hubs.clone());
        tasks.spawn(end_those_of_revoked_keys(access, hubs));
        Ok(Self {
            state,
            tls,
            _tasks: tasks,
            _lock: lock,
        })
    }

    /// Everything that is served.
    pub fn router(&self) -> Router {
        crate::api::router(self.state.clone())
    }

    /// Listens and serves until `closing` turns true; then lets requests end and gives every job
    /// a last commit and snapshot. `listening` is told the address.
    pub async fn serve(
        self,
        closing: watch::Receiver<bool>,
        listening: impl FnOnce(SocketAddr),
    ) -> Result<()> {
        match Listener::bind(self.state.config.listen).await {
            Ok(listener) => {
                listening(listener.address());
                self.serve_at(listener, closing).await;
                Ok(())
            }
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// [`Server::serve`] at an address that is bound.
    pub(crate) async fn serve_at(self, listener: Listener, closing: watch::Receiver<bool>) {
        let gate = Gate {
            tls: self.tls.clone(),
            most: self.state.config.max_connections,
            addresses: self.state.access.addresses().clone(),
        };
        let serving = listener.serve(self.router(), gate, closing.clone());
        let stopping = async {
            let mut closing = closing;
            // The other end that is gone closes as well.
            let _ = closing.wait_for(|closing| *closing).await;
            self.close().await;
        };
        tokio::join!(serving, stopping);
    }

    /// Opens the live windows of a job that something else carries, before it starts. Nothing is
    /// known of its earlier starts, so the generation is the time.
    pub(crate) fn open_windows(&self, name: &str, graph: &Graph) -> Taps {
        let generation = now().unsigned_abs();
        self.state.jobs.open_windows(name, graph, generation)
    }

    /// Shows a job that something else carries.
    pub(crate) fn host(
        &self,
        name: &str,
        sql: &str,
        options: &BTreeMap<String, String>,
        plan: Plan,
        observer: Observer,
        home: &Path,
    ) {
        let jobs = &self.state.jobs;
        jobs.host(name, sql, options, plan, observer, home);
    }

    /// Stops the jobs, all at once, and closes the store.
    pub async fn close(&self) {
        self.state.jobs.close(LAST_COMMITS).await;
        self.state.hubs.shut_down();
        self.state.store.close().await;
    }
}

/// Creates the data folder and keeps other servers out of it.
fn lock(data: &Path) -> Result<std::fs::File> {
    let unusable = |error: std::io::Error| {
        Error::invalid(format!(
            "the data folder '{}' cannot be used; stop the server that uses it, allow this user \
             to write there, or choose another with --data",
            data.display()
        ))
        .caused_by(error)
    };
    std::fs::create_dir_all(data).map_err(unusable)?;
    let lock = std::fs::File::create(data.join("lock")).map_err(unusable)?;
    lock.try_lock().map_err(|error| unusable(error.into()))?;
    Ok(lock)
}
