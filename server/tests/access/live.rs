//! Live connections and who opened them: over real sockets.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use server::config::Config;
use server::serve::Server;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tower::ServiceExt;

use crate::support::{PATIENCE, Place};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// A server that asks for keys, on a port of its own.
struct Guarded {
    place: Place,
    router: Router,
    address: SocketAddr,
    close: watch::Sender<bool>,
    serving: JoinHandle<engine::Result<()>>,
}

impl Guarded {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::new();
        let mut config = Config {
            data: place.path("data"),
            listen: "127.0.0.1:0".parse().unwrap(),
            auth: server::auth::Mode::Required,
            ..Config::default()
        };
        change(&mut config);
        let server = Server::open(config).await.unwrap();
        let router = server.router();
        let (close, closing) = watch::channel(false);
        let (told, address) = oneshot::channel();
        let serving = tokio::spawn(server.serve(closing, |address| told.send(address).unwrap()));
        Self {
            place,
            router,
            address: address.await.unwrap(),
            close,
            serving,
        }
    }

    /// Keys on the command line.
    fn keys(&self, arguments: &[&str]) -> String {
        let data = self.place.path("data").display().to_string();
        let all = [&["keys"], arguments, &["--data", &data]].concat();
        self.place.run(&all).well().trim().to_owned()
    }

    fn key(&self, scope: &str) -> String {
        self.keys(&["create", "--name", "test", "--scope", scope])
    }

    /// Asks with a key; the answer must have this status.
    async fn ask(
        &self,
        key: &str,
        (method, path): (&str, &str),
        body: Value,
        status: u16,
    ) -> Value {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("x-api-key", key)
            .header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let found = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(found, status, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }

    async fn open(&self, query: &str, key: Option<&str>) -> Socket {
        let url = format!("ws://{}/api/v1/live{query}", self.address);
        let mut request = ClientRequestBuilder::new(url.parse().unwrap());
        if let Some(key) = key {
            request = request.with_header("X-API-Key", key);
        }
        connect_async(request).await.unwrap().0
    }

    async fn end(self) {
        self.close.send_replace(true);
        self.serving.await.unwrap().unwrap();
    }
}

async fn say(socket: &mut Socket, frame: Value) {
    // A server that has closed may not read it.
    let _ = socket.send(Message::text(frame.to_string())).await;
}

/// The next message of the server.
async fn next(socket: &mut Socket) -> Option<Message> {
    let message = timeout(PATIENCE, socket.next()).await.unwrap();
    message.and_then(Result::ok)
}

/// The next frame that is no heartbeat, or the code with which the connection was closed.
async fn frame(socket: &mut Socket) -> Result<Value, Option<u16>> {
    loop {
        match next(socket).await {
            Some(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] != "heartbeat" {
                    return Ok(frame);
                }
            }
            Some(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
            Some(_) => {}
            None => return Err(None),
        }
    }
}

