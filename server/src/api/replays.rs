//! `/replays`: a job's text over recordings, as fast as it goes.

mod view;
mod wish;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::ErrorKind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{List, Page};
use super::request::{Body, Params, Segment, detached};
use super::{PREFIX, Problem};
use crate::auth::{Principal, Scope};
use crate::replay;
use crate::state::AppState;
use view::View;
use wish::Create;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, cancel))
}

/// Replay recorded rows
///
/// The same text over what was recorded gives the same rows, bit for bit: compare the digests.
/// Nothing is written to where the text says.
#[utoipa::path(
    post, path = "/replays", tag = "replays", request_body = Create,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "A request repeated under one key within a day is answered alike")),
    responses(
        (status = 201, description = "It runs", body = View,
            headers(("Location" = String, description = "Where it is"))),
        (status = 400, description = "The text or a value is wrong", body = Problem),
        (status = 403, description = "The path is not below a recording", body = Problem),
        (status = 404, description = "There is no such job, table or recording", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
        (status = 422, description = "The key stands for another request", body = Problem),
        (status = 429, description = "Enough replays run", body = Problem,
            headers(("Retry-After" = u64, description = "In how many seconds to try again"))),
    )
)]
async fn create(
    principal: Principal,
    State(state): State<AppState>,
    Body(create): Body<Create>,
) -> Result<Response, Problem> {
    principal.require(Scope::Write)?;
    let wish = create.read(&state, &principal).await?;
    let (graph, origins, manner, job) = (wish.graph, wish.origins, wish.manner, wish.job);
    let preparing = move || replay::prepare(&graph, &origins, manner, None);
    let prepared = tokio::task::spawn_blocking(preparing).await;
    let broken = |error| engine::Error::internal("preparing broke down").caused_by(error);
    let prepared = prepared
        .map_err(broken)?
        .map_err(|error| match error.kind() {
            // The files were named by who asks: the server's own are well.
            ErrorKind::Corrupt => Problem::invalid(error.chain()),
            _ => error.into(),
        })?;
    let starting = state.clone();
    let started = detached(async move { starting.replays.start(prepared, job) }).await?;
    let Some(replay) = started else {
        let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Enough replays run");
        let problem = Problem::new(status, "busy", title, "ask again when one has ended");
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return Ok(response);
    };
    let place = format!("{PREFIX}/replays/{}", replay.id);
    let view = Json(View::from(replay.as_ref()));
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], view).into_response())
}

/// List replays
#[utoipa::path(
    get, path = "/replays", tag = "replays", params(Page),
    responses(
        (status = 200, description = "A page of them, the oldest first", body = List<View>),
        (status = 400, description = "A value is wrong", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(state): State<AppState>,
    Params(page): Params<Page>,
) -> Result<Json<List<View>>, Problem> {
    principal.require(Scope::Read)?;
    let replays = page.of(state.replays.list(), |replay| replay.id.clone())?;
    Ok(Json(replays.map(|replay| View::from(replay.as_ref()))))
}

/// Look at a replay
#[utoipa::path(
    get, path = "/replays/{id}", tag = "replays",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The replay", body = View),
        (status = 404, description = "There is none", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<Json<View>, Problem> {
    principal.require(Scope::Read)?;
    Ok(Json(View::from(state.replays.get(&id)?.as_ref())))
}

/// Cancel a replay
///
/// Where it runs it ends where it is; it is forgotten.
#[utoipa::path(
    delete, path = "/replays/{id}", tag = "replays",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none", body = Problem),
    )
)]
async fn cancel(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Problem> {
    principal.require(Scope::Write)?;
    state.replays.remove(&id)?;
    Ok(StatusCode::NO_CONTENT)
}
