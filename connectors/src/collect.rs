//! Messages into [`Polled`] rows, for sources that number their messages themselves.

use arrow::buffer::ScalarBuffer;
use async_trait::async_trait;
use bytes::Bytes;
use engine::{Error, Polled, Position, Rejected, Result, Source, Split, StreamSpec, Waiting};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::format::{self, Decoder};
use crate::options;
use crate::pointer::Pointer;

/// Most rows that are handed over at once.
const MOST_ROWS: usize = 8_192;
/// Most bytes of a message that cannot be read which are kept with its dead letter.
const KEPT_BYTES: usize = 64 * 1024;

/// The pointer to the rows of a message, of a stream that passes [`check`].
pub(crate) fn pointer(stream: &StreamSpec, text: &str) -> Result<Pointer> {
    let pointer = Pointer::parse(text).map_err(|reason| {
        options::invalid(stream, "pointer", &format!("is not valid: {reason}"))
    })?;
    check(stream)?;
    Ok(pointer)
}

/// Refuses what no feed of messages without an envelope can be: one with metadata columns or an
/// unknown format.
pub(crate) fn check(stream: &StreamSpec) -> Result<()> {
    match stream.metadata.first() {
        None => format::decoder(stream).map(drop),
        Some(column) => Err(Error::invalid(format!(
            "table '{}': metadata column '{}' reads '{}', the connector '{}' has no metadata",
            stream.name,
            column.field.name(),
            column.key,
            stream.connector
        ))),
    }
}

/// Gathers the messages of one split and numbers them.
#[derive(Debug)]
pub(crate) struct Collector {
    split: Split,
    decoder: Box<dyn Decoder>,
    offsets: Vec<i64>,
    rejected: Vec<Rejected>,
    next_offset: i64,
}

impl Collector {
    /// A collector whose first message gets the number `next_offset`.
    pub(crate) fn new(split: Split, decoder: Box<dyn Decoder>, next_offset: i64) -> Self {
        Self {
            split,
            decoder,
            offsets: vec![],
            rejected: vec![],
            next_offset,
        }
    }

    /// Takes a message: it becomes a row or a rejected one.
    pub(crate) fn push(&mut self, message: &[u8]) {
        match self.decoder.decode(message) {
            Ok(()) => {
                self.offsets.push(self.next_offset);
                self.next_offset += 1;
            }
            Err(reason) => self.reject(message, reason),
        }
    }

    /// Takes a message that is not a row; of a long one the beginning is kept.
    pub(crate) fn reject(&mut self, message: &[u8], reason: String) {
        let kept = &message[..message.len().min(KEPT_BYTES)];
        self.rejected.push(Rejected {
            offset: self.next_offset,
            record_time: None,
            payload: Bytes::copy_from_slice(kept),
            reason,
        });
        self.next_offset += 1;
    }

    /// Whether it is time to hand over what is there.
    pub(crate) fn is_full(&self) -> bool {
        self.offsets.len() + self.rejected.len() >= MOST_ROWS
    }

    /// What was gathered since the last call, if anything.
    pub(crate) fn take(&mut self) -> Result<Option<Polled>> {
        if self.offsets.is_empty() && self.rejected.is_empty() {
            return Ok(None);
        }
        Ok(Some(Polled {
            split: self.split.clone(),
            rows: self.decoder.take()?,
            offsets: ScalarBuffer::from(std::mem::take(&mut self.offsets)),
            record_times: None,
            rejected: std::mem::take(&mut self.rejected),
            next_offset: self.next_offset,
        }))
    }
}

/// A feed that cannot be asked again: its messages get their numbers as they come.
pub(crate) trait Fetch: Send + Sync {
    /// The name of its one split, and of what its task does, for the error when that ends.
    const NAMES: (&'static str, &'static str);

    /// Starts the task; its first message gets the number `next_offset`, and at `waiting` it tells
    /// of outages.
    fn start(&self, split: Split, next_offset: i64, waiting: Waiting) -> Result<Feed>;
}

/// The source of a [`Fetch`].
#[derive(Debug)]
pub(crate) struct Numbered<F> {
    fetch: F,
    next_offset: i64,
    feed: Option<Feed>,
    waiting: Waiting,
}

impl<F: Fetch> Numbered<F> {
    pub(crate) fn new(fetch: F) -> Self {
        Self {
            fetch,
            next_offset: 0,
            feed: None,
            waiting: Waiting::default(),
        }
    }

    fn split() -> Split {
        Split::new(F::NAMES.0)
    }
}

#[async_trait]
impl<F: Fetch> Source for Numbered<F> {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        Ok(vec![Self::split()])
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        if let Some(offset) = to.get(&Self::split()) {
            self.next_offset = *offset;
        }
        self.feed = None;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        let feed = match &mut self.feed {
            Some(feed) => feed,
            none => {
                self.waiting.clear();
                let (split, waiting) = (Self::split(), self.waiting.clone());
                none.insert(self.fetch.start(split, self.next_offset, waiting)?)
            }
        };
        let ended = || {
            Err(Error::internal(format!(
                "the task that {} ended",
                F::NAMES.1
            )))
        };
        let polled = feed.next().await.unwrap_or_else(ended);
        match &polled {
            Ok(polled) => self.next_offset = polled.next_offset,
            Err(_) => self.feed = None,
        }
        polled.map(Some)
    }

    fn repeatable(&self) -> bool {
        false
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.waiting.clone())
    }
}

/// A task that fetches in the background: dropping the future of [`Feed::next`] interrupts no
/// request and loses no row. The task ends with the feed.
#[derive(Debug)]
pub(crate) struct Feed {
    polled: mpsc::Receiver<Result<Polled>>,
    task: JoinHandle<()>,
}

impl Feed {
    /// A feed and the sending end for its task.
    pub(crate) fn start<F>(task: impl FnOnce(mpsc::Sender<Result<Polled>>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Two batches: one being consumed, one ready; a third waits in its task.
        let (sender, polled) = mpsc::channel(2);
        Self {
            polled,
            task: tokio::spawn(task(sender)),
        }
    }

    /// The next rows, waiting for them; `None` when the task has ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Polled>> {
        self.polled.recv().await
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}
