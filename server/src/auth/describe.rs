//! What the description of the API says of rights: for every operation the one that it needs, and
//! the answers of the guard.

use axum::http::Method;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};

use super::policy::{self, Needs};
use super::scope::Scope;

/// The names of the ways to prove a right.
const BEARER: &str = "bearer";
const API_KEY: &str = "apiKey";
const TICKET: &str = "ticket";

/// The answers of the guard.
const ANSWERS: [(&str, &str); 3] = [
    ("401", "Nobody, or not any more"),
    ("403", "The key lacks the right, or the page may not"),
    ("429", "Too often"),
];

/// Adds them to a description.
pub(crate) fn describe(api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    let header = ApiKeyValue::new("X-API-Key");
    let query = ApiKeyValue::with_description("ticket", "Good once, and for 30 seconds");
    let schemes = [
        (
            BEARER,
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        ),
        (API_KEY, SecurityScheme::ApiKey(ApiKey::Header(header))),
        (TICKET, SecurityScheme::ApiKey(ApiKey::Query(query))),
    ];
    for (name, scheme) in schemes {
        components.add_security_scheme(name, RefOr::T(scheme));
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(needs) = policy::needs(&method, path) {
                apply(operation, needs);
            }
        }
    }
}

/// The operations of a path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::OPTIONS, item.options.as_mut()),
        (Method::HEAD, item.head.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::TRACE, item.trace.as_mut()),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation?)))
}

fn apply(operation: &mut Operation, needs: Needs) {
    let (scope, ticket): (Scope, bool) = match needs {
        Needs::Nothing => {
            operation.security = Some(vec![]);
            return;
        }
        Needs::Scope(scope) => (scope, false),
        Needs::ScopeOrTicket(scope) | Needs::Session(scope) => (scope, true),
    };
    let names = [BEARER, API_KEY]
        .into_iter()
        .chain(ticket.then_some(TICKET));
    let requirement = |name: &str| SecurityRequirement::new(name, [scope.to_string()]);
    operation.security = Some(names.map(requirement).collect());
    for (status, description) in ANSWERS {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let answer = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", problem);
        let answers = &mut operation.responses.responses;
        answers
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(answer.build()));
    }
}
