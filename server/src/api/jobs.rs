//! `/jobs`: submit, list, look, stop, start, delete, and check without running.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Fault, faults};
use super::page::{List, Page};
use super::request::{Body, MaybeBody, Params, Segment, detached};
use super::{PREFIX, Problem};
use crate::auth::{Principal, Scope};
use crate::jobs::view::Job;
use crate::jobs::{NewText, Refused, StartFrom, Submission, check_name, plan};
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(submit, list))
        .routes(routes!(check))
        .routes(routes!(get, delete))
        .routes(routes!(stop))
        .routes(routes!(start))
}

/// A job to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Submit {
    /// Unique, of letters, digits, `-` and `_`; else the name that the text sets.
    #[schema(
        example = "vwap",
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9_-]+$"
    )]
    name: Option<String>,
    /// The text: `CREATE TABLE …; INSERT INTO … SELECT …`.
    sql: String,
    /// Options of tables that replace those of the text, by `table.key`.
    #[serde(default)]
    #[schema(example = json!({"trades.properties.bootstrap.servers": "localhost:9092"}))]
    options: BTreeMap<String, String>,
}

impl From<Submit> for Submission {
    fn from(submit: Submit) -> Self {
        Self {
            name: submit.name,
            sql: submit.sql,
            options: submit.options,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Checked {
    /// Whether the text can run.
    ok: bool,
    /// Everything that is wrong with it.
    errors: Vec<Fault>,
    /// The steps of its graph, where it is well.
    plan: Option<String>,
}

/// With what a job starts.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Start {
    /// `state` (what it stopped with), `empty`, `recording`, `offset`, or `{"savepoint": "name"}`.
    #[serde(default)]
    from: StartWith,
    /// From a savepoint: give up a state that the text has no place for.
    #[serde(default)]
    allow_dropped_state: bool,
    /// From a savepoint or from nothing: a text in the place of the one that was submitted. Steps
    /// that are as they were, with everything that feeds them, keep their state.
    sql: Option<String>,
    /// The options that go with that text.
    options: Option<BTreeMap<String, String>>,
}

impl Start {
    fn wish(self) -> Result<(StartFrom, Option<NewText>), Problem> {
        let may_drop = self.allow_dropped_state;
        let from = match self.from {
            StartWith::State => StartFrom::State,
            StartWith::Empty => StartFrom::Empty,
            StartWith::Recording => StartFrom::Recording,
            StartWith::Offset => StartFrom::Offset,
            StartWith::Savepoint(name) => StartFrom::Savepoint { name, may_drop },
        };
        let text = match (self.sql, self.options) {
            (None, None) => None,
            (None, Some(_)) => {
                let detail =
                    "'options' go with a text in 'sql': give it, also where it is the same";
                return Err(Problem::invalid(detail));
            }
            (Some(sql), options) => Some(NewText {
                sql,
                options: options.unwrap_or_default(),
            }),
        };
        let (takes_text, drops) = match from {
            StartFrom::State | StartFrom::Recording | StartFrom::Offset => (false, false),
            StartFrom::Empty => (true, false),
            StartFrom::Savepoint { .. } => (true, true),
        };
        if text.is_some() && !takes_text {
            return Err(Problem::invalid(
                "the state is of the text that was submitted: start another text from a savepoint, \
                 or from 'empty'",
            ));
        }
        if may_drop && !drops {
            let detail = "'allow_dropped_state' is about a start from a savepoint";
            return Err(Problem::invalid(detail));
        }
        Ok((from, text))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StartWith {
    /// The state it stopped with.
    #[default]
    State,
    /// Nothing: its log, state, late and dead rows are removed. Outputs and recordings stay.
    Empty,
    /// The one that the recordings of its tables give, should the kept one be lost; every table
    /// that is read needs an `archive`. It goes on where it stopped.
    Recording,
    /// The state it stopped with, where Kafka has removed messages before they were read: it goes
    /// on with the first that is there, and counts what is gone as `skipped`.
    Offset,
    /// The one that was kept under a name. Inputs are read again from there on: what the job wrote
    /// after it stays, and comes again.
    Savepoint(String),
}

/// Submit a job
///
/// It is checked, kept, and started at once. It comes back when the server restarts, until it is
/// stopped.
#[utoipa::path(
    post, path = "/jobs", tag = "jobs", request_body = Submit,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "A request repeated under one key within a day is answered alike")),
    responses(
        (status = 201, description = "It runs", body = Job,
            headers(("Location" = String, description = "Where it is"))),
        (status = 400, description = "The text or a value is wrong", body = Problem),
        (status = 409, description = "The name is taken", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
        (status = 422, description = "The key stands for another request", body = Problem),
    )
)]
async fn submit(
    principal: Principal,
    State(state): State<AppState>,
    Body(submit): Body<Submit>,
) -> Result<Response, Problem> {
    principal.require(Scope::Write)?;
    let submitting = async move { state.jobs.submit(submit.into()).await };
    let slot = detached(submitting).await??;
    let place = format!("{PREFIX}/jobs/{}", slot.id);
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Json(slot.view()),
    );
    Ok(answer.into_response())
}

