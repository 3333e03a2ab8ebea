//! `millstream redrive`: asks a running server to give dead rows back to a job.

use std::fmt::Write;

use connectors::http::post;
use serde_json::{Value, json};

use crate::cli;
use crate::exit::Failure;
use crate::terminal;

/// Where the key is looked for: an argument could be seen by every process of the machine.
const KEY: &str = "MILLSTREAM_KEY";

pub(super) async fn redrive(arguments: &cli::Redrive) -> Result<(), Failure> {
    let mut wish = json!({"again": arguments.again});
    let said = [
        ("table", &arguments.table),
        ("reason", &arguments.reason),
        ("where", &arguments.condition),
        ("until", &arguments.until),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            wish[name] = json!(value);
        }
    }
    let server = arguments.url.trim_end_matches('/');
    let url = format!("{server}/api/v1/jobs/{}/redrive", arguments.job);
    let key = std::env::var(KEY).ok();
    let answered = post(&url, key.as_deref(), wish.to_string().into_bytes()).await;
    let (status, body) = answered.map_err(|error| Failure::run(&error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status != 200 {
        let detail = answer["detail"].as_str().unwrap_or("it does not say why");
        let errors = answer["errors"].as_array().into_iter().flatten();
        let errors = errors.filter_map(|error| error["message"].as_str());
        let told = std::iter::once(detail).chain(errors).collect::<Vec<_>>();
        let message = format!("the server refuses ({status}): {}", told.join("; "));
        return Err(match status {
            400..=499 => Failure::usage(&message),
            _ => Failure::failed(&message),
        });
    }
    if arguments.json {
        return terminal::print(&format!("{answer}\n"));
    }
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    let mut text = format!(
        "{} of {} dead rows came in again",
        count("redriven"),
        count("matched")
    );
    let left = [
        ("known", "had been given back before"),
        ("unreadable", "still cannot be read"),
        ("unplaced", "are of no known split"),
    ];
    for (name, why) in left {
        if count(name) > 0 {
            let _ = write!(text, "; {} {why}", count(name));
        }
    }
    terminal::print(&(text + "\n"))
}
