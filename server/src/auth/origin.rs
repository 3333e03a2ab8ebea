//! Which web pages may use the server from a browser. A page of anywhere can send requests to
//! `127.0.0.1`, and names can be made to point there: where nobody has to say who they are, the
//! browser's word for where a request comes from is all that keeps it out.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::uri::Authority;
use axum::http::{Method, Uri};
use engine::{Error, Result};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was told about an origin.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The origins that may, besides the server's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    /// `scheme://host:port`, in lower case.
    listed: Vec<String>,
    /// `*`: every origin.
    every: bool,
}

impl Origins {
    /// Those of the settings, with commas between them: `https://desk.example.com`, or `*`.
    pub(crate) fn new(listed: &str) -> Result<Self> {
        let mut origins = Self::default();
        if listed.trim().is_empty() {
            return Ok(origins);
        }
        for origin in listed.split(',').map(str::trim) {
            if origin == "*" {
                origins.every = true;
                continue;
            }
            let uri: Option<Uri> = origin.parse().ok();
            let plain = uri.filter(|uri| {
                ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
                    && uri.authority().is_some_and(|at| !at.as_str().contains('@'))
                    && uri.path_and_query().is_none_or(|rest| rest.as_str() == "/")
                    && !origin.ends_with('/')
            });
            let Some(plain) = plain else {
                return Err(Error::invalid(format!(
                    "'{origin}' is no origin that can be allowed: write https://desk.example.com, \
                     without a path"
                )));
            };
            let authority = plain.authority().map(Authority::as_str).unwrap_or_default();
            let scheme = plain.scheme_str().unwrap_or_default();
            let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
            origins.listed.push(origin);
        }
        Ok(origins)
    }

    /// Whether a request may come from where its browser says it does; one that says nothing
    /// comes from no page.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        // `null` is what a page says that hides where it is from.
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else {
            return false;
        };
        let own = |host: &str| {
            let at = origin.split_once("://").map(|(_, at)| at);
            at.is_some_and(|at| at.eq_ignore_ascii_case(host))
        };
        self.every || self.listed.contains(&origin) || host(headers).is_some_and(own)
    }

    /// What browsers are told: only of origins that are listed, since the server's own needs no
    /// leave.
    pub(crate) fn cors(&self) -> CorsLayer {
        let name = HeaderName::from_static;
        let origins = match self.every {
            true => AllowOrigin::any(),
            false => {
                let listed = self.listed.iter();
                AllowOrigin::list(listed.filter_map(|origin| HeaderValue::from_str(origin).ok()))
            }
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_ENCODING,
                CONTENT_TYPE,
                IF_NONE_MATCH,
                name("idempotency-key"),
                name("last-event-id"),
                name("x-api-key"),
                name("x-request-id"),
            ])
            .expose_headers([
                ETAG,
                LOCATION,
                RETRY_AFTER,
                name("ratelimit-limit"),
                name("ratelimit-remaining"),
                name("ratelimit-reset"),
                name("x-request-id"),
            ])
            .max_age(REMEMBERED)
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

/// Whether a request was meant for this machine by a name that cannot be made to point here. One
/// that names no host comes from no browser.
pub(crate) fn is_for_this_machine(headers: &HeaderMap) -> bool {
    if !headers.contains_key(HOST) {
        return true;
    }
    let Some(host) = host(headers) else {
        return false;
    };
    let uri: Option<Authority> = host.parse().ok();
    let Some(name) = uri.as_ref().map(Authority::host) else {
        return false;
    };
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_own_origin_and_those_listed_may() {
        let origins = Origins::new("http://a.org, https://desk.example.com").unwrap();
        let allow = |host, origin| origins.allow(&headers(host, origin));
        assert!(allow("127.0.0.1:8080", None));
        assert!(allow("127.0.0.1:8080", Some("http://127.0.0.1:8080")));
        assert!(allow("Host:1", Some("https://host:1")));
        assert!(allow("127.0.0.1:8080", Some("https://Desk.example.com")));
        for other in [
            "http://desk.example.com",
            "https://desk.example.com.evil.org",
            "https://evil.org",
            "http://127.0.0.1:9090",
            "null",
            "",
        ] {
            assert!(!allow("127.0.0.1:8080", Some(other)), "{other}");
        }
        let every = Origins::new("*").unwrap();
        assert!(every.allow(&headers("h", Some("https://evil.org"))));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in [
            "desk.example.com",
            "https://desk.example.com/",
            "https://desk.example.com/path",
            "https://me@desk.example.com",
            "ftp://desk.example.com",
            "https://*.example.com x",
            "https://a.org,",
        ] {
            assert!(Origins::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Origins::new(" ").unwrap(), Origins::default());
    }

    #[test]
    fn names_that_anyone_can_point_here_are_not_this_machine() {
        let local = |host: &str| is_for_this_machine(&headers(host, None));
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "127.9.9.9",
        ] {
            assert!(local(host), "{host}");
        }
        for host in [
            "evil.org",
            "localhost.evil.org",
            "127.0.0.1.evil.org:80",
            "10.0.0.1",
            "a b",
        ] {
            assert!(!local(host), "{host}");
        }
        assert!(is_for_this_machine(&HeaderMap::new()));
    }
}
