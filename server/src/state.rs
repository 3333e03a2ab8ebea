//! What every handler may ask: cheap to clone, one for the whole server.

use std::sync::Arc;

use crate::api::metrics::Metrics;
use crate::auth::Access;
use crate::config::Config;
use crate::jobs::Supervisor;
use crate::live::Hubs;
use crate::query::Queries;
use crate::replays::Replays;
use crate::store::Store;

/// The server's parts.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    /// What it was told.
    pub(crate) config: Arc<Config>,
    /// What it remembers.
    pub(crate) store: Store,
    /// What it runs.
    pub(crate) jobs: Supervisor,
    /// What is live.
    pub(crate) hubs: Hubs,
    /// Who may what.
    pub(crate) access: Access,
    /// Where queries run.
    pub(crate) queries: Queries,
    /// What it replays.
    pub(crate) replays: Replays,
    /// What it counts.
    pub(crate) metrics: Metrics,
}
