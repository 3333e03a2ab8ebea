//! Which right each route asks for: all of them on one screen. A route that is not here is
//! answered to nobody.

use axum::http::Method;

use super::scope::Scope;

/// What a request needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it shows nothing that belongs to anyone.
    Nothing,
    /// The right.
    Scope(Scope),
    /// The right, and a browser may prove it by a ticket in the URL.
    ScopeOrTicket(Scope),
    /// The right, by a ticket too, or by what the first frame of the connection says.
    Session(Scope),
}

const READ: Needs = Needs::Scope(Scope::Read);
const WRITE: Needs = Needs::Scope(Scope::Write);
const ADMIN: Needs = Needs::Scope(Scope::Admin);

/// The routes below `/api/v1`.
static RULES: &[(Method, &str, Needs)] = &[
    (Method::GET, "/openapi.json", Needs::Nothing),
    (Method::GET, "/jobs", READ),
    (Method::POST, "/jobs", WRITE),
    (Method::POST, "/jobs/check", READ),
    (Method::GET, "/jobs/{id}", READ),
    (Method::DELETE, "/jobs/{id}", WRITE),
    (Method::POST, "/jobs/{id}/redrive", WRITE),
    (Method::POST, "/jobs/{id}/savepoint", WRITE),
    (Method::GET, "/jobs/{id}/savepoints", READ),
    (Method::DELETE, "/jobs/{id}/savepoints/{name}", WRITE),
    (Method::POST, "/jobs/{id}/start", WRITE),
    (Method::POST, "/jobs/{id}/stop", WRITE),
    (Method::GET, "/tables", READ),
    (Method::GET, "/tables/{name}", READ),
    (Method::GET, "/indicators", READ),
    (Method::GET, "/indicators/{name}", READ),
    (Method::POST, "/ingest/{table}", WRITE),
    (Method::POST, "/query", READ),
    (Method::GET, "/replays", READ),
    (Method::POST, "/replays", WRITE),
    (Method::GET, "/replays/{id}", READ),
    (Method::DELETE, "/replays/{id}", WRITE),
    (Method::GET, "/keys", ADMIN),
    (Method::POST, "/keys", ADMIN),
    (Method::DELETE, "/keys/{id}", ADMIN),
    (Method::POST, "/tickets", READ),
    (Method::GET, "/live", Needs::Session(Scope::Read)),
    (Method::GET, "/streams", READ),
    (
        Method::GET,
        "/streams/{stream}",
        Needs::ScopeOrTicket(Scope::Read),
    ),
    (Method::GET, "/metrics", READ),
    (Method::GET, "/status", READ),
];

/// What a route needs, by its method and its path as it is declared; `None` where no rule says.
pub(crate) fn needs(method: &Method, path: &str) -> Option<Needs> {
    // What HEAD shows is less than what GET does.
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    if path == "/metrics" {
        return Some(READ);
    }
    let Some(path) = path.strip_prefix("/api/v1") else {
        // The page, its assets, the manual of the API, whether the server is well.
        return (!path.starts_with("/api")).then_some(Needs::Nothing);
    };
    let rule = RULES.iter().find(|(by, at, _)| by == method && *at == path);
    rule.map(|(_, _, needs)| *needs)
}

/// Whether a route is there, by whatever method.
pub(crate) fn knows(path: &str) -> bool {
    let path = path.strip_prefix("/api/v1");
    path.is_some_and(|path| RULES.iter().any(|(_, at, _)| *at == path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_rule_is_nobodys() {
        assert_eq!(needs(&Method::GET, "/api/v1/jobs"), Some(READ));
        assert_eq!(needs(&Method::HEAD, "/api/v1/jobs"), Some(READ));
        assert_eq!(needs(&Method::DELETE, "/api/v1/jobs"), None);
        assert_eq!(needs(&Method::GET, "/api/v1/jobs/{name}"), None);
        assert_eq!(needs(&Method::GET, "/api/v2/jobs"), None);
        assert_eq!(needs(&Method::GET, "/health/ready"), Some(Needs::Nothing));
        assert_eq!(needs(&Method::GET, "/metrics"), Some(READ));
    }

    #[test]
    fn what_changes_something_is_never_open_to_readers() {
        for (method, path, needs) in RULES {
            let changes = *method != Method::GET;
            // They have a body, and change nothing that outlives the request.
            let asks = ["/jobs/check", "/query", "/tickets"].contains(path);
            assert_eq!(
                matches!(*needs, WRITE | ADMIN),
                (changes && !asks) || *path == "/keys",
                "{method} {path}"
            );
        }
    }
}
