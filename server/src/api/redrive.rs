//! `/jobs/{id}/redrive`: dead rows that are given back to their table.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use super::request::{MaybeBody, Segment, detached};
use crate::auth::{Principal, Scope};
use crate::jobs::Refused;
use crate::redrive::{self, Wish};
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(redrive))
}

/// Which dead rows to give back: those that fulfil everything that is said.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Redrive {
    /// The table; needed where the job reads several.
    #[schema(example = "trades")]
    table: Option<String>,
    /// A part of the reason.
    #[schema(example = "future")]
    reason: Option<String>,
    /// A condition over the columns of `<table>$dead`: `arrived_at`, `split`, `offset`,
    /// `record_time`, `stage`, `reason`, `payload`.
    #[serde(rename = "where")]
    #[schema(example = "stage = 'intake' AND split = '0'")]
    condition: Option<String>,
    /// Those that arrived before this instant.
    #[schema(example = "2024-01-02T14:30:00Z")]
    until: Option<String>,
    /// Give back also what was given back before.
    #[serde(default)]
    again: bool,
}

/// What became of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct GivenBack {
    /// The table.
    table: String,
    /// How many dead rows were meant.
    matched: usize,
    /// How many came in. Each is late, dead or accepted anew.
    redriven: usize,
    /// How many had been given back before, and were left.
    known: usize,
    /// How many cannot be read as rows of the table, now as then: they stay dead.
    unreadable: usize,
    /// How many were left because nothing says which split they are of, which a table with a
    /// 'key' must know.
    unplaced: usize,
    /// The epoch that they are in, which is committed.
    epoch: Option<u64>,
}

/// Give dead rows back
///
/// Rows of `<table>$dead` arrive again, stamped now, on the split that they came from: what a source
/// received is read again, what the intake or a step gave up is taken as it was. The answer comes
/// when they are committed. A row is given back once, whatever is asked again, unless `again` says
/// otherwise; a kill in between loses none and doubles none. Late rows are not dead: they are in
/// `<table>$late`.
#[utoipa::path(
    post, path = "/jobs/{id}/redrive", tag = "jobs", request_body = Option<Redrive>,
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 200, description = "They came in", body = GivenBack),
        (status = 400, description = "A value is wrong", body = Problem),
        (status = 404, description = "There is no such job, or it reads no such table",
            body = Problem),
        (status = 409, description = "The job does not run, or belongs to the program that shows it",
            body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
        (status = 503, description = "The job ended meanwhile", body = Problem),
    )
)]
async fn redrive(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
    MaybeBody(redrive): MaybeBody<Redrive>,
) -> Result<Json<GivenBack>, Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    let redrive = redrive.unwrap_or_default();
    let until = redrive
        .until
        .as_deref()
        .map(crate::cli::instant)
        .transpose();
    let until = until.map_err(|hint| Problem::invalid(format!("'until' is no instant: {hint}")))?;
    let condition = match &redrive.condition {
        None => None,
        Some(text) => {
            let compiled = redrive::condition(text);
            Some(compiled.map_err(|errors| Refused::Script(text.clone(), errors))?)
        }
    };
    let wish = Wish {
        reason: redrive.reason,
        condition,
        until,
        again: redrive.again,
    };
    let running = slot.running();
    let running = running.and_then(|running| Some((running.redriver.clone()?, running)));
    let Some((redriver, running)) = running else {
        return Err(Problem::conflict(format!(
            "job '{}' does not run here: start it, and ask again",
            slot.name
        )));
    };
    let table = redrive::table(&running.graph, redrive.table.as_deref())?;
    let name = running.graph.inputs[table].stream.name.clone();
    let home = state.jobs.home(&slot);
    let giving = async move {
        let job = redrive::Job {
            graph: &running.graph,
            redriver: &redriver,
            committed: running.observer.status().committed,
            home: &home,
        };
        redrive::redrive(&job, table, &wish).await
    };
    let summary = detached(giving).await??;
    Ok(Json(GivenBack {
        table: name,
        matched: summary.matched,
        redriven: summary.redriven,
        known: summary.known,
        unreadable: summary.unreadable,
        unplaced: summary.unplaced,
        epoch: summary.epoch.map(|epoch| epoch.0),
    }))
}
