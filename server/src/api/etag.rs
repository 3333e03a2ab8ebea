//! `ETag`: what is asked for again and has not changed is not sent again.
//!
//! The tag is a digest of the answer, so that no resource has to know when it changes. What it
//! saves is the way to the client and what reading it costs there.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, ResponseBuilder};

use super::Problem;

const JSON: &str = "application/json";

/// Tags the JSON that a `GET` is answered with; 304 where the client has it.
pub(super) async fn tag(request: Request, next: Next) -> Result<Response, Problem> {
    if request.method() != Method::GET {
        return Ok(next.run(request).await);
    }
    let known = request.headers().get_all(header::IF_NONE_MATCH);
    let known: Vec<HeaderValue> = known.iter().cloned().collect();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK || !is_json(response.headers()) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|error| engine::Error::internal("an answer could not be read").caused_by(error))?;
    let tag = of(&body);
    if let Ok(value) = HeaderValue::try_from(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    if !is_known(&known, &tag) {
        return Ok(Response::from_parts(parts, Body::from(body)));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Ok((StatusCode::NOT_MODIFIED, parts.headers).into_response())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(JSON.as_bytes()))
}

fn of(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..12]))
}

/// Whether one of the tags that a client names is this one.
fn is_known(known: &[HeaderValue], tag: &str) -> bool {
    let known = known.iter().filter_map(|known| known.to_str().ok());
    let mut known = known.flat_map(|known| known.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Adds it to the description of an operation that is answered with JSON.
pub(super) fn describe(operation: &mut Operation) {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let answers = &mut operation.responses.responses;
    let Some(RefOr::T(answer)) = answers.get_mut("200") else {
        return;
    };
    if !answer.content.contains_key(JSON) {
        return;
    }
    let tag = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some("Changes whenever the answer does"));
    answer
        .headers
        .insert("ETag".to_owned(), RefOr::T(tag.build()));
    let same = ResponseBuilder::new().description("It is as it was");
    answers.insert("304".to_owned(), RefOr::T(same.build()));
    let known = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The ETag that is known"))
        .schema(Some(text()));
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(known.build()));
}
