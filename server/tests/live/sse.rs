//! The same frames as server-sent events, read by reqwest.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

use super::server::{PATIENCE, Server};

/// The events of a response so far, as they come.
struct Events {
    body: futures::stream::BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    text: String,
}

impl Events {
    async fn open(server: &Server, query: &str, last: Option<&str>) -> Self {
        let mut request = client().get(format!("http://{}/streams/{query}", server.address));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The id and the data of the next event.
    async fn next(&mut self) -> (Option<String>, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let id = field("id").map(str::to_owned);
                let data = serde_json::from_str(field("data").expect("data")).unwrap();
                let rest = rest.to_owned();
                self.text = rest;
                return (id, data);
            }
            let more = tokio::time::timeout(PATIENCE, self.body.next())
                .await
                .expect("in time");
            let more = more.expect("more").unwrap();
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }
}

fn client() -> reqwest::Client {
    // The provider of cryptography is set once per process; plain HTTP needs none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_cursors_and_a_reader_resumes_by_the_last_one() {
    let server = Server::start().await;
    server.publish(1, &[("AAPL", 1)]);
    let mut events = Events::open(&server, "quotes?where=n%20%3C%20100", None).await;
    let (id, subscribed) = events.next().await;
    assert_eq!((id, &subscribed["type"]), (None, &json!("subscribed")));
    let (id, snapshot) = events.next().await;
    assert_eq!(
        (id.as_deref(), &snapshot["type"]),
        (Some("1-1-1"), &json!("snapshot"))
    );
    server.publish(1, &[("AAPL", 2), ("AAPL", 200)]);
    let (id, update) = events.next().await;
    assert_eq!(id.as_deref(), Some("1-1-3"));
    assert_eq!(
        update["rows"],
        json!([{"symbol": "AAPL", "n": 2, "text": "text"}])
    );
    drop(events);
    while server.hub.counts() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        server.publish(2, &[("MSFT", 200)]);
    }
    server.publish(2, &[("MSFT", 3)]);
    let mut events = Events::open(&server, "quotes?where=n%20%3C%20100", id.as_deref()).await;
    events.next().await;
    let (_, update) = events.next().await;
    assert_eq!(update["after"].as_str(), id.as_deref());
    assert_eq!(
        update["rows"],
        json!([{"symbol": "MSFT", "n": 3, "text": "text"}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_an_answer_and_no_stream() {
    let server = Server::start().await;
    for (query, message) in [
        ("quots", "did you mean 'quotes'?"),
        ("quotes?where=n", "the condition is wrong: line 1, column 1"),
    ] {
        let url = format!("http://{}/streams/{query}", server.address);
        let response = client().get(url).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let text = response.text().await.unwrap();
        assert!(text.contains(message), "{text}");
    }
    assert_eq!(server.hubs.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_end_when_the_job_stops() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "quotes", None).await;
    events.next().await;
    events.next().await;
    server.hubs.close("job");
    let (_, last) = events.next().await;
    assert_eq!(last["reason"], "the job has stopped");
    assert!(events.body.next().await.is_none());
}
