//! Live windows: what a job writes, as it comes, to whoever looks, by WebSocket or SSE.
//!
//! ```text
//! shard ──rows──▶ hub ──frames──▶ outboxes ──▶ sessions ──▶ sockets
//! (a Tap)         (ring, newest row per key, channels)
//! ```
//! | file | what it holds |
//! |---|---|
//! | `core`, `ring`, `latest`, `cursor` | what a hub knows and whom it tells what: pure |
//! | `hub`, `pace` | the core behind a lock, its inbox, its task, and when that makes frames |
//! | `view`, `filter` | which rows and columns a channel shows, and how |
//! | `frame`, `outbox` | a message built once, and the bounded queue of a connection |
//! | `protocol` | the texts |
//! | `session`, `upgrade`, `sse` | one connection |
//! | `client`, `callers` | who is at its other end |
//! | `websocket` | the wire |
//!
//! Invariants, each with what enforces it:
//! * **What a reader is told has no gap and no overlap, whatever it is connected through**: a
//!   property test drives the core against a list of rows (`core/tests`), with kills, slow readers
//!   and resumes; a real client drops its connection a thousand times.
//! * **No reader slows the job or another reader**: queues are bounded, who cannot follow is told
//!   the newest row of each key later, who takes nothing is let go.
//! * **A frame is built and compressed once**: readers share its bytes.
//! * **A connection that waits holds no buffers**: the bench `live` measures its memory.

mod callers;
mod client;
mod connections;
mod core;
mod cursor;
mod filter;
mod frame;
mod hub;
mod latest;
mod outbox;
mod pace;
pub mod protocol;
mod ring;
mod routes;
mod session;
mod sse;
mod upgrade;
mod view;
pub mod websocket;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::graph::Target;

use self::core::Sizes;
pub(crate) use callers::end_those_of_revoked_keys;
pub use client::{Client, Gate, Who};
use connections::Connections;
pub use hub::Hub;
use pace::Metronome;
use protocol::Fault;
pub use ring::Bounds;
pub(crate) use routes::routes;
pub use session::serve;
pub use sse::{Follow, follow};
pub use upgrade::{spoken_version, upgrade};

/// What is allowed and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of both kinds.
    pub connections: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of a frame that a client sends.
    pub frame_bytes: usize,
    /// Bytes that wait for one connection before it is told less.
    pub queue_bytes: usize,
    /// What is kept of a stream to resume from.
    pub ring: Bounds,
    /// Keys of a stream whose newest row is kept; of more, those that had rows last.
    pub keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            subscriptions: 64,
            frame_bytes: 64 * 1024,
            queue_bytes: 512 * 1024,
            ring: Bounds {
                rows: 65_536,
                bytes: 64 << 20,
            },
            keys: 200_000,
        }
    }
}

/// Rows of a page of a snapshot or a resume.
const PAGE_ROWS: usize = 1_000;
/// Bytes of text after which a frame ends at the next batch.
const FRAME_BYTES: usize = 256 * 1024;

/// Every stream that a running job writes, and everybody who looks.
#[derive(Debug, Clone)]
pub struct Hubs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By job and table.
    hubs: Mutex<BTreeMap<(String, String), Arc<Hub>>>,
    limits: Limits,
    connections: Arc<Connections>,
    metronome: Arc<Metronome>,
    /// The next number of a member or a channel.
    next: AtomicU64,
}

impl Hubs {
    /// No streams yet. Call it on the runtime that carries the connections.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let connections = Connections::new(limits.connections);
        tokio::spawn(Connections::watch(Arc::downgrade(&connections)));
        Self(Arc::new(Inner {
            hubs: Mutex::default(),
            limits,
            connections,
            metronome: Metronome::start(),
            next: AtomicU64::new(1),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Hub>>> {
        self.0.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is allowed.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The hub of a target of a job that starts: the job's tap. `generation` grows with every
    /// start of the job. Call it on the runtime that carries the connections.
    #[must_use]
    pub fn open(&self, job: &str, target: &Target, generation: u64) -> Arc<Hub> {
        let sizes = Sizes {
            ring: self.0.limits.ring,
            keys: self.0.limits.keys,
            page_rows: PAGE_ROWS,
            frame_bytes: FRAME_BYTES,
        };
        let hub = Arc::new(Hub::new(job, target, generation, sizes));
        let metronome = Arc::clone(&self.0.metronome);
        tokio::spawn(Arc::clone(&hub).run(metronome));
        let name = (job.to_owned(), target.stream.name.clone());
        if let Some(before) = self.lock().insert(name, Arc::clone(&hub)) {
            before.close("the job has started again");
        }
        hub
    }

    /// The streams of a job are no more: it has stopped.
    pub fn close(&self, job: &str) {
        let closed: Vec<_> = self.lock().extract_if(.., |(of, _), _| of == job).collect();
        for (_, hub) in closed {
            hub.close("the job has stopped");
        }
    }

    /// The stream of that name: a table's, or `job.table` where several jobs write a table of that
    /// name.
    pub fn find(&self, stream: &str) -> Result<Arc<Hub>, Fault> {
        let hubs = self.lock();
        let named = hubs.values().filter(|hub| hub.stream() == stream);
        let mut found: Vec<&Arc<Hub>> = named.collect();
        if found.is_empty() {
            let whole = |hub: &&Arc<Hub>| format!("{}.{}", hub.job(), hub.stream()) == stream;
            found.extend(hubs.values().find(whole));
        }
        match found.as_slice() {
            [one] => Ok(Arc::clone(one)),
            [] => {
                let known = hubs.values().map(|hub| hub.stream());
                let error = sql::Error::unknown("stream", stream, sql::error::nowhere(), known);
                Err(Fault::new("not-found", error.to_string()))
            }
            several => {
                let whole = several
                    .iter()
                    .map(|hub| format!("'{}.{stream}'", hub.job()));
                let whole = whole.collect::<Vec<_>>().join(" or ");
                let message = format!("several jobs write '{stream}'; name one: {whole}");
                Err(Fault::new("ambiguous", message))
            }
        }
    }

    /// The hub of a table that a job writes, while it runs.
    #[must_use]
    pub fn of(&self, job: &str, table: &str) -> Option<Arc<Hub>> {
        self.lock()
            .get(&(job.to_owned(), table.to_owned()))
            .cloned()
    }

    /// Every stream, by job and table.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Hub>> {
        self.lock().values().cloned().collect()
    }

    /// How many streams there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Connections at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// Ends the connections of the clients that are told so: they may be here no longer.
    pub fn close_of(&self, those: impl Fn(&str) -> bool) {
        self.0
            .connections
            .close_of(those, 1008, "the key was revoked");
    }

    /// Tells everybody that the server goes away and ends all connections.
    pub fn shut_down(&self) {
        self.0.connections.close(1001, "the server goes away");
    }
}
