//! The loop around the request, in a task of its own.

use std::time::Duration;

use engine::{Polled, Result, Split, StreamSpec, Waiting};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Options;
use super::request::{Answer, Request};
use crate::collect::{self, Collector, Feed, Fetch};
use crate::format;
use crate::options::invalid;
use crate::pointer::{Found, Pointer};
use crate::retry::{Backoff, Health};

/// A URL as a feed.
#[derive(Debug)]
pub(super) struct Source {
    stream: StreamSpec,
    options: Options,
    pointer: Pointer,
}

impl Source {
    pub(super) fn new(stream: &StreamSpec, options: Options) -> Result<Self> {
        match options.mode.as_deref() {
            None | Some("poll") => {}
            Some(_) => return Err(invalid(stream, "mode", "must be 'poll' or 'push'")),
        }
        if options.interval.is_some_and(|interval| interval.is_zero()) {
            return Err(invalid(stream, "interval", "must be longer than nothing"));
        }
        if options.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(invalid(stream, "timeout", "must be longer than nothing"));
        }
        let pointer = collect::pointer(stream, &options.pointer)?;
        Request::new(stream, &options)?;
        Ok(Self {
            stream: stream.clone(),
            options,
            pointer,
        })
    }
}

impl Fetch for Source {
    const NAMES: (&'static str, &'static str) = ("http", "asks for a URL");

    fn start(&self, split: Split, next_offset: i64, waiting: Waiting) -> Result<Feed> {
        let request = Request::new(&self.stream, &self.options)?;
        let peer = format!("table {}, {}", self.stream.name, request.shown());
        let health = Health::new(peer, waiting);
        let poll = Poll {
            interval: self
                .options
                .interval
                .map_or(Duration::from_mins(1), |interval| interval.0),
            pointer: self.pointer.clone(),
            collector: Collector::new(split, format::decoder(&self.stream)?, next_offset),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_mins(1)),
            request,
            health,
        };
        Ok(Feed::start(|sender| poll.run(sender)))
    }
}

/// What the task works with.
struct Poll {
    interval: Duration,
    pointer: Pointer,
    collector: Collector,
    backoff: Backoff,
    request: Request,
    health: Health,
}

/// Where the rows go.
type Sender = mpsc::Sender<Result<Polled>>;

impl Poll {
    /// Asks until nobody listens or an error is final.
    async fn run(mut self, sender: Sender) {
        loop {
            match self.round(&sender).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Nobody listens any more where this fails.
                    drop(sender.send(Err(error)).await);
                    return;
                }
            }
        }
    }

    /// Asks once, hands over the rows and waits; `false` where nobody listens any more.
    async fn round(&mut self, sender: &Sender) -> Result<bool> {
        let started = Instant::now();
        match self.request.send().await? {
            Answer::Later(reason, pause) => {
                self.health.down(&reason);
                let wait = self.backoff.wait();
                sleep(pause.unwrap_or(wait)).await;
                return Ok(true);
            }
            Answer::Unchanged => {}
            Answer::TooLarge(body) => {
                let limit = self.request.limit();
                let reason = format!("the answer is larger than 'body.limit', {limit} bytes");
                self.collector.reject(&body, reason);
            }
            Answer::Body(body) => {
                if !self.take(&body, sender).await? {
                    return Ok(false);
                }
            }
        }
        self.health.up();
        self.backoff.reset();
        if !self.hand_over(sender).await? {
            return Ok(false);
        }
        sleep_until(started + self.interval).await;
        Ok(true)
    }

    async fn take(&mut self, body: &[u8], sender: &Sender) -> Result<bool> {
        match self.pointer.find(body) {
            Found::Rows(rows) => {
                for row in rows {
                    self.collector.push(row);
                    if self.collector.is_full() && !self.hand_over(sender).await? {
                        return Ok(false);
                    }
                }
            }
            Found::Nothing => {
                let pointer = self.pointer.as_str();
                self.collector
                    .reject(body, format!("the answer has nothing at '{pointer}'"));
            }
            Found::Malformed(reason) => self.collector.reject(body, reason),
        }
        Ok(true)
    }

    async fn hand_over(&mut self, sender: &Sender) -> Result<bool> {
        match self.collector.take()? {
            Some(polled) => Ok(sender.send(Ok(polled)).await.is_ok()),
            None => Ok(true),
        }
    }
}
