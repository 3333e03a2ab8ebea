//! The routes, asked in process: each with good and with bad input.

mod bad;
mod catalogue;
mod description;
mod jobs;
mod operation;
mod pages;
mod random;
mod savepoints;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use server::config::Config;
use server::serve::Server;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::support::PATIENCE;

/// A job that runs until it is stopped.
pub(crate) const ENDLESS: &str = "
CREATE TABLE trades (symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
                     notional AS price * volume,
                     WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'market', 'rate' = '2000');
CREATE TABLE prices (symbol STRING, price DOUBLE) WITH ('connector' = 'blackhole');
SET 'commit.interval' = '50 ms';
INSERT INTO prices SELECT symbol, price FROM trades;
";

/// A server in a folder of its own, that listens nowhere.
pub(crate) struct Api {
    server: Server,
    router: Router,
    _folder: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn json(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The problem of an answer with this status.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let id = self.header("x-request-id").to_owned();
        let problem = self.json(status);
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["instance"], id, "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }
}

/// Nothing of a job is lost unseen: what its tables counted adds up, and what each of its parts handed
/// on is what the next one received.
#[track_caller]
pub(crate) fn balances(job: &Value) {
    let all = |name: &str| job[name].as_array().cloned().unwrap_or_default();
    let count = |of: &Value, names: &[&str]| -> u64 {
        let counts = names.iter().map(|name| of[*name].as_u64().unwrap());
        counts.sum()
    };
    let (tables, steps) = (all("tables"), all("steps"));
    for table in &tables {
        let outcomes = count(table, &["accepted", "late", "future", "dead"]);
        assert_eq!(count(table, &["arrived"]), outcomes, "{table}");
    }
    let handed_on = |name: &str| {
        let step = name.strip_prefix("step ").map(str::parse::<usize>);
        match step {
            Some(number) => count(&steps[number.unwrap()], &["rows_out"]),
            None => {
                let table = tables.iter().find(|table| table["name"] == *name);
                count(table.unwrap(), &["accepted", "late"])
            }
        }
    };
    for step in &steps {
        let reads = step["reads"].as_array().unwrap().iter();
        let handed_on: u64 = reads.map(|name| handed_on(name.as_str().unwrap())).sum();
        assert_eq!(count(step, &["rows_in", "missed"]), handed_on, "{job}");
    }
}

impl Api {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::with_prefix("millstream-").unwrap();
        let config = Config {
            data: folder.path().join("data"),
            max_body: 100_000,
            ..Config::default()
        };
        let server = Server::open(config).await.unwrap();
        Self {
            router: server.router(),
            server,
            _folder: folder,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// [`send`](Self::send), without the body of an answer that has no end.
    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get("content-type");
        let bytes = match kind.is_some_and(|kind| kind == "text/event-stream") {
            true => axum::body::Bytes::new(),
            false => to_bytes(body, usize::MAX).await.unwrap(),
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let request = Request::delete(path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(path, body, &[]).await
    }

    pub(crate) async fn post_as(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Submits a job; its id.
    pub(crate) async fn submit(&self, name: &str, sql: &str) -> String {
        let body = serde_json::json!({"name": name, "sql": sql});
        let job = self.post("/api/v1/jobs", &body).await.json(201);
        job["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job is as it should be.
    pub(crate) async fn wait(&self, job: &str, done: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let job = self.get(&format!("/api/v1/jobs/{job}")).await.json(200);
            balances(&job);
            if done(&job) {
                return job;
            }
            assert!(since.elapsed() < PATIENCE, "it takes too long: {job}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops what runs.
    pub(crate) async fn close(self) {
        self.server.close().await;
    }
}
