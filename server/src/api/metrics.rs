//! `/metrics`: what Prometheus reads. Requests are counted as they are answered; the figures of
//! jobs are read from the jobs when they are asked for.

mod collect;

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use super::request::route;
use crate::auth::{Principal, Scope};
use crate::state::AppState;
use collect::Jobs;

/// The content type of the text.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of one figure.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What is counted of requests; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 0.1 ms to 13 s.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-4, 2.0, 18));
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets),
        }
    }
}

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Counts a request by route, method and status, and how long its answer took to begin.
pub(super) async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH") => known,
        // A client may send any word.
        _ => "other",
    };
    let (method, route) = (method.to_owned(), route(&request));
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = vec![("method", method), ("route", route)];
    let durations = state.metrics.durations.get_or_create(&labels);
    durations.observe(started.elapsed().as_secs_f64());
    drop(durations);
    let status = response.status().as_str().to_owned();
    let labels = labels.into_iter().chain([("status", status)]).collect();
    state.metrics.requests.get_or_create(&labels).inc();
    response
}

/// The figures, as Prometheus reads them
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The figures", body = String,
        content_type = "application/openmetrics-text"))
)]
async fn get(principal: Principal, State(state): State<AppState>) -> Result<Response, Problem> {
    principal.require(Scope::Read)?;
    let mut registry = Registry::with_prefix("millstream");
    let help = "Requests that were answered";
    registry.register("http_requests", help, state.metrics.requests.clone());
    let help = "How long the answer took to begin, in seconds";
    registry.register(
        "http_request_duration_seconds",
        help,
        state.metrics.durations.clone(),
    );
    registry.register_collector(Box::new(Jobs::of(&state)));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        engine::Error::internal("the figures cannot be written").caused_by(error)
    })?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}
