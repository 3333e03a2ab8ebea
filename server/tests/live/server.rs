//! A server with one stream, and a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::graph::{Port, Target};
use engine::{Epoch, StreamSpec, Tap};
use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use server::live::protocol::{Fault, Subscribe};
use server::live::{Client as Known, Gate, Hub, Hubs, Limits, Who, follow, upgrade};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything takes that works.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Rows of the stream: key, number, a text.
pub(super) fn rows(rows: &[(&str, i64)], text: &str) -> RecordBatch {
    let columns: [(&str, ArrayRef, bool); 3] = [
        (
            "symbol",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(key, _)| key),
            )),
            true,
        ),
        (
            "n",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, n)| *n))),
            true,
        ),
        (
            "text",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| text))),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn target(name: &str, schema: SchemaRef) -> Target {
    let stream = StreamSpec {
        name: name.to_owned(),
        connector: "blackhole".to_owned(),
        options: std::collections::BTreeMap::new(),
        schema,
        metadata: vec![],
        key: vec!["symbol".to_owned()],
    };
    Target::new(stream, Port::Node(0))
}

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) hubs: Hubs,
    pub(super) hub: Arc<Hub>,
    pub(super) address: SocketAddr,
}

#[derive(Clone)]
struct Shared {
    hubs: Hubs,
    who: Who,
}

async fn open(State(shared): State<Shared>, request: Request) -> Response {
    match upgrade(request, &shared.hubs, shared.who) {
        Ok(response) => response,
        Err(refusal) => (refusal.status, refusal.reason).into_response(),
    }
}

async fn events(
    State(shared): State<Shared>,
    Path(stream): Path<String>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let last = request.headers().get("last-event-id");
    let subscribe = Subscribe {
        stream,
        condition: query.get("where").cloned(),
        from: last.map(|last| last.to_str().unwrap().to_owned()),
        ..Subscribe::default()
    };
    match follow(&shared.hubs, subscribe, None).await {
        Ok(follow) => (
            [("content-type", "text/event-stream")],
            Body::from_stream(follow),
        )
            .into_response(),
        Err(fault) => (StatusCode::BAD_REQUEST, fault.message).into_response(),
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(Limits::default(), Who::Anybody).await
    }

    pub(super) async fn start_with(limits: Limits, who: Who) -> Self {
        let hubs = Hubs::new(limits);
        let hub = hubs.open("job", &target("quotes", rows(&[], "").schema()), 1);
        hub.committed(Epoch(0));
        let shared = Shared {
            hubs: hubs.clone(),
            who,
        };
        let router = Router::new()
            .route("/live", get(open))
            .route("/streams/{stream}", get(events));
        let router = router.with_state(shared);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(serving);
            }
        });
        Self { hubs, hub, address }
    }

    pub(super) fn publish(&self, epoch: u64, batch: &[(&str, i64)]) {
        self.hub.rows(Epoch(epoch), &rows(batch, "text"));
    }

    pub(super) async fn client(&self) -> Client {
        let (stream, _) = connect_async(format!("ws://{}/live", self.address))
            .await
            .unwrap();
        Client { stream }
    }
}

/// A client.
pub(super) struct Client {
    pub(super) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(super) async fn say(&mut self, frame: Value) {
        self.stream
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    /// The next frame that is no heartbeat; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.stream.next())
                .await
                .expect("in time")?;
            let Ok(Message::Text(text)) = message else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] != "heartbeat" {
                return Some(frame);
            }
        }
    }

    pub(super) async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.next().await.expect("a frame");
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The code of the close frame.
    pub(super) async fn closed(&mut self) -> Option<u16> {
        loop {
            let message = timeout(PATIENCE, self.stream.next())
                .await
                .expect("in time");
            match message {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Subscribes to everything and reads the first snapshot.
    pub(super) async fn subscribe(&mut self) -> Value {
        self.say(json!({"type": "subscribe", "id": "a", "stream": "quotes"}))
            .await;
        self.expect("subscribed").await;
        self.expect("snapshot").await
    }
}

/// Whoever has the word.
struct Bearer(Arc<str>);

impl Known for Bearer {
    fn id(&self) -> &Arc<str> {
        &self.0
    }

    fn count(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Admits one word.
pub(super) struct Word(pub(super) &'static str);

impl Gate for Word {
    fn count(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn admit(&self, token: String) -> BoxFuture<'_, Result<Arc<dyn Known>, Fault>> {
        let admitted = match token == self.0 {
            true => Ok(Arc::new(Bearer(token.into())) as Arc<dyn Known>),
            false => Err(Fault::new("unauthorized", "the token is not known")),
        };
        Box::pin(std::future::ready(admitted))
    }
}
