//! `/keys`: make, list, revoke; and `/tickets`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{List, Page};
use super::request::{Body, Params, Segment};
use super::{PREFIX, Problem};
use crate::auth::keys::check_name;
use crate::auth::{Principal, Scope, Scopes, ticket};
use crate::state::AppState;
use crate::store::keys::Record;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(revoke))
        .routes(routes!(issue))
}

/// A key to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = KeyToBe)]
#[serde(deny_unknown_fields)]
struct Create {
    /// What you call it: who or what uses it.
    #[schema(example = "feed handler", min_length = 1, max_length = 100)]
    name: String,
    /// What it may: `read`, `write`, `admin`.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
}

/// A key, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Key {
    /// Its number for good.
    id: String,
    /// What you call it.
    name: String,
    /// What it may.
    scopes: Vec<Scope>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339, to about a minute.
    used_at: Option<String>,
    /// RFC 3339.
    revoked_at: Option<String>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyMade)]
struct Created {
    #[serde(flatten)]
    about: Key,
    /// The text to send. Nobody can show it again.
    #[schema(example = "ms_…")]
    key: String,
}

/// A ticket.
#[derive(Serialize, ToSchema)]
struct Ticket {
    /// What to put into the URL: `?ticket=…`.
    #[schema(example = "mt_…")]
    ticket: String,
    /// For how many seconds.
    expires_in: u64,
}

impl TryFrom<Record> for Key {
    type Error = engine::Error;

    fn try_from(record: Record) -> Result<Self, engine::Error> {
        Ok(Self {
            scopes: Scopes::stored(&record.scopes)?.list().to_vec(),
            id: record.id,
            name: record.name,
            created_at: record.created_at,
            used_at: record.used_at,
            revoked_at: record.revoked_at,
        })
    }
}

/// An answer that no cache may keep.
fn unkept<T: Serialize>(status: StatusCode, value: T) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, headers, Json(value)).into_response()
}

/// Make a key
///
/// Its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/keys", tag = "access", request_body = Create,
    responses(
        (status = 201, description = "The key", body = Created,
            headers(("Location" = String, description = "Where it is"))),
        (status = 400, description = "A value is wrong", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is no JSON", body = Problem),
    )
)]
async fn create(
    principal: Principal,
    State(state): State<AppState>,
    Body(create): Body<Create>,
) -> Result<Response, Problem> {
    principal.require(Scope::Admin)?;
    check_name(&create.name)?;
    let scopes = Scopes::new(&create.scopes);
    if scopes.list().is_empty() {
        let message = "the key has no scopes: give it 'read', 'write' or 'admin'";
        return Err(Problem::invalid(message));
    }
    let (record, secret) = state.access.keys().create(&create.name, &scopes).await?;
    tracing::info!(key = record.id, name = record.name, by = %principal.name, "key made");
    let place = format!("{PREFIX}/keys/{}", record.id);
    let created = Created {
        about: record.try_into()?,
        key: secret.reveal().to_owned(),
    };
    let mut answer = unkept(StatusCode::CREATED, created);
    let place = HeaderValue::try_from(place).ok();
    answer
        .headers_mut()
        .extend(place.map(|place| (header::LOCATION, place)));
    Ok(answer)
}

/// List keys
#[utoipa::path(
    get, path = "/keys", tag = "access", params(Page),
    responses(
        (status = 200, description = "A page of them, the oldest first", body = List<Key>),
        (status = 400, description = "A value is wrong", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(state): State<AppState>,
    Params(page): Params<Page>,
) -> Result<Json<List<Key>>, Problem> {
    principal.require(Scope::Admin)?;
    let records = state.access.keys().list().await?.into_iter();
    let keys: Result<Vec<Key>, _> = records.map(Key::try_from).collect();
    Ok(Json(page.of(keys?, |key| key.id.clone())?))
}

/// Revoke a key
///
/// It is good no longer, at once and for good, and the live connections that it opened end. It stays
/// in the list.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "access",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "There is none", body = Problem),
    )
)]
async fn revoke(
    principal: Principal,
    State(state): State<AppState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Problem> {
    principal.require(Scope::Admin)?;
    if !state.access.keys().revoke(&id).await? {
        return Err(Problem::not_found(format!("there is no key '{id}'")));
    }
    state.hubs.close_of(|client| client == id);
    tracing::info!(key = id, by = %principal.name, "key revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Take a ticket
///
/// A browser cannot send a key with a WebSocket or an `EventSource`: a ticket in the URL stands
/// for it, once and for 30 seconds.
#[utoipa::path(
    post, path = "/tickets", tag = "access",
    responses(
        (status = 201, description = "The ticket", body = Ticket),
        (status = 429, description = "Too many of them wait to be used", body = Problem),
    )
)]
async fn issue(principal: Principal, State(state): State<AppState>) -> Result<Response, Problem> {
    principal.require(Scope::Read)?;
    let ticket = Ticket {
        ticket: state.access.issue(principal)?.reveal().to_owned(),
        expires_in: ticket::LIFETIME.as_secs(),
    };
    Ok(unkept(StatusCode::CREATED, ticket))
}
