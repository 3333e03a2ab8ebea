//! WebSocket, against a server of our own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{ErrorKind, StreamSpec};
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::support::{self, numbers, open, poll, read, reasons, with};

type Socket = WebSocketStream<TcpStream>;

/// A server that serves the n-th connection by a function of n, and remembers what each said.
struct Server {
    url: String,
    said: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    /// `hello` messages are awaited on each connection before it is served.
    async fn start<F>(
        hello: usize,
        serve: impl Fn(usize, Socket) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/feed", listener.local_addr().unwrap());
        let said = Arc::new(Mutex::new(vec![]));
        let known = Arc::clone(&said);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let mut socket = accept_async(stream).await.unwrap();
                let mut texts = vec![];
                while texts.len() < hello {
                    let message = socket.next().await.unwrap().unwrap();
                    texts.push(message.into_text().unwrap().to_string());
                }
                known.lock().unwrap().push(texts);
                tokio::spawn(serve(connection, socket));
            }
        });
        Self { url, said }
    }

    fn table(&self) -> StreamSpec {
        support::table(
            "websocket",
            &[("url", self.url.as_str()), ("format", "json")],
        )
    }
}

fn row(n: usize) -> String {
    format!(r#"{{"symbol":"A","price":1.5,"n":{n}}}"#)
}

async fn send(socket: &mut Socket, message: impl Into<Message>) {
    socket.send(message.into()).await.unwrap();
}

/// Keeps a connection open and reads what comes.
async fn stay(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn frames_are_rows_text_or_binary_one_or_many() {
    let server = Server::start(0, |_, mut socket| async move {
        send(&mut socket, r#"{"type":"welcome"}"#).await;
        send(
            &mut socket,
            format!(r#"{{"data":[{},{}]}}"#, row(1), row(2)),
        )
        .await;
        send(
            &mut socket,
            Message::binary(format!(r#"{{"data":{}}}"#, row(3))),
        )
        .await;
        send(&mut socket, Message::Ping("x".into())).await;
        send(&mut socket, r#"{"data":{"n":"x"}}"#).await;
        send(&mut socket, "not json").await;
        send(&mut socket, format!(r#"{{"data":{}}}"#, row(4))).await;
        stay(socket).await;
    })
    .await;
    let stream = with(server.table(), "pointer", "/data");
    let polled = read(&mut *open(&stream).unwrap(), 6).await;
    assert_eq!(numbers(&polled), [1, 2, 3, 4]);
    assert!(reasons(&polled)[1].contains("not JSON"));
    let offsets: Vec<_> = polled
        .iter()
        .flat_map(|polled| polled.offsets.to_vec())
        .collect();
    assert_eq!(offsets, [0, 1, 2, 5]);

    let strict = with(stream, "skip.unmatched", "false");
    let polled = read(&mut *open(&strict).unwrap(), 7).await;
    assert_eq!(reasons(&polled)[0], "the frame has nothing at '/data'");
}

#[tokio::test]
async fn a_drop_is_followed_by_a_new_subscription() {
    let server = Server::start(2, |connection, mut socket| async move {
        send(&mut socket, row(connection)).await;
        match connection {
            0 => drop(socket),
            1 => socket.close(None).await.unwrap(),
            _ => stay(socket).await,
        }
    })
    .await;
    let subscribe = r#"[{"op":"auth","key":"k"},"trades"]"#;
    let stream = with(server.table(), "subscribe", subscribe);
    let polled = read(&mut *open(&stream).unwrap(), 3).await;
    assert_eq!(numbers(&polled), [0, 1, 2]);
    assert_eq!(polled[2].offsets[..], [2]);
    let said = server.said.lock().unwrap().clone();
    assert_eq!(
        said,
        vec![vec![r#"{"op":"auth","key":"k"}"#.to_owned(), "trades".to_owned()]; 3]
    );
}

#[tokio::test]
async fn silence_is_taken_for_death_but_a_pong_is_not_silence() {
    let server = Server::start(0, |connection, mut socket| async move {
        send(&mut socket, row(connection)).await;
        match connection {
            // The connection stands, nobody reads it: no pong comes.
            0 => tokio::time::sleep(Duration::from_mins(1)).await,
            _ => stay(socket).await,
        }
    })
    .await;
    let stream = with(server.table(), "heartbeat", "100 ms");
    let mut source = open(&stream).unwrap();
    assert_eq!(numbers(&read(&mut *source, 2).await), [0, 1]);
    let quiet = tokio::time::timeout(Duration::from_millis(800), source.next()).await;
    assert!(
        quiet.is_err(),
        "a connection that answers pings was given up: {quiet:?}"
    );
    assert_eq!(server.said.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refused_handshake_ends_it_and_an_absent_server_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/feed?token=secret", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for status in ["503 Service Unavailable", "403 Forbidden"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            tokio::io::AsyncReadExt::read(&mut stream, &mut request)
                .await
                .unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes())
                .await
                .unwrap();
        }
    });
    let stream = support::table("websocket", &[("url", url.as_str()), ("format", "json")]);
    let error = poll(&mut *open(&stream).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("answers 403"), "{error}");
    assert!(!error.chain().contains("secret"), "{}", error.chain());
    // Nobody listens there any more.
    let mut absent = open(&stream).unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(500), absent.next()).await;
    assert!(
        waiting.is_err(),
        "an absent server is waited for: {waiting:?}"
    );
    let reason = absent.waiting().unwrap().reason().unwrap();
    assert!(!reason.is_empty() && !reason.contains("secret"), "{reason}");
}

#[test]
fn wrong_options_are_refused() {
    let base = support::table(
        "websocket",
        &[("url", "wss://example.com/"), ("format", "json")],
    );
    let refused =
        |key: &str, value: &str| support::refusal(open(&with(base.clone(), key, value))).chain();
    assert!(refused("url", "https://example.com/").contains("must begin with"));
    assert!(refused("heartbeat", "0 s").contains("longer than nothing"));
    assert!(refused("pointer", "data").contains("write '/data'"));
    assert!(
        support::refusal(support::open_sink(&base))
            .to_string()
            .contains("only reads")
    );
}
