//! Over real sockets: TLS, and rows that survive a kill.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use server::config::Config;
use server::serve::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsConnector;

use crate::support::{Place, Running};

/// A certificate for `localhost` with its key, made for these tests, good until 2120.
fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/access")
        .join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_served_with_the_certificate_of_the_settings() {
    let place = Place::new();
    let config = Config {
        data: place.path("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls_certificate: Some(certificate("localhost.pem")),
        tls_key: Some(certificate("localhost.key.pem")),
        ..Config::default()
    };
    let server = Server::open(config.clone()).await.unwrap();
    let (close, closing) = watch::channel(false);
    let (told, address) = oneshot::channel();
    let serving = tokio::spawn(server.serve(closing, |address| told.send(address).unwrap()));
    let address = address.await.unwrap();

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate("localhost.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = TlsConnector::from(Arc::new(client));
    let request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut secure = client.connect(name, socket).await.unwrap();
    secure.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A server may close without a last word of TLS.
    let _ = secure.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    // Without TLS nothing is answered.
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    close.send_replace(true);
    serving.await.unwrap().unwrap();

    let half = Config {
        tls_key: None,
        ..config
    };
    let refused = Server::open(half).await.unwrap_err().to_string();
    assert!(
        refused.contains("both a certificate and its key"),
        "{refused}"
    );
}

/// What is answered to a text on a connection, as far as it has come at first.
async fn answer(socket: &mut tokio::net::TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 10_000];
    let length = socket.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_body_was_read_says_that_the_connection_ends() {
    let place = Place::new();
    let config = Config {
        data: place.path("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let server = Server::open(config).await.unwrap();
    let (close, closing) = watch::channel(false);
    let (told, address) = oneshot::channel();
    let serving = tokio::spawn(server.serve(closing, |address| told.send(address).unwrap()));
    let address = address.await.unwrap();

    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (host, json) = ("Host: localhost", "Content-Type: application/json");
    let read = format!(
        "POST /api/v1/jobs/check HTTP/1.1\r\n{host}\r\n{json}\r\nContent-Length: 11\r\n\r\n\
         {{\"sql\":\"x\"}}"
    );
    let chunks = format!(
        "POST /api/v1/jobs/check HTTP/1.1\r\n{host}\r\n{json}\r\nTransfer-Encoding: chunked\r\n\r\n\
         b\r\n{{\"sql\":\"x\"}}\r\n0\r\n\r\n"
    );
    let none = format!("GET /nothing HTTP/1.1\r\n{host}\r\n\r\n");
    for (request, status) in [(&read, 200), (&none, 404), (&chunks, 200), (&read, 200)] {
        let answer = answer(&mut socket, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    // The body is on its way still.
    let early = format!("POST /nothing HTTP/1.1\r\n{host}\r\nContent-Length: 11\r\n\r\n");
    let answer = answer(&mut socket, &early).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    close.send_replace(true);
    serving.await.unwrap().unwrap();
}

/// Asks the server; the status and the body. `None` where nobody answers.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn serve(place: &Place, said: &str) -> (Running, String) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let mut running = place.start(&arguments, said);
    let mut address = None;
    running.wait_until("the server listens", |running| {
        let said = running.said();
        let rest = said.split_once("http://").map(|(_, rest)| rest);
        let found = rest.and_then(|rest| rest.split_once('"'));
        address = found.map(|(address, _)| address.to_owned());
        address.is_some()
    });
    (running, address.unwrap())
}

/// Rows of each push.
const ROWS: u64 = 10;

/// Pushes until nobody answers; the pushes that were acknowledged, and the number of the next.
fn push(address: &str, first: u64) -> (Vec<u64>, u64) {
    let mut acknowledged = vec![];
    for push in first.. {
        let rows = (push * ROWS..(push + 1) * ROWS).map(|n| json!({"n": n}));
        let body = Value::from(rows.collect::<Vec<_>>()).to_string();
        match ask(
            address,
            "POST",
            "/api/v1/ingest/ticks?wait=committed",
            &body,
        ) {
            Some((200, _)) => acknowledged.push(push),
            Some((status, body)) => assert!([202, 404, 503].contains(&status), "{status} {body}"),
            None => return (acknowledged, push + 1),
        }
    }
    (acknowledged, 0)
}

#[test]
fn rows_that_were_acknowledged_survive_kills() {
    let place = Place::new();
    let sql = "
        CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'http', 'mode' = 'push');
        CREATE TABLE copies (n BIGINT) WITH ('connector' = 'parquet', 'path' = 'copies');
        SET 'commit.interval' = '20 ms';
        INSERT INTO copies SELECT n FROM ticks;";
    let (mut acknowledged, mut next) = (vec![], 0);
    for (round, delay) in [310_u64, 147, 533].into_iter().enumerate() {
        let (mut running, address) = serve(&place, &format!("said-{round}"));
        if round == 0 {
            let job = json!({"name": "j", "sql": sql}).to_string();
            let (status, body) = ask(&address, "POST", "/api/v1/jobs", &job).unwrap();
            assert_eq!(status, 201, "{body}");
        }
        let (told, outcome) = mpsc::channel();
        let pushed_to = address.clone();
        let pushing = std::thread::spawn(move || told.send(push(&pushed_to, next)).unwrap());
        let before = acknowledged.len();
        running.wait_until("rows come", |_| {
            let (_, job) = ask(&address, "GET", "/api/v1/jobs/j", "").unwrap();
            let job: Value = serde_json::from_str(&job).unwrap();
            job["tables"][0]["arrived"].as_u64() >= Some((before as u64 + 5) * ROWS)
        });
        std::thread::sleep(Duration::from_millis(delay));
        running.kill();
        let (more, after) = outcome.recv().unwrap();
        pushing.join().unwrap();
        assert!(
            !more.is_empty(),
            "nothing was acknowledged in round {round}"
        );
        acknowledged.extend(more);
        next = after;
    }
    let (mut running, address) = serve(&place, "last");
    running.wait_until("the job runs", |_| {
        let (_, job) = ask(&address, "GET", "/api/v1/jobs/j", "").unwrap();
        let job: Value = serde_json::from_str(&job).unwrap();
        job["state"] == "running"
    });
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    let all = place.value("SELECT count(*) FROM 'copies'");
    assert_eq!(place.value("SELECT count(DISTINCT n) FROM 'copies'"), all);
    let whole = format!(
        "SELECT count(*) FROM (SELECT n / {ROWS} AS push, count(*) AS c FROM 'copies' GROUP BY 1 \
         HAVING count(*) = {ROWS}) WHERE push IN ({})",
        acknowledged
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    );
    assert_eq!(
        place.value(&whole),
        acknowledged.len().to_string(),
        "of {all} rows"
    );
}
