//! Rows that are posted to Millstream: one end is the source in a job, the other the [`Pusher`] of
//! whoever takes the requests.
//!
//! Between them is a queue, bounded by the bytes of the bodies in it, so that a job that falls
//! behind pushes back. A body is taken as a whole or not at all. Rows get their numbers when the
//! job takes them from the queue: those behind that number in the job's
//! [`Committed`](engine::runtime::Committed) survive a kill.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use async_trait::async_trait;
use engine::{Error, Polled, Position, Rejected, Result, Split, StreamSpec};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::rows::{self, Form};
use crate::collect::{self, Collector};
use crate::format;
use crate::options::{self, Size, Text, invalid};

/// What `mode` says of a table that is pushed.
const MODE: &str = "push";
/// The one split.
const SPLIT: &str = "http";
/// Bytes in the queue at most, where the options say nothing.
const QUEUE: u64 = 16 << 20;
/// Faults of rows that a receipt tells.
const FAULTS: usize = 10;

/// Options of `'connector' = 'http', 'mode' = 'push'`.
///
/// ```sql
/// CREATE TABLE ticks (symbol STRING, price DOUBLE, ts TIMESTAMP(9),
///                     WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
///   WITH ('connector' = 'http', 'mode' = 'push', 'format' = 'json');
/// ```
///
/// The rows are those of `POST /api/v1/ingest/ticks` at `millstream serve`: a JSON array, one
/// object, or an object a line. The split is named `http`, offsets number the rows. A row that
/// cannot be read becomes a dead letter; of a long one the first 64 kB are kept. What was pushed
/// cannot be asked for again: the job's log keeps it.
#[derive(Debug, Clone, Deserialize)]
struct Options {
    /// `push`.
    #[expect(dead_code, reason = "it is what led here")]
    mode: Text,
    /// How many bytes of bodies wait for the job at most; default `'16 MB'`.
    queue: Option<Size>,
}

/// Whether the rows of a table are pushed.
#[must_use]
pub fn is_pushed(stream: &StreamSpec) -> bool {
    let mode = stream.options.get("mode").map(String::as_str);
    stream.connector == super::NAME && mode == Some(MODE)
}

/// Both ends of a table whose rows are pushed.
pub fn open(stream: &StreamSpec) -> Result<(Pusher, Box<dyn engine::Source>)> {
    let options: Options = options::parse_transport(stream)?;
    collect::check(stream)?;
    let room = options.queue.map_or(QUEUE, |queue| queue.0);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room == 0 || room > Semaphore::MAX_PERMITS.min(u32::MAX as usize) {
        let message = "must be at least one byte, and less than 4 GB";
        return Err(invalid(stream, "queue", message));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let pusher = Pusher {
        stream: Arc::new(stream.clone()),
        room: Arc::new(Semaphore::new(room)),
        most: room,
        sender,
    };
    let source = Source {
        table: stream.name.clone(),
        pushed: receiver,
        under_way: None,
        next_offset: 0,
    };
    Ok((pusher, Box::new(source)))
}

/// The end that rows are pushed into. It outlives no job: a job that starts again has another.
#[derive(Debug, Clone)]
pub struct Pusher {
    stream: Arc<StreamSpec>,
    /// Bytes that still fit the queue.
    room: Arc<Semaphore>,
    most: usize,
    sender: mpsc::UnboundedSender<Push>,
}

/// What became of a body that was taken.
#[derive(Debug)]
pub struct Receipt {
    /// How many rows go to the job.
    pub accepted: usize,
    /// How many could not be read, and go to `<table>$dead`.
    pub rejected: usize,
    /// The first of those: their places in the body, from 0, and what is wrong with them.
    pub faults: Vec<(usize, String)>,
    /// Told once the job takes the rows: the offset that follows the last of them. It fails where
    /// the job ends before.
    pub reached: oneshot::Receiver<i64>,
}

/// Why nothing of a body was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full: the job is behind.
    Full,
    /// The job has ended, or ends.
    Gone,
    /// It is not what it was said to be.
    Malformed(String),
    /// The job could not take it for a reason of its own.
    Failed(String),
}

impl Pusher {
    /// The table.
    #[must_use]
    pub fn stream(&self) -> &StreamSpec {
        &self.stream
    }