async fn pong(socket: &mut Socket) {
    say(socket, json!({"type": "ping"})).await;
    assert_eq!(frame(socket).await.unwrap()["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_connection_may_bring_its_key_in_the_first_frame() {
    let server = Guarded::new(|_| {}).await;
    let (reads, writes) = (server.key("read"), server.key("write"));
    let mut socket = server.open("", None).await;
    say(&mut socket, json!({"type": "auth", "token": reads})).await;
    pong(&mut socket).await;
    for refused in [writes.as_str(), "ms_wrong", ""] {
        let mut socket = server.open("", None).await;
        say(&mut socket, json!({"type": "auth", "token": refused})).await;
        let said = frame(&mut socket).await.unwrap();
        assert_eq!(said["code"], "unauthorized", "{said}");
        assert_eq!(frame(&mut socket).await, Err(Some(1008)));
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_connections_of_a_revoked_key_end() {
    let server = Guarded::new(|_| {}).await;
    let admin = server.key("admin");
    let sql = "CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'http', 'mode' = 'push');
               CREATE TABLE copies (n BIGINT) WITH ('connector' = 'blackhole');
               INSERT INTO copies SELECT n FROM ticks;";
    let job = json!({"name": "j", "sql": sql});
    server.ask(&admin, ("POST", "/api/v1/jobs"), job, 201).await;
    let made = json!({"name": "screen", "scopes": ["read"]});
    let made = server
        .ask(&admin, ("POST", "/api/v1/keys"), made, 201)
        .await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());

    // By a header, by the first frame, by a ticket, and as events.
    let mut sockets = vec![server.open("", Some(key)).await];
    let mut first = server.open("", None).await;
    say(&mut first, json!({"type": "auth", "token": key})).await;
    sockets.push(first);
    let ticket = server
        .ask(key, ("POST", "/api/v1/tickets"), Value::Null, 201)
        .await;
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    sockets.push(server.open(&query, None).await);
    for socket in &mut sockets {
        pong(socket).await;
    }
    let mut other = server.open("", Some(&admin)).await;
    pong(&mut other).await;
    let request = Request::get("/api/v1/streams/copies").header("x-api-key", key);
    let request = request.body(Body::empty()).unwrap();
    let events = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(events.status(), 200);

    let place = format!("/api/v1/keys/{id}");
    server
        .ask(&admin, ("DELETE", &place), Value::Null, 204)
        .await;
    for socket in &mut sockets {
        assert_eq!(frame(socket).await, Err(Some(1008)));
    }
    let events = timeout(PATIENCE, to_bytes(events.into_body(), usize::MAX)).await;
    let events = events.unwrap().unwrap();
    let events = String::from_utf8_lossy(&events);
    assert!(events.contains("subscribed"), "{events}");
    pong(&mut other).await;

    // Beside the server, on the command line.
    let listed = server.keys(&["list"]);
    let good = listed.lines().find(|line| line.contains("admin")).unwrap();
    server.keys(&["revoke", good.split(' ').next().unwrap()]);
    assert_eq!(frame(&mut other).await, Err(Some(1008)));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_live_client_says_counts_as_its_requests() {
    const BURST: u32 = 20;
    let server = Guarded::new(|config| (config.rate_limit, config.rate_burst) = (1, BURST)).await;
    let [loud, quiet] = ["read", "read"].map(|scope| server.key(scope));
    let mut socket = server.open("", Some(&loud)).await;
    for n in 0..2 * BURST {
        let id = format!("s{n}");
        say(
            &mut socket,
            json!({"type": "subscribe", "id": id, "stream": "none"}),
        )
        .await;
    }
    let mut refused = vec![];
    for n in 0..2 * BURST {
        let said = frame(&mut socket).await.unwrap();
        assert_eq!(
            (said["type"].as_str(), &said["id"]),
            (Some("error"), &json!(format!("s{n}")))
        );
        if said["code"] == "limit" {
            assert_eq!(said["message"], "come again in 1 s");
            refused.push(n);
        } else {
            assert_eq!(said["code"], "not-found");
        }
    }
    // The request that opened the connection counted too. Time goes on, so a few more may pass.
    assert!(refused.first() >= Some(&(BURST - 1)), "{refused:?}");
    assert!(refused.len() as u32 > BURST / 2, "{refused:?}");

    // Its other requests have none left either, and who is quiet has all of them.
    server
        .ask(&loud, ("GET", "/api/v1/jobs"), Value::Null, 429)
        .await;
    server
        .ask(&quiet, ("GET", "/api/v1/jobs"), Value::Null, 200)
        .await;
    let mut other = server.open("", Some(&quiet)).await;
    pong(&mut other).await;

    // The connection goes on.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    pong(&mut socket).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_before_the_key_counts_as_requests_of_the_address() {
    const BURST: u32 = 20;
    let server = Guarded::new(|config| (config.rate_limit, config.rate_burst) = (1, BURST)).await;
    let key = server.key("read");
    let mut socket = server.open("", None).await;
    for _ in 0..2 * BURST {
        say(&mut socket, json!({"type": "ping"})).await;
    }
    let mut refused = 0;
    for _ in 0..2 * BURST {
        let said = frame(&mut socket).await.unwrap();
        match said["code"].as_str() {
            Some("limit") => refused += 1,
            code => assert_eq!(code, Some("unauthorized"), "{said}"),
        }
    }
    assert!(refused > BURST / 2, "{refused}");
    // Guesses are slowed down alike; the connection waits for the key.
    say(&mut socket, json!({"type": "auth", "token": "ms_wrong"})).await;
    assert_eq!(frame(&mut socket).await.unwrap()["code"], "limit");
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    say(&mut socket, json!({"type": "auth", "token": key})).await;
    pong(&mut socket).await;
    server.end().await;
}
