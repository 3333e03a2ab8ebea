//! HTTP, against a server of our own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod push;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::{ErrorKind, StreamSpec};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::{self, numbers, open, poll, read, reasons, symbols, with, with_metadata};

type Answer = Response<Full<Bytes>>;
type Asked = Arc<Mutex<Vec<(Instant, Request<()>)>>>;

/// A server that answers the n-th request by a function of n, and remembers when and what it was
/// asked.
struct Server {
    url: String,
    asked: Asked,
}

impl Server {
    async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/rows?key=secret", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        let (answer, known) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, known) = (Arc::clone(&answer), Arc::clone(&known));
                let service = service_fn(move |request: Request<Incoming>| {
                    let mut known = known.lock().unwrap();
                    known.push((Instant::now(), request.map(|_| ())));
                    let response = answer(known.len() - 1);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A client that goes away breaks its connection.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { url, asked }
    }

    fn table(&self) -> StreamSpec {
        let options = [
            ("url", self.url.as_str()),
            ("format", "json"),
            ("interval", "20 ms"),
        ];
        support::table("http", &options)
    }

    /// The time between two requests.
    fn between(&self, first: usize, second: usize) -> Duration {
        let asked = self.asked.lock().unwrap();
        asked[second].0 - asked[first].0
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        let value = asked[request].1.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn with_header(mut response: Answer, name: &'static str, value: &str) -> Answer {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_str(value).unwrap());
    response
}

fn row(n: usize) -> String {
    format!(r#"{{"symbol":"A","price":1.5,"n":{n}}}"#)
}

#[tokio::test]
async fn every_answer_gives_its_rows() {
    let body = |n: usize| format!(r#"{{"meta":1,"data":{{"rows":[{},{}]}}}}"#, row(n), row(n));
    let server = Server::start(move |n| answer(200, body(n))).await;
    let stream = with(server.table(), "pointer", "/data/rows");
    let stream = with(stream, "headers.X-Api-Key", "abc");
    let mut source = open(&stream).unwrap();
    assert_eq!(source.splits().await.unwrap().len(), 1);
    assert!(!source.repeatable());
    let polled = read(&mut *source, 6).await;
    assert_eq!(numbers(&polled), [0, 0, 1, 1, 2, 2]);
    let offsets: Vec<_> = polled
        .iter()
        .flat_map(|polled| polled.offsets.to_vec())
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    assert_eq!(server.header(1, "x-api-key").as_deref(), Some("abc"));
    let split = polled[0].split.clone();
    source.seek(&[(split, 40)].into()).await.unwrap();
    assert_eq!(poll(&mut *source).await.unwrap().unwrap().offsets[0], 40);
}

#[tokio::test]
async fn an_unchanged_answer_gives_nothing() {
    let server = Server::start(|n| match n {
        0 => with_header(answer(200, row(0)), "etag", "\"v1\""),
        1 | 2 => answer(304, ""),
        _ => with_header(
            answer(200, row(n)),
            "last-modified",
            "Mon, 02 Mar 2026 10:00:00 GMT",
        ),
    })
    .await;
    let mut source = open(&server.table()).unwrap();
    assert_eq!(numbers(&read(&mut *source, 3).await), [0, 3, 4]);
    assert_eq!(server.header(0, "if-none-match"), None);
    assert_eq!(server.header(1, "if-none-match").as_deref(), Some("\"v1\""));
    assert_eq!(server.header(3, "if-none-match").as_deref(), Some("\"v1\""));
    let date = server.header(4, "if-modified-since");
    assert_eq!(date.as_deref(), Some("Mon, 02 Mar 2026 10:00:00 GMT"));
    assert_eq!(server.header(4, "if-none-match"), None);
}

#[tokio::test]
async fn overload_and_failure_are_waited_out() {
    let server = Server::start(|n| match n {
        0 => with_header(answer(429, "slow down"), RETRY_AFTER.as_str(), "1"),
        1 | 2 => answer(500, "oops"),
        _ => answer(200, row(n)),
    })
    .await;
    let mut source = open(&server.table()).unwrap();
    assert_eq!(numbers(&read(&mut *source, 1).await), [3]);
    assert!(
        server.between(0, 1) >= Duration::from_secs(1),
        "Retry-After was not obeyed"
    );
    assert!(
        server.between(1, 2) >= Duration::from_millis(250),
        "no pause after a failure"
    );
    assert!(
        server.between(2, 3) >= server.between(1, 2) / 2,
        "pauses do not grow"
    );
    assert_eq!(source.waiting().unwrap().reason(), None);
    let server = Server::start(|_| answer(500, "oops")).await;
    let mut source = open(&server.table()).unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(400), source.next()).await;
    assert!(waiting.is_err(), "a failure is waited out: {waiting:?}");
    let reason = source.waiting().unwrap().reason().unwrap();
    assert!(reason.contains("500"), "{reason}");
}

#[tokio::test]
async fn a_refusal_ends_it_without_showing_the_secret() {
    let server = Server::start(|_| answer(401, "")).await;
    let error = poll(&mut *open(&server.table()).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.chain();
    assert!(
        text.contains("/rows?key=*** answers 401") && text.contains("check the key"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn what_is_no_row_is_rejected() {
    let server = Server::start(|n| match n {
        0 => answer(200, r#"[{"symbol":"A","n":1},"#),
        1 => answer(200, r#"{"error":"none"}"#),
        2 => answer(200, "<html>"),
        3 => answer(200, format!(r#"{{"rows":[{},{{"n":"x"}},7]}}"#, row(1))),
        4 => answer(200, "x".repeat(200_000)),
        _ => answer(200, format!(r#"{{"rows":[{}]}}"#, row(n))),
    })
    .await;
    let stream = with(
        with(server.table(), "pointer", "/rows"),
        "body.limit",
        "100 kB",
    );
    let polled = read(&mut *open(&stream).unwrap(), 8).await;
    assert_eq!(numbers(&polled), [1, 5]);
    let reasons = reasons(&polled);
    assert!(reasons[0].contains("not JSON"), "{reasons:?}");
    assert_eq!(reasons[1], "the answer has nothing at '/rows'");
    assert!(reasons[2].contains("not JSON"), "{reasons:?}");
    assert!(
        reasons[5].contains("larger than 'body.limit', 102400 bytes"),
        "{reasons:?}"
    );
    let kept = polled
        .iter()
        .flat_map(|polled| &polled.rejected)
        .map(|r| r.payload.len())
        .max();
    assert_eq!(kept, Some(64 * 1024));
}

#[tokio::test]
async fn large_answers_come_in_batches() {
    let rows: Vec<_> = (0..20_000).map(row).collect();
    let body = format!("[{}]", rows.join(","));
    let server = Server::start(move |_| answer(200, body.clone())).await;
    let stream = with(server.table(), "interval", "1 h");
    let polled = read(&mut *open(&stream).unwrap(), 20_000).await;
    assert!(numbers(&polled).into_iter().eq(0..20_000));
    assert_eq!(
        polled.iter().map(|p| p.rows.num_rows()).collect::<Vec<_>>(),
        [8192, 8192, 3616]
    );
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let moved = |n: usize| {
        with_header(
            answer(302, ""),
            LOCATION.as_str(),
            if n < 3 { "/next" } else { "/rows" },
        )
    };
    let server = Server::start(move |n| if n < 3 { moved(n) } else { answer(200, row(n)) }).await;
    assert_eq!(
        numbers(&read(&mut *open(&server.table()).unwrap(), 1).await),
        [3]
    );
    let server = Server::start(move |_| moved(0)).await;
    let error = poll(&mut *open(&server.table()).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.chain().contains("more than 5 redirects"),
        "{}",
        error.chain()
    );

    let elsewhere = Server::start(|n| answer(200, row(n))).await;
    let url = elsewhere.url.clone();
    let server = Server::start(move |_| with_header(answer(302, ""), "location", &url)).await;
    assert_eq!(
        symbols(&read(&mut *open(&server.table()).unwrap(), 1).await),
        ["A"]
    );
    let keyed = with(server.table(), "headers.x-api-key", "hush");
    let error = poll(&mut *open(&keyed).unwrap()).await.unwrap_err().chain();
    assert!(
        error.contains("to another host") && !error.contains("hush"),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_next_interrupts_no_request() {
    let server = Server::start(|n| answer(200, row(n))).await;
    let mut source = open(&server.table()).unwrap();
    let mut seen = vec![];
    while seen.len() < 5 {
        let limit = Duration::from_millis(3);
        if let Ok(polled) = tokio::time::timeout(limit, source.next()).await {
            seen.extend(numbers(&[polled.unwrap().unwrap()]));
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn wrong_options_are_refused() {
    let base = support::table(
        "http",
        &[("url", "https://example.com/"), ("format", "json")],
    );
    let refused =
        |key: &str, value: &str| support::refusal(open(&with(base.clone(), key, value))).chain();
    assert!(refused("mode", "pull").contains("must be 'poll' or 'push'"));
    assert!(refused("url", "ftp://example.com/").contains("must begin with"));
    assert!(refused("url", "nowhere").contains("is not a URL"));
    assert!(refused("interval", "0 s").contains("longer than nothing"));
    assert!(refused("pointer", "data").contains("write '/data'"));
    assert!(refused("headers.a b", "x").contains("not the name of a header"));
    assert!(refused("intervall", "5 s").contains("did you mean 'interval'?"));
    let stream = with_metadata(base.clone(), "offset", arrow::datatypes::DataType::Int64);
    assert!(
        support::refusal(open(&stream))
            .to_string()
            .contains("has no metadata")
    );
    assert!(
        support::refusal(support::open_sink(&base))
            .to_string()
            .contains("only reads")
    );
}