/// List jobs
#[utoipa::path(
    get, path = "/jobs", tag = "jobs", params(Page),
    responses(
        (status = 200, description = "A page of them, the oldest first", body = List<Job>),
        (status = 400, description = "A value is wrong", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(state): State<AppState>,
    Params(page): Params<Page>,
) -> Result<Json<List<Job>>, Problem> {
    principal.require(Scope::Read)?;
    let slots = page.of(state.jobs.list(), |slot| slot.id.clone())?;
    Ok(Json(slots.map(|slot| slot.view())))
}

/// Check a text
///
/// Nothing is run or kept, and nothing that it names is touched. A text that is wrong is a good
/// question: the answer is 200 with the errors.
#[utoipa::path(
    post, path = "/jobs/check", tag = "jobs", request_body = Submit,
    responses(
        (status = 200, description = "What was found", body = Checked),
        (status = 400, description = "The body or the name is wrong", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
    )
)]
async fn check(principal: Principal, Body(submit): Body<Submit>) -> Result<Json<Checked>, Problem> {
    principal.require(Scope::Read)?;
    submit.name.as_deref().map(check_name).transpose()?;
    let checked = |errors: Vec<Fault>, plan: Option<String>| Checked {
        ok: errors.is_empty(),
        errors,
        plan,
    };
    match plan(submit.sql, submit.options).await {
        Ok(plan) => Ok(Json(checked(vec![], Some(plan.graph.to_string())))),
        Err(Refused::Script(text, errors)) => Ok(Json(checked(faults(&text, errors), None))),
        Err(refused) => Err(refused.into()),
    }
}

/// Look at a job
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 200, description = "The job", body = Job),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is none", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<Json<Job>, Problem> {
    principal.require(Scope::Read)?;
    Ok(Json(state.jobs.get(&id)?.view()))
}

/// Delete a job
///
/// It is stopped where it runs, and its log, state, late and dead rows are removed. Outputs and
/// recordings stay.
#[utoipa::path(
    delete, path = "/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is none", body = Problem),
        (status = 409, description = "It belongs to the program that shows it", body = Problem),
    )
)]
async fn delete(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    detached(async move { state.jobs.delete(&slot).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Stop a job
///
/// It takes a last commit and a snapshot; until it has, its state is `stopping`.
#[utoipa::path(
    post, path = "/jobs/{id}/stop", tag = "jobs",
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 202, description = "It stops, or has stopped", body = Job),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is none", body = Problem),
        (status = 409, description = "It does not run", body = Problem),
    )
)]
async fn stop(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    state.jobs.stop(&slot).await?;
    Ok((StatusCode::ACCEPTED, Json(slot.view())))
}

/// Start a job that does not run
#[utoipa::path(
    post, path = "/jobs/{id}/start", tag = "jobs", request_body = Option<Start>,
    params(("id" = String, Path, description = "Its id or its name")),
    responses(
        (status = 202, description = "It starts", body = Job),
        (status = 400, description = "It cannot be started so", body = Problem),
        (status = 404, description = "There is none, or it has no such savepoint", body = Problem),
        (status = 409, description = "It runs", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
    )
)]
async fn start(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
    MaybeBody(start): MaybeBody<Start>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    principal.require(Scope::Write)?;
    let slot = state.jobs.get(&id)?;
    let (from, text) = start.unwrap_or_default().wish()?;
    let started = Arc::clone(&slot);
    detached(async move { state.jobs.start(&started, from, text).await }).await??;
    Ok((StatusCode::ACCEPTED, Json(slot.view())))
}
