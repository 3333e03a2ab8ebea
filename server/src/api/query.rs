//! `/query`: plain SQL over what jobs have written.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use super::error::faults;
use super::request::Body;
use crate::auth::{Principal, Scope};
use crate::query::{self, Limits, Unanswered};
use crate::state::AppState;

/// Rows of an answer, where nothing is said, and at most.
const ROWS: (usize, usize) = (10_000, 100_000);
/// Milliseconds that a query may take, where nothing is said, and at most.
const TIME: (u64, u64) = (30_000, 300_000);

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(query))
}

/// A query.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// One `SELECT`.
    #[schema(example = "SELECT symbol, max(price) FROM bars GROUP BY symbol")]
    sql: String,
    /// Rows of the answer at most.
    #[schema(minimum = 1, maximum = 100_000, default = 10_000)]
    limit: Option<usize>,
    /// Milliseconds that it may take.
    #[schema(minimum = 1, maximum = 300_000, default = 30_000)]
    timeout_ms: Option<u64>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueryAnswer)]
struct Answer {
    /// In order.
    columns: Vec<Column>,
    /// An object each, by column; instants as RFC 3339.
    #[schema(value_type = Vec<Object>)]
    rows: Box<RawValue>,
    /// Whether there are more rows than the limit.
    truncated: bool,
    /// By table: the last epoch whose rows the query saw.
    cut: BTreeMap<String, u64>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueryColumn)]
struct Column {
    /// Its name.
    name: String,
    /// Its type in SQL.
    #[serde(rename = "type")]
    #[schema(example = "DOUBLE")]
    data_type: String,
}

/// Query tables
///
/// Those that jobs write, running or stopped, and the late and dead rows of those that they read
/// (`"trades$late"`, `"trades$dead"`). All tables are seen as of one moment. A query reads tables:
/// no files, and nothing is changed.
#[utoipa::path(
    post, path = "/query", tag = "rows", request_body = Query,
    responses(
        (status = 200, description = "The rows", body = Answer),
        (status = 400, description = "The text or a value is wrong", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
        (status = 422, description = "It takes more time or memory than it may", body = Problem),
        (status = 429, description = "Too many queries run", body = Problem,
            headers(("Retry-After" = u64, description = "In how many seconds to try again"))),
    )
)]
async fn query(
    principal: Principal,
    State(state): State<AppState>,
    Body(query): Body<Query>,
) -> Result<Response, Problem> {
    principal.require(Scope::Read)?;
    let limits = limits(&query)?;
    let text = query.sql.clone();
    let looking = state.clone();
    let looked = tokio::task::spawn_blocking(move || query::find(&looking, &text)).await;
    let looked = looked.map_err(|error| {
        engine::Error::internal("the tables of a query cannot be found").caused_by(error)
    })?;
    let wrong = |errors| Problem::faults(faults(&query.sql, errors));
    let tables = looked.map_err(wrong)?;
    let cut = tables
        .iter()
        .map(|(name, cut)| (name.clone(), cut.epoch.0))
        .collect();
    match state.queries.run(query.sql.clone(), tables, limits).await {
        Ok(answer) => {
            let columns = answer.columns.into_iter().map(|column| Column {
                name: column.name,
                data_type: column.data_type,
            });
            let answer = Answer {
                columns: columns.collect(),
                rows: answer.rows,
                truncated: answer.truncated,
                cut,
            };
            Ok(Json(answer).into_response())
        }
        Err(Unanswered::Wrong(errors)) => Err(wrong(errors)),
        Err(Unanswered::Limit(detail)) => {
            let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "The query takes too much");
            Err(Problem::new(status, "query-limit", title, detail))
        }
        Err(Unanswered::Busy) => {
            let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Too many queries run");
            let problem = Problem::new(status, "busy", title, "ask again when others have ended");
            let mut response = problem.into_response();
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(response)
        }
        Err(Unanswered::Failed(error)) => Err(error.into()),
    }
}

fn limits(query: &Query) -> Result<Limits, Problem> {
    let (rows, time) = (
        query.limit.unwrap_or(ROWS.0),
        query.timeout_ms.unwrap_or(TIME.0),
    );
    if !(1..=ROWS.1).contains(&rows) {
        return Err(Problem::invalid(format!(
            "limit is {rows}, expected 1 to {}",
            ROWS.1
        )));
    }
    if !(1..=TIME.1).contains(&time) {
        return Err(Problem::invalid(format!(
            "timeout_ms is {time}, expected 1 to {}",
            TIME.1
        )));
    }
    Ok(Limits {
        rows,
        time: Duration::from_millis(time),
    })
}
