//! `/ingest/{table}`: rows that are pushed into a running job.

use std::io::Read;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use connectors::http::Form;
use connectors::http::push::{Receipt, Refusal};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use super::error::Fault;
use super::request::{Params, Segment, unread};
use crate::auth::{Principal, Scope};
use crate::jobs::feeds::Feed;
use crate::state::AppState;

/// Bodies up to so many bytes are decoded where they are: handing them over takes as long.
const SMALL: usize = 64 << 10;
/// How long a client that waits for the commit is kept waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ingest))
}

/// When to answer.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// `committed`: not before the rows are committed and survive a kill.
    #[param(inline)]
    wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Wait {
    /// Not before the rows are committed.
    Committed,
}

/// How a body is compressed, as the description of the API tells it; [`packed`] reads it.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is there to be described")]
enum Encoding {
    /// By gzip.
    Gzip,
    /// Not at all.
    Identity,
}

/// What became of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Ingested {
    /// How many the job takes.
    accepted: usize,
    /// How many could not be read: they are in `<table>$dead`, with the reason.
    rejected: usize,
    /// The first of these, by their place in the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The last committed epoch, where the rows are committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

/// Push rows into a table
///
/// Of a running job, with `'connector' = 'http', 'mode' = 'push'`. The body is a JSON array of
/// objects, one object, or an object a line (`application/x-ndjson`), also compressed
/// (`Content-Encoding: gzip`). It is taken as a whole or not at all; rows that cannot be read go
/// to the table's dead rows and are counted.
///
/// An answer 202 means that the job has the rows in memory: a stop or a kill may lose them. With
/// `?wait=committed` the answer is 200 once they are committed and survive it; it is 202 where that
/// takes longer than 30 seconds. A request that is repeated because nothing was answered may bring
/// its rows twice.
#[utoipa::path(
    post, path = "/ingest/{table}", tag = "rows",
    params(
        ("table" = String, Path,
            description = "Its name, or `job.table` where several jobs have one of that name"),
        When,
        ("Content-Encoding" = inline(Option<Encoding>), Header, description = "How it is compressed"),
    ),
    request_body(
        content((Value = "application/json"), (String = "application/x-ndjson")),
        description = "The rows",
    ),
    responses(
        (status = 200, description = "The rows are committed", body = Ingested),
        (status = 202, description = "The job takes the rows", body = Ingested),
        (status = 400, description = "The body is no JSON", body = Problem),
        (status = 404, description = "No running job has the table", body = Problem),
        (status = 409, description = "The table takes no rows, or several jobs have it",
            body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is compressed otherwise", body = Problem),
        (status = 429, description = "The job is behind", body = Problem,
            headers(("Retry-After" = u64, description = "In how many seconds to try again"))),
        (status = 503, description = "The job has ended", body = Problem),
    )
)]
async fn ingest(
    principal: Principal,
    State(state): State<AppState>,
    Segment(table): Segment<String>,
    Params(when): Params<When>,
    request: Request,
) -> Result<Response, Problem> {
    principal.require(Scope::Write)?;
    let feed = state.jobs.feed(&table)?;
    let (form, packed) = (form(request.headers()), packed(request.headers())?);
    let body = Bytes::from_request(request, &state).await;
    let body = body.map_err(|rejection| unread(&rejection))?;
    let large = packed || body.len() > SMALL;
    let (pusher, most) = (feed.pusher.clone(), state.config.max_body);
    let push = move || -> Result<Result<Receipt, Refusal>, Problem> {
        let body = match packed {
            true => unpack(&body, most)?.into(),
            false => body,
        };
        Ok(pusher.push(&body, form))
    };
    let taken = match large {
        true => tokio::task::spawn_blocking(push).await.map_err(|error| {
            engine::Error::internal("the rows could not be decoded").caused_by(error)
        })?,
        false => push(),
    };
    match taken? {
        Ok(receipt) => answer(feed, receipt, when.wait).await,
        Err(refusal) => Ok(refused(&table, refusal)),
    }
}

