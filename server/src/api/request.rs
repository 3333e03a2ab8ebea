//! What every request has: an id, and a body, a query and a path that are read with errors that
//! help.

use std::time::Instant;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::Problem;
use super::error::Fault;

/// The header with the id, in requests and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over.
const LONGEST: usize = 128;

tokio::task_local! {
    /// The id of the request that this task answers.
    static CURRENT: String;
}

/// The id of the request that is being answered, inside a handler.
pub(crate) fn request_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives every request an id, its own where it is a plain one, and logs how it ended.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let span = tracing::info_span!("request", request = id, method = %request.method(),
        path = request.uri().path());
    let started = Instant::now();
    let answering = async {
        let mut response = next.run(request).await;
        let micros = started.elapsed().as_micros() as u64;
        tracing::info!(status = response.status().as_u16(), micros, "answered");
        if let Some(Ok(id)) = request_id().map(HeaderValue::try_from) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    };
    CURRENT.scope(id, answering.instrument(span)).await
}

fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    let fits = !id.is_empty() && id.len() <= LONGEST && id.chars().all(plain);
    fits.then(|| id.to_owned())
}

/// The route of a request as it is declared.
pub(super) fn route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("none", MatchedPath::as_str).to_owned()
}

/// Does something to its end, even where the client does not wait for it.
pub(super) async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let id = request_id().unwrap_or_default();
    let work = CURRENT.scope(id, Box::pin(work)).in_current_span();
    let broken = |error| engine::Error::internal("a task broke down").caused_by(error);
    tokio::spawn(work)
        .await
        .map_err(broken)
        .map_err(Problem::from)
}

/// A JSON body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let detail = "send JSON, with the header 'Content-Type: application/json'";
            return Err(Problem::new(
                status,
                "media-type",
                "The body is no JSON",
                detail,
            ));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| unread(&error))?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaybeBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| unread(&error))?;
        match bytes.is_empty() {
            true => Ok(Self(None)),
            // `null` is nothing as well.
            false => parse(&bytes).map(Self),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let fault = Fault {
            message: error.to_string(),
            line: Some(error.line() as u64).filter(|line| *line > 0),
            column: Some(error.column() as u64).filter(|column| *column > 0),
            ..Fault::default()
        };
        Problem::invalid(format!("the body is not as it should be: {error}")).at(fault)
    })
}

/// A body that could not be read to its end.
pub(super) fn unread(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            let detail = "send less, or raise the setting max_body";
            Problem::new(status, "too-large", "The body is too large", detail)
        }
        _ => Problem::invalid(rejection.body_text()),
    }
}

/// The query of a URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let wrong = |rejection: axum::extract::rejection::QueryRejection| {
            Problem::invalid(format!(
                "the query of the URL is wrong: {}",
                rejection.body_text()
            ))
        };
        query.map(|Query(value)| Self(value)).map_err(wrong)
    }
}

/// What a path has in place of `{…}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let wrong = |rejection: axum::extract::rejection::PathRejection| {
            Problem::invalid(format!("the path is wrong: {}", rejection.body_text()))
        };
        path.map(|Path(value)| Self(value)).map_err(wrong)
    }
}
