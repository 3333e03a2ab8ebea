//! The route table. A resource is a file with `routes()`, and one line here.

mod error;
mod health;
mod idempotency;
mod indicators;
mod jobs;
pub(crate) mod metrics;
mod page;
mod request;
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

use crate::state::AppState;
pub(crate) use error::Problem;
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
        (name = "operation", description = "Health and metrics"),
    )
)]
struct Description;

/// The resources, below [`PREFIX`].
fn resources() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(jobs::routes())
        .merge(tables::routes())
        .merge(indicators::routes())
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
    let (routes, description) = described().split_for_parts();
    let limit = DefaultBodyLimit::max(state.config.max_body);
    let documents = SwaggerUi::new("/docs").url(format!("{PREFIX}/openapi.json"), description);
    routes
        .merge(documents)
        .merge(crate::dashboard::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unsupported)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(limit)
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