/// What the body is said to be.
fn form(headers: &HeaderMap) -> Form {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let lines = ["ndjson", "jsonl", "json-lines", "jsonlines"];
    match lines.iter().any(|name| kind.contains(name)) {
        true => Form::Lines,
        false => Form::Json,
    }
}

/// Whether the body is compressed.
fn packed(headers: &HeaderMap) -> Result<bool, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    let encoding = encoding.map_or("identity", |value| value.to_str().unwrap_or_default());
    match encoding.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        _ => {
            let (status, title) = (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The encoding is not known",
            );
            let detail = "send the body as it is, or with 'Content-Encoding: gzip'";
            Err(Problem::new(status, "media-type", title, detail))
        }
    }
}

/// The body without its compression; one that unfolds to more than `most` bytes is too large.
fn unpack(body: &[u8], most: usize) -> Result<Vec<u8>, Problem> {
    let mut plain = vec![];
    let read = MultiGzDecoder::new(body)
        .take(most as u64 + 1)
        .read_to_end(&mut plain);
    read.map_err(|error| Problem::invalid(format!("the body is not gzip: {error}")))?;
    match plain.len() > most {
        true => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            "it unfolds to more than the setting max_body: send less at once",
        )),
        false => Ok(plain),
    }
}

/// Tells what became of rows that were taken, at once or when they are committed.
async fn answer(feed: Feed, receipt: Receipt, wait: Option<Wait>) -> Result<Response, Problem> {
    let fault = |(row, reason): (usize, String)| Fault {
        message: format!("row {row}: {reason}"),
        ..Fault::default()
    };
    let mut ingested = Ingested {
        accepted: receipt.accepted,
        rejected: receipt.rejected,
        errors: receipt.faults.into_iter().map(fault).collect(),
        epoch: None,
    };
    if wait == Some(Wait::Committed) {
        ingested.epoch = match timeout(PATIENCE, feed.committed(receipt.reached)).await {
            Ok(epoch) => Some(epoch?.0),
            Err(_) => None,
        };
    }
    let status = match ingested.epoch {
        Some(_) => StatusCode::OK,
        None => StatusCode::ACCEPTED,
    };
    Ok((status, Json(ingested)).into_response())
}

/// Why nothing was taken.
fn refused(table: &str, refusal: Refusal) -> Response {
    let problem = match refusal {
        Refusal::Full => {
            let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "The job is behind");
            let detail = format!("the queue of table '{table}' is full: send the rows again later");
            Problem::new(status, "back-pressure", title, detail)
        }
        Refusal::Gone => {
            engine::Error::unavailable(format!("the job that reads '{table}' has ended")).into()
        }
        Refusal::Malformed(reason) => Problem::invalid(format!("the body is no rows: {reason}")),
        Refusal::Failed(reason) => engine::Error::internal(reason).into(),
    };
    let full = problem.status == StatusCode::TOO_MANY_REQUESTS.as_u16();
    let mut response = problem.into_response();
    if full {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_unfolds_to_too_much_is_refused_before_it_has() {
        assert_eq!(unpack(&gzip(b"{}"), 2).unwrap(), b"{}");
        assert_eq!(unpack(&gzip(b"{} "), 2).unwrap_err().status, 413);
        let bomb = gzip(&vec![b' '; 10 << 20]);
        assert_eq!(unpack(&bomb, 1 << 10).unwrap_err().status, 413);
        let whole = gzip(b"{}");
        for broken in [&b"{}"[..], b"", &whole[..whole.len() - 4]] {
            assert_eq!(unpack(broken, 100).unwrap_err().status, 400, "{broken:?}");
        }
    }

    #[test]
    fn lines_are_known_by_their_type() {
        let form_of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            form(&headers)
        };
        assert_eq!(form_of("application/x-ndjson; charset=utf-8"), Form::Lines);
        assert_eq!(form_of("application/jsonl"), Form::Lines);
        assert_eq!(form_of("application/json"), Form::Json);
        assert_eq!(form(&HeaderMap::new()), Form::Json);
    }
}
