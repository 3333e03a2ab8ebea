//! One WebSocket connection: reads requests, sends what waits in its outbox.
//!
//! The connection is one task. While it waits it holds its socket, its outbox and its list of
//! subscriptions, and no buffer: what is read goes through one on the stack, what is written is
//! shared with others.

mod io;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Hubs;
use super::client::{Gate, Who};
use super::frame::Frame;
use super::hub::Hub;
use super::outbox::Out;
use super::protocol::{Fault, Reply, Request, Subscribe};
use super::websocket::{Decoder, Event, OpCode, Role, Violation, close_frame, encode};
use io::{Io, Next};

/// How long a client may take to say who it is, and to end a connection that is closed.
const ADMISSION: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(2);

/// A subscription of this connection.
struct Subscription {
    id: Box<str>,
    member: u64,
    hub: Arc<Hub>,
}

struct Session<S> {
    io: Io<S>,
    hubs: Hubs,
    who: Who,
    subscriptions: Vec<Subscription>,
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        for subscription in self.subscriptions.drain(..) {
            subscription.hub.leave(subscription.member);
        }
    }
}

/// Serves a connection whose handshake is done, to its end. `read` is what came behind the
/// handshake already; of who is unknown the first frame must be an `auth` that is admitted.
pub async fn serve<S>(stream: S, read: Bytes, deflate: bool, hubs: Hubs, who: Who)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = hubs.limits();
    let connected = hubs.0.connections.enter(limits.queue_bytes, true, who.id());
    let mut decoder = Decoder::new(Role::Server, deflate, limits.frame_bytes);
    decoder.feed(&read);
    // It may be a piece of a larger buffer, which goes with it.
    drop(read);
    let Ok(connected) = connected else {
        return refuse(stream).await;
    };
    let session = Session {
        io: Io::new(stream, connected, decoder, deflate),
        hubs,
        who,
        subscriptions: vec![],
    };
    session.run().await;
}

/// The id in a text that is no request, or is not to be one.
fn id_of(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("id")?.as_str().map(str::to_owned)
}

