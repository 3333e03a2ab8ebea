//! What went wrong, as RFC 9457 has it: every error of the API is one of these.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::ErrorKind;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::request_id;
use crate::jobs::Refused;

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: `urn:millstream:invalid`, `:sql`, `:not-found`, `:conflict`,
    /// `:too-large`, `:unavailable`, `:internal`, …
    #[serde(rename = "type", serialize_with = "urn")]
    #[schema(value_type = String, example = "urn:millstream:sql")]
    pub(crate) kind: &'static str,
    /// The kind in words.
    #[schema(value_type = String)]
    pub(crate) title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub(crate) status: u16,
    /// What is wrong, and what to do.
    pub(crate) detail: String,
    /// The id of the request, which log lines carry too.
    pub(crate) instance: Option<String>,
    /// Each thing that is wrong with a text, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Fault>,
}

/// One thing that is wrong with a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u64>,
    /// In characters, at most to the end of the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<u64>,
    /// The table of the option that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// The option that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) option: Option<String>,
}

/// The kind as a URI.
fn urn<S: Serializer>(kind: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:millstream:{kind}"))
}

impl Problem {
    /// A problem of a kind: the last part of its `type`.
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            errors: vec![],
        }
    }

    /// 400: the request is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid",
            "The request is wrong",
            detail,
        )
    }

    /// 404: what was named is not there.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            detail,
        )
    }

    /// 405: the resource has no such method.
    pub(crate) fn method_not_allowed(detail: impl Into<String>) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method", "The method is not supported here", detail)
    }

    /// 409: it does not fit how things stand.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        let title = "The request does not fit how things stand";
        Self::new(StatusCode::CONFLICT, "conflict", title, detail)
    }

    /// 422: a key that stands for another request.
    pub(crate) fn other_request(detail: impl Into<String>) -> Self {
        let title = "The Idempotency-Key stands for another request";
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency",
            title,
            detail,
        )
    }

    /// 400: a text has errors.
    pub(crate) fn faults(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.message.clone(),
            several => format!("the text has {} errors", several.len()),
        };
        let problem = Self::new(StatusCode::BAD_REQUEST, "sql", "The SQL is wrong", detail);
        Self { errors, ..problem }
    }

    /// The same problem with one place.
    #[must_use]
    pub(crate) fn at(mut self, fault: Fault) -> Self {
        self.errors.push(fault);
        self
    }
}

/// The errors of a text as faults, in the order of the text and each told once.
pub(crate) fn faults(text: &str, mut errors: Vec<sql::Error>) -> Vec<Fault> {
    errors.sort_by_key(|error| error.span.start);
    let mut faults: Vec<Fault> = vec![];
    for error in errors {
        let fault = fault(text, error);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}

fn fault(text: &str, error: sql::Error) -> Fault {
    let (start, end) = (error.span.start, error.span.end);
    let placed = start.line > 0;
    let length = || {
        if end.line == start.line {
            return end.column.saturating_sub(start.column).max(1);
        }
        let line = usize::try_from(start.line - 1).unwrap_or(usize::MAX);
        let line = text.lines().nth(line).unwrap_or_default();
        let letters = line.chars().count() as u64 + 1;
        letters.saturating_sub(start.column).max(1)
    };
    let option = error.option.as_deref();
    let (table, option) = match option.and_then(|option| option.split_once('.')) {
        Some((table, key)) => (Some(table.to_owned()), Some(key.to_owned())),
        None => (None, option.map(str::to_owned)),
    };
    Fault {
        message: error.message,
        help: error.hint,
        line: placed.then_some(start.line),
        column: placed.then_some(start.column.max(1)),
        length: placed.then(length),
        table,
        option,
    }
}

impl From<engine::Error> for Problem {
    fn from(error: engine::Error) -> Self {
        let chain = error.chain();
        match error.kind() {
            ErrorKind::Invalid => Self::invalid(chain),
            ErrorKind::NotFound => Self::not_found(chain),
            ErrorKind::Unavailable => {
                tracing::warn!(error = chain, "unavailable");
                let title = "Something that is needed does not answer";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, chain)
            }
            ErrorKind::Corrupt => {
                tracing::error!(error = chain, "damaged data");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, "corrupt", "Stored data is damaged", chain)
            }
            ErrorKind::Internal => {
                tracing::error!(error = chain, "a defect");
                let (status, title) = (StatusCode::INTERNAL_SERVER_ERROR, "A defect of Millstream");
                let detail = "the log tells more under the id of this request";
                Self::new(status, "internal", title, detail)
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Script(text, errors) => Self::faults(faults(&text, errors)),
            Refused::Conflict(why) => Self::conflict(why),
            Refused::Error(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.instance = self.instance.or_else(request_id);
        // A problem is strings and numbers, which can be written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers
                .entry(header::RETRY_AFTER)
                .or_insert(HeaderValue::from_static("1"));
        }
        response
    }
}
