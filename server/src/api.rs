//! The route table. A resource is a file with `routes()`, and one line here.

mod error;
mod etag;
mod health;
mod idempotency;
mod indicators;
mod ingest;
mod jobs;
mod keys;
pub(crate) mod metrics;
mod openapi;
mod page;
mod query;
mod redrive;
mod replays;
mod request;
mod savepoints;
mod tables;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::auth::describe::describe;
use crate::auth::guard::guard;
use crate::state::AppState;
pub(crate) use error::{Fault, Problem};
pub(crate) use request::{Params, Segment, request_id};

/// Where the resources are.
pub(crate) const PREFIX: &str = "/api/v1";

/// What the description says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millstream",
        description = "Streaming SQL for market data: submit jobs, watch them, stop them.\n\n\
            Errors are problems (RFC 9457) with the content type `application/problem+json`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "jobs", description = "Submitting, watching, stopping"),
        (name = "tables", description = "What running jobs read and write"),
        (name = "indicators", description = "The catalogue"),
        (name = "live", description = "Rows as they come"),
        (name = "rows", description = "Pushing rows, and asking for them"),
        (name = "replays", description = "The same text over recorded rows"),
        (name = "access", description = "Keys, and tickets for browsers"),
        (name = "operation", description = "Health and metrics"),
    )
)]
struct Description;

/// The resources, below [`PREFIX`].
fn resources() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(jobs::routes())
        .merge(redrive::routes())
        .merge(savepoints::routes())
        .merge(tables::routes())
        .merge(indicators::routes())
        .merge(crate::live::routes())
        .merge(ingest::routes())
        .merge(query::routes())
        .merge(replays::routes())
        .merge(keys::routes())
}

/// The resources with their description.
fn described() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .nest(PREFIX, resources())
        .merge(health::routes())
        .merge(metrics::routes())
}

/// Everything that is served.
pub(crate) fn router(state: AppState) -> Router {
    let (routes, mut description) = described().split_for_parts();
    describe(&mut description);
    let description = openapi::completed(description);
    let limit = DefaultBodyLimit::max(state.config.max_body);
    let documents = SwaggerUi::new("/docs").url(format!("{PREFIX}/openapi.json"), description);
    routes
        .merge(documents)
        .merge(crate::dashboard::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unsupported)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(etag::tag))
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(limit)
        .layer(from_fn_with_state(state.access.clone(), guard))
        .layer(state.access.origins().cors())
        .layer(from_fn_with_state(state.clone(), metrics::count))
        .layer(from_fn(request::identify))
        .with_state(state)
}

async fn unknown(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at '{}'", uri.path()))
}

async fn unsupported(uri: Uri) -> Problem {
    Problem::method_not_allowed(format!("'{}' does not know this method", uri.path()))
}

/// A defect ends its request alone.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands over what was thrown"
)]
fn panicked(thrown: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = thrown.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| thrown.downcast_ref::<&str>().copied());
    let defect = engine::Error::internal(text.unwrap_or("a handler panicked"));
    axum::response::IntoResponse::into_response(Problem::from(defect))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::auth::describe::operations;
    use crate::auth::policy;

    async fn broken() -> &'static str {
        panic!("a secret")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_words() {
        let router: Router = Router::new()
            .route("/", get(broken))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn(request::identify));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.contains("urn:millstream:internal") && text.contains(&id),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn every_route_has_a_rule() {
        let (_, mut description) = described().split_for_parts();
        let mut met = 0;
        for (path, item) in &mut description.paths.paths {
            for (method, _) in operations(item) {
                assert!(policy::needs(&method, path).is_some(), "{method} {path}");
                met += 1;
            }
        }
        assert!(met > 20, "{met}");
    }
}
