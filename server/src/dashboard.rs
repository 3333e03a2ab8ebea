//! The live page: the files of `server/dashboard/dist`, which are part of the binary, so that it
//! needs nothing else and a browser asks nobody but this server. (Built for development, the files
//! are read at each request: a page that is built anew shows without building the server.)
//!
//! The page needs no key: it holds no data, and what it asks for is refused where a key is missing.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rust_embed::RustEmbed;

/// The built page; `make dashboard` builds it.
#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
struct Dist;

const INDEX: &str = "index.html";

/// Nothing from elsewhere, nothing inline, and no page around this one.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'; object-src 'none'";

/// The page at `/` and its files, each by its own path; what else is asked for is left to others.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Dist::iter().fold(Router::new(), |router, name| {
        let path = match &*name {
            INDEX => "/".to_owned(),
            file => format!("/{file}"),
        };
        router.route(
            &path,
            get(async move |headers: HeaderMap| answer(&name, &headers)),
        )
    })
}

fn answer(name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = Dist::get(name) else {
        return StatusCode::NOT_FOUND.into_response(); // Removed since the server was started.
    };
    let digest = file.metadata.sha256_hash();
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..12]));
    let headers = [
        (CONTENT_TYPE, content_type(name)),
        (ETAG, tag.as_str()),
        // Kept, and asked for again each time: an update shows at once, and costs no bytes before.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    match is_known(asked, &tag) {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, file.data).into_response(),
    }
}

/// Whether one of the tags that are known to the browser is this one.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = routes::<()>().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (
            head.status,
            head.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn the_page_and_all_that_it_names_are_there() {
        let (status, headers, page) = ask("/", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(
            headers[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .starts_with("default-src 'self'")
        );
        let named = page.split('"').filter_map(|part| part.strip_prefix("./"));
        let named: Vec<&str> = named.filter(|name| *name != "docs/").collect();
        assert!(named.contains(&"assets/page.js"), "{named:?}");
        for name in named {
            let (status, headers, _) = ask(&format!("/{name}"), None).await;
            assert_eq!(status, StatusCode::OK, "{name}");
            assert_ne!(headers[CONTENT_TYPE], "application/octet-stream", "{name}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_known_is_not_sent_again() {
        let (_, headers, body) = ask("/assets/page.js", None).await;
        let tag = headers[ETAG].to_str().unwrap();
        assert!(!body.is_empty());
        for known in [
            tag.to_owned(),
            format!("\"other\", W/{tag}"),
            "*".to_owned(),
        ] {
            let (status, headers, body) = ask("/assets/page.js", Some(&known)).await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::NOT_MODIFIED, ""),
                "{known}"
            );
            assert_eq!(headers[ETAG], tag);
        }
        let (status, ..) = ask("/assets/page.js", Some("\"other\"")).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn there_is_nothing_else() {
        for path in [
            "/api/v1/nothing",
            "/assets",
            "/assets/",
            "/assets/../../Cargo.toml",
            "/live",
            "//",
        ] {
            assert_eq!(ask(path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
