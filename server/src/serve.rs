//! The server: its parts, in the order in which they come up and go down.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use engine::{Error, Result};
use tokio::sync::watch;

use crate::api::metrics::Metrics;
use crate::auth::Access;
use crate::config::Config;
use crate::jobs::Supervisor;
use crate::listen::Listener;
use crate::live::{Hubs, Limits};
use crate::state::AppState;
use crate::store::Store;

/// How long the jobs may take to stop: the server is gone within 10 s.
const LAST_COMMITS: Duration = Duration::from_secs(9);

/// The server, its jobs running.
#[derive(Debug)]
pub struct Server {
    state: AppState,
    _lock: std::fs::File,
}

impl Server {
    /// Opens the data folder and its store, and starts the jobs that ran before. It needs a tokio
    /// runtime, which carries the jobs' I/O.
    pub async fn open(config: Config) -> Result<Self> {
        let lock = lock(&config.data)?;
        let store = Store::open(&config.data).await?;
        store.release_answers().await?;
        let access = Access::open(&config)?;
        let hubs = Hubs::new(Limits::default());
        let folders = config.data.join("jobs");
        let jobs = Supervisor::open(store.clone(), folders, hubs.clone()).await?;
        jobs.restore().await;
        let state = AppState {
            config: Arc::new(config),
            store,
            jobs,
            hubs,
            access,
            metrics: Metrics::default(),
        };
        Ok(Self { state, _lock: lock })
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
        let listener = Listener::bind(self.state.config.listen).await;
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                self.close().await;
                return Err(error);
            }
        };
        listening(listener.address());
        let most = self.state.config.max_connections;
        let serving = listener.serve(self.router(), None, most, closing.clone());
        let stopping = async {
            let mut closing = closing;
            // The other end that is gone closes as well.
            let _ = closing.wait_for(|closing| *closing).await;
            self.close().await;
        };
        tokio::join!(serving, stopping);
        Ok(())
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
