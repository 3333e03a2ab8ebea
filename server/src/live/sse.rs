//! One stream as server-sent events: the frames of the WebSocket, each with its cursor as the
//! event's id, so that a browser resumes by itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use super::Hubs;
use super::connections::Connected;
use super::frame::Frame;
use super::hub::Hub;
use super::outbox::Out;
use super::protocol::{Fault, Subscribe};

/// Messages made ready by one poll.
const AT_ONCE: usize = 32;

/// The events of one subscription, as the text of the response; it ends when the job stops or the
/// reader takes nothing for too long.
pub struct Follow {
    connected: Connected,
    hub: Arc<Hub>,
    member: u64,
    ready: VecDeque<Bytes>,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.hub.leave(self.member);
    }
}

/// Begins to follow a stream, for a client where it is known who that is.
pub async fn follow(
    hubs: &Hubs,
    mut request: Subscribe,
    client: Option<Arc<str>>,
) -> Result<Follow, Fault> {
    let hub = hubs.find(&request.stream)?;
    let room = hubs.limits().queue_bytes;
    let connected = hubs.0.connections.enter(room, false, client)?;
    if request.id.is_empty() {
        request.id.clone_from(&request.stream);
    }
    let (member, channel) = (hubs.number(), hubs.number());
    hub.subscribe(&request, &connected.outbox, (member, channel), &[])
        .await?;
    Ok(Follow {
        connected,
        hub,
        member,
        ready: VecDeque::new(),
    })
}

/// A frame as an event. Its text has no line breaks: JSON writes them otherwise.
fn event(frame: &Frame) -> Bytes {
    let mut out = Vec::with_capacity(frame.len() + 64);
    if let Some(cursor) = frame.cursor {
        out.extend_from_slice(format!("id: {cursor}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&frame.text());
    out.extend_from_slice(b"\n\n");
    out.into()
}

impl Stream for Follow {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let outbox = &this.connected.outbox;
        // Whoever polls has taken what it was given before.
        outbox.note_sent(this.connected.now());
        outbox.watch(cx.waker());
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if outbox.is_dead() {
                return Poll::Ready(None);
            }
            let taken = outbox.take(AT_ONCE, usize::MAX);
            let messages = taken.out.into_iter().filter_map(|out| match out {
                Out::Message(frame) => Some(event(&frame)),
                Out::Wire(_) => None,
            });
            this.ready.extend(messages);
            if taken.behind && taken.closing.is_none() {
                this.hub.advance(this.member);
            } else if this.ready.is_empty() {
                let ended = taken.closing.is_some() || this.hub.is_closed();
                return match ended {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                };
            }
        }
    }
}
