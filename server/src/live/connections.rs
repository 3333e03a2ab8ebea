//! All connections: how many, and the one timer that breaks their silence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use tokio::time::{MissedTickBehavior, interval};

use super::frame::Frame;
use super::outbox::{Out, Outbox, Silence};
use super::protocol::{Fault, Reply};
use super::websocket::{OpCode, encode};

/// A connection in the list.
#[derive(Debug)]
struct Entry {
    outbox: Weak<Outbox>,
    /// Whether it answers pings.
    answers: bool,
    /// Whose it is, where that is known.
    client: Option<Arc<str>>,
}

impl Entry {
    fn close(&self, code: u16, reason: &'static str) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.close(code, reason);
        }
    }
}

/// The list.
#[derive(Debug)]
pub(super) struct Connections {
    entries: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
    most: usize,
    /// Seconds since the beginning: the clock of all outboxes.
    now: AtomicU32,
}

/// A place in the list, until it is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    number: u64,
    connections: Arc<Connections>,
    pub(super) outbox: Arc<Outbox>,
}

impl Connected {
    /// Seconds on the clock of all outboxes.
    pub(super) fn now(&self) -> u32 {
        self.connections.now()
    }

    /// It has become known whose it is.
    pub(super) fn belongs_to(&self, client: &Arc<str>) {
        if let Some(entry) = self.connections.lock().get_mut(&self.number) {
            entry.client = Some(Arc::clone(client));
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
    }
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            next: AtomicU64::new(0),
            most,
            now: AtomicU32::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// A new connection, unless there are too many.
    pub(super) fn enter(
        self: &Arc<Self>,
        queue_bytes: usize,
        answers: bool,
        client: Option<Arc<str>>,
    ) -> Result<Connected, Fault> {
        let mut entries = self.lock();
        if entries.len() >= self.most {
            let message = format!("there are {} live connections already", self.most);
            return Err(Fault::new("limit", message));
        }
        let outbox = Outbox::new(queue_bytes, self.now());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            outbox: Arc::downgrade(&outbox),
            answers,
            client,
        };
        entries.insert(number, entry);
        Ok(Connected {
            number,
            connections: Arc::clone(self),
            outbox,
        })
    }

    /// Ends all of them, once what waits is sent.
    pub(super) fn close(&self, code: u16, reason: &'static str) {
        for entry in self.lock().values() {
            entry.close(code, reason);
        }
    }

    /// Ends those of some clients, once what waits is sent.
    pub(super) fn close_of(&self, those: impl Fn(&str) -> bool, code: u16, reason: &'static str) {
        for entry in self.lock().values() {
            if entry.client.as_deref().is_some_and(&those) {
                entry.close(code, reason);
            }
        }
    }

    /// Looks after all connections once a second, as long as there is somebody who holds the list.
    pub(super) async fn watch(connections: Weak<Self>) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let Some(connections) = connections.upgrade() else {
                return;
            };
            let now = connections.now.fetch_add(1, Ordering::Relaxed) + 1;
            connections.break_silence(now);
        }
    }

    fn break_silence(&self, now: u32) {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let heartbeat = Frame::of(Reply::Heartbeat { at: &at }.text(), None);
        let ping = Bytes::from(encode(OpCode::Ping, false, b""));
        for entry in self.lock().values() {
            let Some(outbox) = entry.outbox.upgrade() else {
                continue;
            };
            // Nothing more is heard of those that are to end: nor do they last.
            if !entry.answers && !outbox.is_closing() {
                outbox.note_heard(now);
            }
            match outbox.silence(now) {
                Silence::Nothing => {}
                Silence::Heartbeat => {
                    outbox.offer(&heartbeat);
                }
                Silence::Ping => outbox.push(Out::Wire(ping.clone())),
                Silence::Dead => outbox.kill(),
            }
        }
    }
}
