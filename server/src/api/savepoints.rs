//! `/jobs/{id}/savepoint`, `/jobs/{id}/savepoints`: states of a job that are kept by name.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use super::request::{Body, Segment, detached};
use crate::auth::{Principal, Scope};
use crate::jobs::view::rfc3339;
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(keep))
        .routes(routes!(list))
        .routes(routes!(remove))
}

/// A savepoint to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// What it is to be called, of letters, digits, `-` and `_`.
    #[schema(
        example = "before-change",
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9_-]+$"
    )]
    name: String,
}

/// A savepoint that was kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Savepoint {
    /// What it is called.
    name: String,
    /// After which epoch it was taken.
    epoch: u64,
    /// How large it is.
    bytes: u64,
}

/// A savepoint of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Listed {
    /// What it is called.
    name: String,
    /// How large it is.
    bytes: u64,
    /// When it was stored: RFC 3339.
    stored_at: String,
}

/// The savepoints of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Savepoints {
    /// By name.
    items: Vec<Listed>,
}

/// Keep the state of a job
///
/// A job that runs ends its epoch; the answer comes when that is committed and every output has put
/// out all rows up to there. Of a job that was stopped it is what it stopped with. A savepoint stays
/// until it is removed, or the job is deleted; `start` takes it `from`.
#[utoipa::path(
    post, path = "/jobs/{id}/savepoint", tag = "jobs", request_body = Keep,
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 201, description = "It is kept", body = Savepoint),
        (status = 400, description = "The name or the path is wrong", body = Problem),
        (status = 404, description = "There is no such job", body = Problem),
        (status = 409, description = "The name is taken; or the job has no state that stands by \
            itself: it did not run, or was killed", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
        (status = 503, description = "The job ended meanwhile", body = Problem),
    )
)]
async fn keep(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
    Body(wish): Body<Keep>,
) -> Result<(StatusCode, Json<Savepoint>), Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    let keeping = async move { state.jobs.keep(&slot, &wish.name).await };
    let kept = detached(keeping).await??;
    let savepoint = Savepoint {
        name: kept.name,
        epoch: kept.epoch.0,
        bytes: kept.bytes,
    };
    Ok((StatusCode::CREATED, Json(savepoint)))
}

/// List the savepoints of a job
#[utoipa::path(
    get, path = "/jobs/{id}/savepoints", tag = "jobs",
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 200, description = "All of them", body = Savepoints),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is no such job", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<Json<Savepoints>, Problem> {
    principal.require(Scope::Read)?;
    let slot = state.jobs.get(&id)?;
    let listed = state.jobs.savepoints(&slot).await?;
    let items = listed.into_iter().map(|kept| Listed {
        name: kept.name,
        bytes: kept.bytes,
        stored_at: rfc3339(kept.stored_at),
    });
    let items = items.collect();
    Ok(Json(Savepoints { items }))
}

/// Remove a savepoint
#[utoipa::path(
    delete, path = "/jobs/{id}/savepoints/{name}", tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id or name"),
        ("name" = String, Path, description = "What the savepoint is called"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is none", body = Problem),
        (status = 409, description = "The job belongs to the program that shows it",
            body = Problem),
    )
)]
async fn remove(
    principal: Principal,
    State(state): State<AppState>,
    Segment((id, name)): Segment<(String, String)>,
) -> Result<StatusCode, Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    detached(async move { state.jobs.remove_savepoint(&slot, &name).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}