    /// The split that the rows are of.
    #[must_use]
    pub fn split() -> Split {
        Split::new(SPLIT)
    }

    /// Queues the rows of a body, all of them or, where it is refused, none. It takes the time
    /// that decoding takes, and never waits.
    pub fn push(&self, body: &[u8], form: Form) -> Result<Receipt, Refusal> {
        if self.sender.is_closed() {
            return Err(Refusal::Gone);
        }
        let wanted = body.len().clamp(1, self.most) as u32;
        let room = Arc::clone(&self.room).try_acquire_many_owned(wanted);
        let room = room.map_err(|_| Refusal::Full)?;
        let failed = |error: Error| Refusal::Failed(error.chain());
        let decoder = format::decoder(&self.stream).map_err(failed)?;
        let mut collector = Collector::new(Self::split(), decoder, 0);
        let mut polls = VecDeque::new();
        for row in rows::rows(body, form).map_err(Refusal::Malformed)? {
            collector.push(row);
            if collector.is_full() {
                polls.extend(collector.take().map_err(failed)?);
            }
        }
        polls.extend(collector.take().map_err(failed)?);
        let (told, reached) = oneshot::channel();
        let rejected = || polls.iter().flat_map(|poll| &poll.rejected);
        let fault = |row: &Rejected| (row.offset as usize, row.reason.clone());
        let receipt = Receipt {
            accepted: polls.iter().map(|poll| poll.rows.num_rows()).sum(),
            rejected: rejected().count(),
            faults: rejected().take(FAULTS).map(fault).collect(),
            reached,
        };
        let push = Push {
            polls,
            told: Some(told),
            _room: room,
        };
        match self.sender.send(push) {
            Ok(()) => Ok(receipt),
            Err(_) => Err(Refusal::Gone),
        }
    }
}

/// A body in the queue, its rows numbered from 0.
#[derive(Debug)]
struct Push {
    polls: VecDeque<Polled>,
    /// Whom to tell the number behind the last row.
    told: Option<oneshot::Sender<i64>>,
    /// Given back when the last row is with the job.
    _room: OwnedSemaphorePermit,
}

/// The end in the job.
#[derive(Debug)]
struct Source {
    table: String,
    pushed: mpsc::UnboundedReceiver<Push>,
    /// What is being handed over, and the number of its first row.
    under_way: Option<(Push, i64)>,
    next_offset: i64,
}

impl Source {
    /// The next rows of the body under way.
    fn rest(&mut self) -> Option<Polled> {
        let (push, first) = self.under_way.as_mut()?;
        let polled = push.polls.pop_front().map(|polled| shifted(polled, *first));
        match &polled {
            Some(polled) => self.next_offset = polled.next_offset,
            None => self.under_way = None,
        }
        polled
    }
}

#[async_trait]
impl engine::Source for Source {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        if self.pushed.is_closed() && self.pushed.is_empty() {
            return Err(Error::invalid(format!(
                "the rows of table '{}' are pushed, and nobody takes them here: submit the job to \
                 `millstream serve`",
                self.table
            )));
        }
        Ok(vec![Pusher::split()])
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        self.next_offset = to.get(&Pusher::split()).copied().unwrap_or_default();
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        loop {
            if let Some(polled) = self.rest() {
                return Ok(Some(polled));
            }
            // Nobody who could push is no end of the rows: the job may be stopped and go on.
            let Some(mut push) = self.pushed.recv().await else {
                return std::future::pending().await;
            };
            let rows = push.polls.back().map_or(0, |last| last.next_offset);
            // Whoever pushed may not want to know.
            let _ = push
                .told
                .take()
                .map(|told| told.send(self.next_offset + rows));
            self.under_way = Some((push, self.next_offset));
        }
    }

    fn repeatable(&self) -> bool {
        false
    }
}

/// Rows that were numbered from 0, numbered from `first`.
fn shifted(mut polled: Polled, first: i64) -> Polled {
    let offsets = polled.offsets.iter().map(|offset| offset + first);
    polled.offsets = ScalarBuffer::from(offsets.collect::<Vec<_>>());
    for rejected in &mut polled.rejected {
        rejected.offset += first;
    }
    polled.next_offset += first;
    polled
}
