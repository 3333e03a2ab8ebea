//! What waits to be sent on one connection: bounded, filled by hubs, emptied by the connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::frame::Frame;

/// Seconds of silence after which a heartbeat is sent.
const HEARTBEAT: u32 = 15;
/// Seconds after which a reader that takes nothing is given up.
const STUCK: u32 = 30;
/// Seconds after which a peer that says nothing is pinged, and after which it is given up.
const UNHEARD: u32 = 30;
const DEAF: u32 = 100;

/// What is to be done about a silent connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    Nothing,
    Heartbeat,
    Ping,
    Dead,
}

/// Something to send.
#[derive(Debug, Clone)]
pub(super) enum Out {
    /// A message.
    Message(Arc<Frame>),
    /// A frame of the WebSocket protocol itself.
    Wire(Bytes),
}

impl Out {
    fn len(&self) -> usize {
        match self {
            Self::Message(frame) => frame.len(),
            Self::Wire(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Out>,
    bytes: usize,
    /// Subscriptions that are behind, and go on when everything is sent.
    behind: bool,
    /// Why and with which code the connection is to end.
    closing: Option<(u16, &'static str)>,
}

impl Queue {
    /// Takes it in; what is closing takes nothing more, or might never be done.
    fn push(&mut self, out: Out) -> bool {
        let open = self.closing.is_none();
        if open {
            self.bytes += out.len();
            self.waiting.push_back(out);
        }
        open
    }
}

/// What there is to do for a connection.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) out: Vec<Out>,
    /// Everything is taken, and subscriptions are behind.
    pub(super) behind: bool,
    pub(super) closing: Option<(u16, &'static str)>,
}

/// The queue of a connection. Times are seconds of the clock of [`Hubs`](super::Hubs).
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    /// The most bytes that wait.
    limit: usize,
    dead: AtomicBool,
    /// When the connection last took something, or had nothing to take.
    pub(super) sent_at: AtomicU32,
    /// When the peer was last heard of.
    pub(super) heard_at: AtomicU32,
}

impl Outbox {
    pub(super) fn new(limit: usize, now: u32) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
            limit,
            dead: AtomicBool::new(false),
            sent_at: AtomicU32::new(now),
            heard_at: AtomicU32::new(now),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message unless the queue is full or closing. An empty queue takes a message of any
    /// size.
    pub(super) fn offer(&self, frame: &Arc<Frame>) -> bool {
        let mut queue = self.lock();
        let full = !queue.waiting.is_empty() && queue.bytes + frame.len() > self.limit;
        let taken = !full && queue.push(Out::Message(Arc::clone(frame)));
        drop(queue);
        if taken {
            self.waker.wake();
        }
        taken
    }

    /// Queues what is an answer to the peer, full or not: it is asked no more than it reads. Once the
    /// connection is to end there are no more answers.
    pub(super) fn push(&self, out: Out) {
        if self.lock().push(out) {
            self.waker.wake();
        }
    }

    /// Whether more should be made for it, or asked of the peer.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.lock();
        queue.closing.is_none() && queue.bytes < self.limit / 2
    }

    /// Whether the connection is to end.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// A subscription cannot follow and goes on once everything is sent.
    pub(super) fn set_behind(&self) {
        self.lock().behind = true;
        self.waker.wake();
    }

    /// Ends the connection, once what waits is sent; the first reason counts.
    pub(super) fn close(&self, code: u16, reason: &'static str) {
        self.lock().closing.get_or_insert((code, reason));
        self.waker.wake();
    }

    /// Takes up to so many messages and bytes.
    pub(super) fn take(&self, most: usize, most_bytes: usize) -> Taken {
        let mut queue = self.lock();
        let (mut out, mut bytes) = (vec![], 0);
        while out.len() < most && bytes < most_bytes {
            let Some(next) = queue.waiting.pop_front() else {
                break;
            };
            bytes += next.len();
            out.push(next);
        }
        queue.bytes -= bytes;
        let all = queue.waiting.is_empty();
        if all {
            // A connection that waits holds no buffer.
            queue.waiting = VecDeque::new();
        }
        Taken {
            behind: all && std::mem::take(&mut queue.behind),
            closing: queue.closing.filter(|_| all),
            out,
        }
    }

    /// Wakes this task whenever something is queued or the connection is given up.
    pub(super) fn watch(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Gives the connection up, whatever waits.
    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(super) fn note_sent(&self, now: u32) {
        self.sent_at.store(now, Ordering::Relaxed);
    }

    pub(super) fn note_heard(&self, now: u32) {
        self.heard_at.store(now, Ordering::Relaxed);
    }

    /// What silence calls for at this second.
    pub(super) fn silence(&self, now: u32) -> Silence {
        let since = |at: &AtomicU32| now.saturating_sub(at.load(Ordering::Relaxed));
        let (sent, heard) = (since(&self.sent_at), since(&self.heard_at));
        let waiting = self.is_waiting();
        if (waiting && sent > STUCK) || heard > DEAF {
            Silence::Dead
        } else if !waiting && sent >= HEARTBEAT {
            Silence::Heartbeat
        } else if heard >= UNHEARD && heard.is_multiple_of(HEARTBEAT) {
            Silence::Ping
        } else {
            Silence::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Text;
    use super::*;

    fn message(length: usize) -> Arc<Frame> {
        Frame::of(Text::new(&"x".repeat(length)), None)
    }

    #[test]
    fn a_queue_is_bounded_but_takes_one_message_of_any_size() {
        let outbox = Outbox::new(1_000, 0);
        assert!(outbox.offer(&message(5_000)) && !outbox.offer(&message(1)));
        outbox.push(Out::Wire(Bytes::from_static(b"pong")));
        outbox.set_behind();
        let first = outbox.take(1, usize::MAX);
        assert!(first.out.len() == 1 && !first.behind, "a pong waits still");
        assert!(outbox.take(9, usize::MAX).behind && outbox.has_room());
        for _ in 0..20 {
            outbox.offer(&message(90));
        }
        assert_eq!(outbox.take(99, usize::MAX).out.len(), 10);
        assert!(!outbox.take(99, 1).behind);
    }

    #[test]
    fn the_first_reason_to_close_counts_and_waits_for_what_is_queued() {
        let outbox = Outbox::new(1_000, 0);
        outbox.offer(&message(1));
        outbox.offer(&message(1));
        outbox.close(1003, "text only");
        outbox.close(1011, "later");
        assert_eq!(outbox.take(1, usize::MAX).closing, None);
        assert_eq!(
            outbox.take(1, usize::MAX).closing,
            Some((1003, "text only"))
        );
    }

    #[test]
    fn what_is_closing_takes_nothing_more() {
        let outbox = Outbox::new(1_000, 0);
        assert!(outbox.offer(&message(1)) && outbox.has_room());
        outbox.close(1008, "the key was revoked");
        assert!(!outbox.offer(&message(1)) && !outbox.has_room());
        outbox.push(Out::Wire(Bytes::from_static(b"pong")));
        let taken = outbox.take(99, usize::MAX);
        assert_eq!(taken.out.len(), 1, "what waited before");
        assert_eq!(taken.closing, Some((1008, "the key was revoked")));
    }

    #[test]
    fn silence_is_broken_and_the_dead_are_given_up() {
        let outbox = Outbox::new(1_000, 100);
        assert_eq!(outbox.silence(114), Silence::Nothing);
        assert_eq!(outbox.silence(115), Silence::Heartbeat);
        outbox.note_sent(115);
        outbox.offer(&message(1));
        assert_eq!(outbox.silence(129), Silence::Nothing);
        assert_eq!(outbox.silence(130), Silence::Ping);
        assert_eq!(
            outbox.silence(146),
            Silence::Dead,
            "it takes nothing for 30 s"
        );
        outbox.note_sent(146);
        outbox.note_heard(140);
        assert_eq!(outbox.silence(150), Silence::Nothing);
    }
}
