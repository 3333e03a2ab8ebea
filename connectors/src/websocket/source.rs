//! The task that stays connected.

use std::time::Duration;

use engine::{Error, Polled, Result, Split, StreamSpec, Waiting};
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use super::Options;
use super::connection::{Refusal, Socket, Target};
use crate::collect::{self, Collector, Feed, Fetch};
use crate::format;
use crate::options::invalid;
use crate::pointer::{Found, Pointer};
use crate::retry::Backoff;

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A socket as a feed.
#[derive(Debug)]
pub(super) struct Source {
    stream: StreamSpec,
    options: Options,
    pointer: Pointer,
}

impl Source {
    pub(super) fn new(stream: &StreamSpec, options: Options) -> Result<Self> {
        let pointer = collect::pointer(stream, &options.pointer)?;
        if options
            .heartbeat
            .is_some_and(|heartbeat| heartbeat.is_zero())
        {
            return Err(invalid(stream, "heartbeat", "must be longer than nothing"));
        }
        Target::new(stream, &options)?;
        Ok(Self {
            stream: stream.clone(),
            options,
            pointer,
        })
    }
}

impl Fetch for Source {
    const NAMES: (&'static str, &'static str) = ("websocket", "listens to a socket");

    fn start(&self, split: Split, next_offset: i64, waiting: Waiting) -> Result<Feed> {
        let listener = Listener {
            table: self.stream.name.clone(),
            target: Target::new(&self.stream, &self.options)?,
            heartbeat: self
                .options
                .heartbeat
                .map_or(Duration::from_secs(15), |h| h.0),
            skip_unmatched: self.options.skip_unmatched.unwrap_or(true),
            pointer: self.pointer.clone(),
            collector: Collector::new(split, format::decoder(&self.stream)?, next_offset),
            backoff: Backoff::new(Duration::from_millis(200), LONGEST_PAUSE),
            unmatched: 0,
            waiting,
        };
        Ok(Feed::start(|sender| listener.run(sender)))
    }
}

/// Where the rows go.
type Sender = mpsc::Sender<Result<Polled>>;

/// What the task works with.
struct Listener {
    table: String,
    target: Target,
    heartbeat: Duration,
    skip_unmatched: bool,
    pointer: Pointer,
    collector: Collector,
    backoff: Backoff,
    /// Frames left out because they had nothing at the pointer.
    unmatched: u64,
    waiting: Waiting,
}

/// Why a connection is over.
enum Ended {
    /// Nobody listens any more.
    Unwanted,
    /// It broke, or fell silent.
    Broken(String),
}

impl Listener {
    /// Connects and listens, again and again.
    async fn run(mut self, sender: Sender) {
        loop {
            let reason = match self.target.connect().await {
                Ok(socket) => {
                    self.waiting.clear();
                    tracing::info!(table = self.table, url = self.target.shown(), "connected");
                    match self.listen(socket, &sender).await {
                        Ok(Ended::Unwanted) => return,
                        Ok(Ended::Broken(reason)) => reason,
                        Err(error) => return give_up(error, &sender).await,
                    }
                }
                Err(Refusal::Later(reason)) => reason,
                Err(Refusal::Final(error)) => return give_up(error, &sender).await,
            };
            self.waiting.set(&reason);
            let wait = self.backoff.wait();
            tracing::warn!(
                table = self.table,
                url = self.target.shown(),
                reason,
                attempt = self.backoff.attempts(),
                ?wait,
                "not connected, connecting again"
            );
            sleep(wait).await;
        }
    }

    async fn listen(&mut self, mut socket: Socket, sender: &Sender) -> Result<Ended> {
        let mut heard = Instant::now();
        let mut asked = false;
        loop {
            let patience = if asked {
                self.heartbeat * 2
            } else {
                self.heartbeat
            };
            let frame = tokio::select! {
                biased;
                frame = socket.next() => frame,
                () = sleep_until(heard + patience) => {
                    if asked {
                        return Ok(Ended::Broken(format!("nothing was heard for {patience:?}")));
                    }
                    asked = true;
                    let ping = socket.send(Message::Ping(bytes::Bytes::new()));
                    match timeout(self.heartbeat, ping).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return Ok(Ended::Broken(error.to_string())),
                        Err(_) => return Ok(Ended::Broken("it takes nothing any more".to_owned())),
                    }
                }
            };
            let mut broken = self.take(frame);
            // What else is there already becomes part of the same batch.
            while broken.is_none() && !self.collector.is_full() {
                match socket.next().now_or_never() {
                    Some(frame) => broken = self.take(frame),
                    None => break,
                }
            }
            if let Some(polled) = self.collector.take()? {
                self.backoff.reset();
                if sender.send(Ok(polled)).await.is_err() {
                    return Ok(Ended::Unwanted);
                }
            }
            if let Some(reason) = broken {
                return Ok(Ended::Broken(reason));
            }
            // The time that the dataflow took is not the server's silence.
            heard = Instant::now();
            asked = false;
        }
    }

    /// Takes a frame; the reason why the connection is over where it was the last.
    fn take(&mut self, frame: Option<tungstenite::Result<Message>>) -> Option<String> {
        match frame {
            Some(Ok(Message::Text(text))) => self.rows(text.as_bytes()),
            Some(Ok(Message::Binary(bytes))) => self.rows(&bytes),
            Some(Ok(Message::Close(Some(close)))) => {
                return Some(format!("closed by the server: {close}"));
            }
            Some(Ok(Message::Close(None))) | None => {
                return Some("closed by the server".to_owned());
            }
            // A ping is answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Some(error.to_string()),
        }
        None
    }

    fn rows(&mut self, frame: &[u8]) {
        match self.pointer.find(frame) {
            Found::Rows(rows) => rows.into_iter().for_each(|row| self.collector.push(row)),
            Found::Nothing if self.skip_unmatched => {
                self.unmatched += 1;
                if self.unmatched.is_power_of_two() {
                    let frames = self.unmatched;
                    tracing::info!(table = self.table, frames, "frames without rows so far");
                }
            }
            Found::Nothing => {
                let pointer = self.pointer.as_str();
                self.collector
                    .reject(frame, format!("the frame has nothing at '{pointer}'"));
            }
            Found::Malformed(reason) => self.collector.reject(frame, reason),
        }
    }
}

/// Tells the last error of a feed.
async fn give_up(error: Error, sender: &Sender) {
    // Nobody listens any more where this fails.
    drop(sender.send(Err(error)).await);
}
