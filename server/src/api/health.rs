//! `/health/live` and `/health/ready`: whether the server is to be restarted, and whether it is to
//! be sent work.

use std::io;
use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::JobPhase;
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// Whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Health {
    /// `ok` or `unavailable`.
    status: &'static str,
    /// What is not well.
    checks: Vec<Check>,
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Check {
    /// `server`, `store`, `data`, or `job <name>: <table>`.
    name: String,
    /// Why.
    reason: String,
}

/// Whether the server answers
#[utoipa::path(
    get, path = "/health/live", tag = "operation",
    responses((status = 200, description = "It does", body = Health))
)]
async fn live() -> Json<Health> {
    Json(Health {
        status: "ok",
        checks: vec![],
    })
}

/// Whether everything that the server needs answers
///
/// The store, the data folder, and whatever running jobs read or write.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "Something does not", body = Health),
    )
)]
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Health>) {
    let mut checks = vec![];
    let mut wrong = |name: String, reason: String| checks.push(Check { name, reason });
    if state.jobs.is_closing() {
        wrong("server".to_owned(), "it is stopping".to_owned());
    }
    if let Err(error) = state.store.check().await {
        wrong("store".to_owned(), error.chain());
    }
    let data = state.config.data.clone();
    match tokio::task::spawn_blocking(move || write(&data)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => wrong("data".to_owned(), error.to_string()),
        Err(error) => wrong("data".to_owned(), error.to_string()),
    }
    for slot in state.jobs.list() {
        if slot.phase() != JobPhase::Running {
            continue;
        }
        for (name, reason) in slot
            .status()
            .map(|status| status.waiting)
            .unwrap_or_default()
        {
            wrong(format!("job {}: {name}", slot.name), reason);
        }
    }
    let (code, status) = match checks.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(Health { status, checks }))
}

/// Whether the data folder can be written.
fn write(data: &Path) -> io::Result<()> {
    let file = data.join("ready");
    std::fs::write(&file, b"")?;
    std::fs::remove_file(&file)
}
