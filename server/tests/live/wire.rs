//! On the wire: the handshake, compression, pings, closing, and bytes that are no frames.

use std::time::Duration;

use serde_json::Value;
use server::live::websocket::{
    Decoder, Event, OpCode, Role, close_frame, compress, encode, encode_masked,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::{PATIENCE, Server};

/// A connection without a library.
struct Raw {
    stream: TcpStream,
    decoder: Decoder,
    /// Bytes received.
    received: usize,
}

/// The head of the answer to an upgrade.
async fn ask(server: &Server, head: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = timeout(PATIENCE, stream.read(&mut byte))
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(read, 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    (stream, String::from_utf8(answer).unwrap().to_lowercase())
}

const HEAD: &str = "GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

impl Raw {
    async fn open(server: &Server, deflate: bool) -> Self {
        let extension = match deflate {
            true => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            false => "",
        };
        let (stream, answer) = ask(server, &format!("{HEAD}{extension}\r\n")).await;
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        assert_eq!(
            answer.contains("permessage-deflate; server_no_context_takeover"),
            deflate
        );
        Self {
            stream,
            decoder: Decoder::new(Role::Client, deflate, 1 << 24),
            received: 0,
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, text: &str) {
        self.send(&encode_masked(
            OpCode::Text,
            false,
            text.as_bytes(),
            [1, 2, 3, 4],
        ))
        .await;
    }

    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self
                .decoder
                .next_event()
                .expect("the server keeps the protocol")
            {
                return Some(event);
            }
            let mut bytes = [0; 4_096];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes))
                .await
                .expect("in time");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(read) => {
                    self.received += read;
                    self.decoder.feed(&bytes[..read]);
                }
            }
        }
    }

    async fn frame(&mut self) -> Value {
        match self.next().await {
            Some(Event::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

const SUBSCRIBE: &str = r#"{"type":"subscribe","id":"a","stream":"quotes"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_compressed_for_those_who_can_read_that() {
    let server = Server::start().await;
    let (mut packed, mut plain) = (
        Raw::open(&server, true).await,
        Raw::open(&server, false).await,
    );
    // A request may be compressed too.
    let request = SUBSCRIBE.replace('{', &format!("{{{}", " ".repeat(200)));
    let request = compress(request.as_bytes()).expect("smaller");
    packed
        .send(&encode_masked(OpCode::Text, true, &request, [9, 8, 7, 6]))
        .await;
    plain.say(SUBSCRIBE).await;
    for client in [&mut packed, &mut plain] {
        assert_eq!(client.frame().await["type"], "subscribed");
        assert_eq!(client.frame().await["type"], "snapshot");
        client.received = 0;
    }
    let rows: Vec<(&str, i64)> = (0..200).map(|n| ("AAPL", n)).collect();
    server.publish(1, &rows);
    let (a, b) = (packed.frame().await, plain.frame().await);
    assert_eq!(a, b);
    assert_eq!(a["rows"].as_array().unwrap().len(), 200);
    assert!(
        packed.received * 4 < plain.received,
        "{} of {}",
        packed.received,
        plain.received
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_a_close_is_echoed() {
    let server = Server::start().await;
    let mut client = Raw::open(&server, false).await;
    let ping = encode_masked(OpCode::Ping, false, b"there?", [5; 4]);
    let (first, second) = ping.split_at(3);
    client.send(first).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(second).await;
    assert_eq!(client.next().await, Some(Event::Pong(b"there?".to_vec())));
    client
        .send(&encode_masked(OpCode::Pong, false, b"unasked", [5; 4]))
        .await;
    client
        .send(&encode_masked(
            OpCode::Close,
            false,
            &4_321_u16.to_be_bytes(),
            [5; 4],
        ))
        .await;
    assert_eq!(
        client.next().await,
        Some(Event::Close(Some(4_321), String::new()))
    );
    assert_eq!(client.next().await, None);
    while server.hubs.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_protocol_is_told_the_code_and_let_go() {
    let server = Server::start().await;
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = encode_masked(OpCode::Text, false, payload, [1; 4]);
        frame[0] = first;
        frame
    };
    for (bytes, code) in [
        (encode(OpCode::Text, false, b"not masked"), 1002),
        (masked(0xc1, b"not agreed on"), 1002),
        (masked(0x83, b"reserved"), 1002),
        (masked(0x80, b"of nothing"), 1002),
        (masked(0x81, b"\xff\xfe"), 1007),
        (masked(0x82, b"bytes"), 1003),
        (masked(0x81, "x".repeat(70_000).as_bytes()), 1009),
        (close_frame(Some(1000), ""), 1002),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
    ] {
        let mut client = Raw::open(&server, false).await;
        // The server may close before it has read everything.
        let _ = client.stream.write_all(&bytes).await;
        match client.next().await {
            Some(Event::Close(Some(told), _)) => assert_eq!(told, code, "{:?}", &bytes[..4]),
            other => panic!("{other:?} for {:?}", &bytes[..4]),
        }
        assert_eq!(client.next().await, None);
    }
    assert_eq!(server.hub.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upgrade_is_answered_as_http() {
    let server = Server::start().await;
    let (_, answer) = ask(&server, "GET /live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 426"), "{answer}");
    let old = HEAD.replace("Version: 13", "Version: 8");
    let (_, answer) = ask(&server, &format!("{old}\r\n")).await;
    assert!(answer.starts_with("http/1.1 426"), "{answer}");
    let (_, answer) = ask(
        &server,
        &format!("{}\r\n", HEAD.replace("Key: dGhl", "Key: ")),
    )
    .await;
    assert!(answer.starts_with("http/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_comes_with_the_handshake_is_read() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let first = encode_masked(OpCode::Text, false, SUBSCRIBE.as_bytes(), [3; 4]);
    let all = [format!("{HEAD}\r\n").into_bytes(), first].concat();
    stream.write_all(&all).await.unwrap();
    let mut seen = vec![];
    while !String::from_utf8_lossy(&seen).contains("\"snapshot\"") {
        let mut bytes = [0; 1_024];
        let read = timeout(PATIENCE, stream.read(&mut bytes))
            .await
            .expect("in time")
            .unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..read]);
    }
}
