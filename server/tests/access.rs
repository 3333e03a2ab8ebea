//! Who may do what, and the routes that need more than a job: keys, pushed rows, queries, replays.

mod ingest;
mod keys;
mod live;
mod network;
mod query;
mod redrive;
mod replays;
mod rights;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};
use server::config::Config;
use server::serve::Server;
use tower::ServiceExt;

use crate::support::{PATIENCE, Place};

/// A server in a folder of its own, asked in process.
pub(crate) struct Desk {
    pub(crate) place: Place,
    server: Server,
    router: Router,
    /// The key that it asks with, if any.
    pub(crate) key: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn json(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The detail of a problem with this status.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Desk {
    pub(crate) async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::new();
        let mut config = Config {
            data: place.path("data"),
            ..Config::default()
        };
        change(&mut config);
        let server = Server::open(config).await.unwrap();
        Self {
            router: server.router(),
            server,
            place,
            key: None,
        }
    }

    /// A key made on the command line, beside the running server.
    pub(crate) fn make_key(&self, scopes: &[&str]) -> String {
        let data = self.place.path("data").display().to_string();
        let mut arguments = vec!["keys", "create", "--name", "test", "--data", &data];
        for scope in scopes {
            arguments.push("--scope");
            arguments.push(scope);
        }
        self.place.run(&arguments).well().trim().to_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// Sends a request with headers, and with the key.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask("POST", path, &headers, body.to_string()).await
    }

    /// Submits a job, and waits until it runs.
    pub(crate) async fn submit(&self, name: &str, sql: &str) {
        let body = json!({"name": name, "sql": sql});
        self.post("/api/v1/jobs", &body).await.json(201);
        self.wait(name, |job| job["state"] == "running").await;
    }

    /// Waits until a job is as it should be.
    pub(crate) async fn wait(&self, job: &str, done: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&format!("/api/v1/jobs/{job}"), done).await
    }

    pub(crate) async fn wait_for(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let found = self.get(path).await.json(200);
            if done(&found) {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "it takes too long: {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn close(self) {
        self.server.close().await;
    }
}
