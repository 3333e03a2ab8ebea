//! What a command asks of a running server.

use connectors::http::ask;
use serde_json::Value;

use crate::exit::Failure;

/// Where the key is looked for: an argument could be seen by every process of the machine.
const KEY: &str = "MILLSTREAM_KEY";

/// Asks, with a body where there is one; the answer, if it is a good one.
pub(super) async fn asked(
    method: &str,
    server: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let url = format!("{}/api/v1{path}", server.trim_end_matches('/'));
    let key = std::env::var(KEY).ok();
    let body = body.map(|body| body.to_string().into_bytes());
    let answered = ask(method, &url, key.as_deref(), body).await;
    let (status, body) = answered.map_err(|error| Failure::run(&error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let detail = answer["detail"].as_str().unwrap_or("it does not say why");
    let errors = answer["errors"].as_array().into_iter().flatten();
    let errors = errors.filter_map(|error| error["message"].as_str());
    let told = std::iter::once(detail).chain(errors).collect::<Vec<_>>();
    let message = format!("the server refuses ({status}): {}", told.join("; "));
    Err(match status {
        400..=499 => Failure::usage(&message),
        _ => Failure::failed(&message),
    })
}
