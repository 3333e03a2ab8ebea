//! `/live` and `/streams/{stream}`: live windows over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::callers::{Caller, Door};
use super::protocol::{self, Subscribe};
use super::view::Mode;
use super::websocket::Refusal;
use super::{Who, follow, spoken_version, upgrade};
use crate::api::{Fault, Params, Problem, Segment};
use crate::auth::{Principal, Scope};
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(events))
}

/// Open a WebSocket
///
/// JSON text frames; permessage-deflate where the client offers it. The client sends
/// `{"type":"subscribe","id":"a","stream":"indicators","where":"rsi > 70","columns":["symbol"],
/// "from":"cursor","mode":"rows"}`, `{"type":"unsubscribe","id":"a"}` and `{"type":"ping"}`. The
/// server sends `subscribed`, `snapshot`, `update`, `forming`, `reset`, `heartbeat`,
/// `unsubscribed`, `error` and `pong`; an `update` goes on exactly where the frame before it of
/// its channel ended. A frame that a client sends counts as a request does: one too many is answered
/// by an `error` of the code `limit`, and has no other effect. A connection ends, with the code 1008,
/// when the key that it was opened with is revoked.
#[utoipa::path(
    get, path = "/live", tag = "live",
    responses(
        (status = 101, description = "The connection is a WebSocket from here on"),
        (status = 400, description = "The handshake is wrong", body = Problem),
        (status = 426, description = "The request asks for no upgrade", body = Problem),
    )
)]
async fn open(
    principal: Principal,
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let caller = Caller::new(state.access, &principal);
    let who = match principal.require(Scope::Read) {
        Ok(()) => Who::Known(Arc::new(caller)),
        Err(_) if principal.is_unknown() => Who::Unknown(Arc::new(Door(caller))),
        Err(denied) => return Err(denied.into()),
    };
    match upgrade(request, &state.hubs, who) {
        Ok(response) => Ok(response),
        Err(refusal) if refusal.status == StatusCode::UPGRADE_REQUIRED => {
            Ok(([spoken_version()], Problem::from(refusal)).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// What is followed of a stream.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Choice {
    /// A condition over the columns, as behind WHERE.
    #[serde(rename = "where")]
    #[param(example = "rsi > 70")]
    condition: Option<String>,
    /// The columns, with commas between; all where it is left out.
    #[param(example = "symbol,rsi")]
    columns: Option<String>,
    /// Whole rows, or the key and what changed.
    #[serde(default)]
    #[param(inline)]
    mode: Mode,
    /// The cursor to go on from; the header `Last-Event-ID` comes first.
    from: Option<String>,
}

/// One event of a stream.
#[derive(Debug, ToSchema)]
#[schema(as = LiveEvent)]
#[expect(dead_code, reason = "it is there to be described")]
struct Event {
    /// The cursor to resume from, which a browser sends as `Last-Event-ID`; not every frame has one.
    id: Option<String>,
    /// A frame of the WebSocket, as JSON in one line.
    data: String,
}

/// Follow a stream
///
/// The frames of the WebSocket as server-sent events, each with its cursor as the event's id.
#[utoipa::path(
    get, path = "/streams/{stream}", tag = "live",
    params(("stream" = String, Path, description = "A table that a running job writes"), Choice),
    responses(
        (status = 200, description = "Events, until the job stops",
            content_type = "text/event-stream", body = Event),
        (status = 400, description = "The condition, a column or the cursor is wrong", body = Problem),
        (status = 404, description = "No running job writes such a table", body = Problem),
        (status = 503, description = "There are too many live connections", body = Problem),
    )
)]
async fn events(
    principal: Principal,
    State(state): State<AppState>,
    Segment(stream): Segment<String>,
    Params(choice): Params<Choice>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    principal.require(Scope::Read)?;
    let last = headers
        .get("last-event-id")
        .and_then(|last| last.to_str().ok());
    let columns = choice.columns.as_deref().map(|names| {
        let names = names.split(',').map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    });
    let request = Subscribe {
        id: String::new(),
        stream,
        condition: choice.condition,
        columns,
        from: last.map(str::to_owned).or(choice.from),
        mode: choice.mode,
    };
    let events = follow(&state.hubs, request, Some(principal.id)).await?;
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let title = "The request opens no WebSocket";
        Self::new(refusal.status, "handshake", title, refusal.reason)
    }
}

impl From<protocol::Fault> for Problem {
    fn from(fault: protocol::Fault) -> Self {
        let (status, title) = match fault.code {
            "not-found" => (StatusCode::NOT_FOUND, "There is no such thing"),
            "ambiguous" | "duplicate" => (StatusCode::CONFLICT, "The name stands for several"),
            "unauthorized" => (StatusCode::UNAUTHORIZED, "It is not known who asks"),
            "limit" | "unavailable" => (StatusCode::SERVICE_UNAVAILABLE, "Not at the moment"),
            "internal" => (StatusCode::INTERNAL_SERVER_ERROR, "The server is at fault"),
            _ => (StatusCode::BAD_REQUEST, "The request is wrong"),
        };
        let problem = Self::new(status, fault.code, title, fault.message);
        fault.errors.into_iter().fold(problem, |problem, place| {
            problem.at(Fault {
                message: place.message,
                help: place.help,
                line: place.line,
                column: place.column,
                ..Fault::default()
            })
        })
    }
}
