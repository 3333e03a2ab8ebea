//! `Idempotency-Key`: a request that is repeated is answered as it was the first time.
//!
//! The answer is kept for a day under a digest of who asks and of the key. Answers that say
//! nothing about the request (429, 5xx) are not kept, so trying again is worth it.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::request::{detached, route};
use super::{PREFIX, Problem};
use crate::auth::Principal;
use crate::state::AppState;
use crate::store::answers::Answer;

/// The header, and the longest value it may have.
const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;
/// What is created below the prefix under such a key. (What answers with a secret must not be
/// here: answers are kept.)
const CREATIONS: [&str; 2] = ["/jobs", "/replays"];

/// Answers a repeated request from the store.
pub(super) async fn once(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = route(&request);
    let creates = path
        .strip_prefix(PREFIX)
        .is_some_and(|path| CREATIONS.contains(&path));
    let who = request.extensions().get::<Principal>();
    let key = key(request.headers(), who)?;
    let Some(key) = key.filter(|_| creates && request.method() == Method::POST) else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, state.config.max_body).await.map_err(|_| {
        let title = "The body is too large";
        let detail = "send less, or raise the setting max_body";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title, detail)
    })?;
    let asked = digest(&[
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        &bytes,
    ]);
    if let Some(answer) = state.store.claim_answer(&key, &asked).await? {
        return repeated(answer, &asked);
    }
    // A claim is settled even where the client has gone.
    detached(async move {
        let answered = next
            .run(Request::from_parts(parts, Body::from(bytes)))
            .await;
        keep(&state, &key, asked, answered).await
    })
    .await?
}

fn key(headers: &HeaderMap, who: Option<&Principal>) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(HEADER) else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > LONGEST {
        let message = format!("the Idempotency-Key has 1 to {LONGEST} characters");
        return Err(Problem::invalid(message));
    }
    // Whoever asks may use any key: the answers of others are not for them.
    let who = who.map_or("", |who| who.id.as_ref());
    Ok(Some(digest(&[who.as_bytes(), key.as_bytes()])))
}

fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    BASE64_URL_SAFE_NO_PAD.encode(digest.finalize())
}

fn repeated(answer: Answer, asked: &str) -> Result<Response, Problem> {
    if answer.request != asked {
        return Err(Problem::other_request(
            "another request was sent under this key: take a new key for each request",
        ));
    }
    let status = answer.status.and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return Err(Problem::conflict(
            "the first request under this key is under way: ask again in a moment",
        ));
    };
    let mut response = (status, answer.body.unwrap_or_default()).into_response();
    let kept = [
        (header::LOCATION, answer.location),
        (header::CONTENT_TYPE, answer.content_type),
    ];
    for (name, value) in kept {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn keep(
    state: &AppState,
    key: &str,
    request: String,
    answered: Response,
) -> Result<Response, Problem> {
    let passing = answered.status() == StatusCode::TOO_MANY_REQUESTS;
    if answered.status().is_server_error() || passing {
        state.store.release_answer(key).await?;
        return Ok(answered);
    }
    let (parts, body) = answered.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|error| engine::Error::internal("an answer could not be read").caused_by(error))?;
    let text = |name| {
        let value: Option<&HeaderValue> = parts.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let answer = Answer {
        request,
        status: Some(i64::from(parts.status.as_u16())),
        location: text(header::LOCATION),
        content_type: text(header::CONTENT_TYPE),
        body: Some(String::from_utf8_lossy(&body).into_owned()),
    };
    state.store.keep_answer(key, &answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