/// There are too many connections.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let frame = close_frame(Some(1013), "there are too many live connections");
    // Whether it arrives or not: the connection ends.
    let _ = timeout(CLOSING, async {
        stream.write_all(&frame).await?;
        stream.shutdown().await
    })
    .await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    async fn run(mut self) {
        if let Who::Unknown(gate) = self.who.clone() {
            let admitted = Box::pin(timeout(ADMISSION, self.admission(&*gate))).await;
            match admitted {
                Ok(true) => {}
                Ok(false) => return self.end().await,
                Err(_) => {
                    self.outbox().close(1008, "no auth frame came");
                    self.drain().await;
                    return self.end().await;
                }
            }
        }
        loop {
            match self.io.next().await {
                Next::Event(event) => self.take(event).await,
                Next::Behind => self.advance(),
                Next::Violation(violation) => self.violated(violation),
                Next::Closed => break,
            }
        }
        self.end().await;
    }

    fn outbox(&self) -> &super::outbox::Outbox {
        self.io.outbox()
    }

    /// Reads until somebody is admitted; false where the connection has ended before.
    async fn admission(&mut self, gate: &dyn Gate) -> bool {
        loop {
            match self.io.next().await {
                Next::Event(Event::Text(text)) => {
                    if let Err(fault) = gate.count() {
                        self.fail(id_of(&text).as_deref(), &fault);
                        continue;
                    }
                    let Ok(Request::Auth { token }) = Request::read(&text) else {
                        let message = "send an auth frame with a token first";
                        self.fail(None, &Fault::new("unauthorized", message));
                        continue;
                    };
                    match gate.admit(token).await {
                        Ok(client) => {
                            self.io.belongs_to(client.id());
                            self.who = Who::Known(client);
                            return true;
                        }
                        Err(fault) => {
                            self.fail(None, &fault);
                            self.outbox().close(1008, "the token is not admitted");
                        }
                    }
                }
                Next::Event(event) => self.take(event).await,
                Next::Behind => {}
                Next::Violation(violation) => self.violated(violation),
                Next::Closed => return false,
            }
        }
    }

    /// Sends what waits, until the connection is closed.
    async fn drain(&mut self) {
        while !matches!(self.io.next().await, Next::Closed) {}
    }

    /// Waits a moment for the peer to close, so that it reads what was sent last.
    async fn end(mut self) {
        if self.io.is_closed_here() {
            let stream = &mut self.io.stream;
            let _ = timeout(CLOSING, async {
                stream.shutdown().await?;
                let mut rest = [0; 64];
                while stream.read(&mut rest).await? > 0 {}
                std::io::Result::Ok(())
            })
            .await;
        }
    }

    fn reply(&self, reply: &Reply<'_>) {
        let frame = Frame::of(reply.text(), None);
        self.outbox().push(Out::Message(frame));
    }

    fn fail(&self, id: Option<&str>, fault: &Fault) {
        self.reply(&Reply::Error { id, fault });
    }

    fn violated(&self, violation: Violation) {
        self.outbox().close(violation.code, violation.reason);
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Text(text) => match self.who.count() {
                Ok(()) => self.request(&text).await,
                Err(fault) => self.fail(id_of(&text).as_deref(), &fault),
            },
            Event::Binary(_) => self.outbox().close(1003, "frames are JSON texts"),
            // Of a flood of pings not every one needs an answer (RFC 6455, 5.5.3).
            Event::Ping(_) if self.who.count().is_err() => {}
            Event::Ping(payload) => {
                let pong = encode(OpCode::Pong, false, &payload);
                self.outbox().push(Out::Wire(pong.into()));
            }
            Event::Pong(_) => {}
            Event::Close(code, _) => self.outbox().close(code.unwrap_or(1000), ""),
        }
    }

    async fn request(&mut self, text: &str) {
        match Request::read(text) {
            Ok(Request::Subscribe(subscribe)) => {
                if let Err(fault) = Box::pin(self.subscribe(&subscribe)).await {
                    self.fail(Some(&subscribe.id), &fault);
                }
            }
            Ok(Request::Unsubscribe { id }) => self.unsubscribe(&id),
            Ok(Request::Ping {}) => self.reply(&Reply::Pong {}),
            // Whoever is in need not say again who it is.
            Ok(Request::Auth { .. }) => {}
            Err(message) => {
                self.fail(id_of(text).as_deref(), &Fault::new("malformed", message));
            }
        }
    }

    async fn subscribe(&mut self, request: &Subscribe) -> Result<(), Fault> {
        self.subscriptions.retain(|one| !one.hub.is_closed());
        let most = self.hubs.limits().subscriptions;
        if request.id.is_empty() || request.id.len() > 256 {
            let message = "a subscription needs an id of 1 to 256 bytes";
            return Err(Fault::new("invalid", message));
        }
        if self.subscriptions.iter().any(|one| *one.id == *request.id) {
            let message = format!("'{}' is subscribed already", request.id);
            return Err(Fault::new("duplicate", message));
        }
        if self.subscriptions.len() >= most {
            let message = format!("a connection has {most} subscriptions at most");
            return Err(Fault::new("limit", message));
        }
        let hub = self.hubs.find(&request.stream)?;
        let (member, channel) = (self.hubs.number(), self.hubs.number());
        let outbox = self.io.shared_outbox();
        let same = self
            .subscriptions
            .iter()
            .filter(|one| Arc::ptr_eq(&one.hub, &hub));
        let others: Vec<u64> = same.map(|one| one.member).collect();
        hub.subscribe(request, &outbox, (member, channel), &others)
            .await?;
        self.subscriptions.push(Subscription {
            id: request.id.as_str().into(),
            member,
            hub,
        });
        Ok(())
    }

    fn unsubscribe(&mut self, id: &str) {
        let known = self.subscriptions.iter().position(|one| *one.id == *id);
        let Some(known) = known else {
            let names = self.subscriptions.iter().map(|one| &*one.id);
            let nowhere = sql::error::nowhere();
            let error = sql::Error::unknown("subscription", id, nowhere, names);
            return self.fail(Some(id), &Fault::new("not-found", error.to_string()));
        };
        let Subscription { hub, member, .. } = self.subscriptions.swap_remove(known);
        hub.leave(member);
        self.reply(&Reply::Unsubscribed { id, reason: None });
    }

    /// Everything is sent: who is behind is told more.
    fn advance(&self) {
        for subscription in &self.subscriptions {
            subscription.hub.advance(subscription.member);
        }
    }
}
