//! The source: asks for partitions, remembers what was handed over, and starts readers there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use engine::{Error, Lag, Polled, Position, Result, Skipped, Split, StreamSpec, Waiting};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::client::{self, Context, Shared};
use super::metadata::Metadata;
use super::reader::{Event, Reader};
use super::start::Reset;
use super::{Bounded, Options, Startup};
use crate::format;
use crate::options::invalid;

/// Everything that a reader must know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) stream: StreamSpec,
    pub(super) options: Options,
    pub(super) config: ClientConfig,
    pub(super) topics: Vec<String>,
    /// The group that the user named.
    pub(super) group: Option<String>,
    pub(super) reset: Reset,
    pub(super) context: Arc<Context>,
    /// Set where messages that are gone are gone past.
    skipped: OnceLock<Skipped>,
    /// Where a bounded input ends, fixed by the first reader to look.
    ends: Mutex<Position>,
}

/// A set of topics as a feed.
#[derive(Debug)]
pub(super) struct Source {
    settings: Arc<Settings>,
    /// Per split the offset after what was handed over, or where it starts.
    position: Position,
    reader: Option<Reader>,
    finished: bool,
}

/// The name of a partition, such that names sort as numbers do.
pub(super) fn split(topic: &str, partition: i32) -> Split {
    Split::new(&format!("{topic}-{partition:05}"))
}

impl Source {
    pub(super) fn new(stream: &StreamSpec, options: Options) -> Result<Self> {
        let topics: Vec<_> = options
            .topic
            .split(',')
            .map(|t| t.trim().to_owned())
            .collect();
        if topics.iter().any(String::is_empty) {
            return Err(invalid(stream, "topic", "has an empty name in it"));
        }
        if topics.iter().collect::<BTreeSet<_>>().len() < topics.len() {
            return Err(invalid(stream, "topic", "names a topic twice"));
        }
        if (options.startup == Startup::Timestamp) != options.startup_millis.is_some() {
            let key = "scan.startup.timestamp-millis";
            return Err(invalid(
                stream,
                key,
                "belongs to 'scan.startup.mode' = 'timestamp'",
            ));
        }
        // Checked here, so that a wrong table is refused before anything is connected.
        Metadata::new(stream)?;
        format::decoder(stream)?;
        let reset = options
            .properties
            .get("auto.offset.reset")
            .map_or("earliest", |text| text);
        let Some(reset) = Reset::parse(reset) else {
            let key = "properties.auto.offset.reset";
            return Err(invalid(
                stream,
                key,
                "must be 'earliest', 'latest' or 'none'",
            ));
        };
        let config = config(stream, &options)?;
        let servers = options
            .properties
            .get("bootstrap.servers")
            .map_or("-", |text| text.shown());
        let peer = format!("kafka {servers}, topic {}", options.topic);
        let group = options
            .properties
            .get("group.id")
            .map(|group| group.to_string());
        let settings = Settings {
            stream: stream.clone(),
            config,
            topics,
            group,
            reset,
            context: Arc::new(Context::new(peer)),
            skipped: OnceLock::new(),
            ends: Mutex::default(),
            options,
        };
        let (settings, position) = (Arc::new(settings), Position::new());
        Ok(Self {
            settings,
            position,
            reader: None,
            finished: false,
        })
    }
}

fn config(stream: &StreamSpec, options: &Options) -> Result<ClientConfig> {
    let offsets = "offsets come from the job's log, a consumer group must not move them";
    let bounded = options.bounded == Bounded::LatestOffset;
    let ours = "the connector sets it itself";
    let mut properties = options.properties.clone();
    properties.remove("auto.offset.reset");
    client::config(
        stream,
        &properties,
        &[
            // The client sleeps a second by default when its queue is full.
            ("fetch.queue.backoff.ms", "2"),
            ("queued.min.messages", "10000"),
            // Assigning partitions needs some group; nothing is ever committed to this one.
            ("group.id", "millstream"),
            ("client.id", "millstream"),
            // How often the client tells what it has not handed over.
            ("statistics.interval.ms", "2000"),
            ("reconnect.backoff.max.ms", "2000"),
        ],
        &[
            ("enable.auto.commit", "false", offsets),
            ("enable.auto.offset.store", "false", offsets),
            ("auto.offset.reset", "error", ours),
            (
                "enable.partition.eof",
                if bounded { "true" } else { "false" },
                ours,
            ),
            ("allow.auto.create.topics", "false", ours),
        ],
    )
}

impl Settings {
    /// A consumer that is not connected yet.
    pub(super) fn consumer(&self) -> Result<BaseConsumer<Shared>> {
        let context = Shared(Arc::clone(&self.context));
        self.config
            .create_with_context(context)
            .map_err(|error| client::failed("open", &self.options.topic, error))
    }

    /// Where the bounded input of a split ends: what the first caller says.
    pub(super) fn end(&self, split: &Split, now: i64) -> Option<i64> {
        if self.options.bounded == Bounded::Unbounded {
            return None;
        }
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*ends.entry(split.clone()).or_insert(now))
    }

    /// Where messages that are gone are to be counted and gone past.
    pub(super) fn skips(&self) -> Option<&Skipped> {
        self.skipped.get()
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let consumer = self.consumer()?;
        let mut splits = vec![];
        for topic in &self.topics {
            let partitions = client::partitions(consumer.client(), topic).map_err(|error| {
                client::hear(&consumer);
                self.context.explain(topic, error)
            })?;
            splits.extend(
                partitions
                    .into_iter()
                    .map(|partition| split(topic, partition)),
            );
        }
        self.context.up();
        splits.sort();
        Ok(splits)
    }
}

#[async_trait]
impl engine::Source for Source {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        let settings = Arc::clone(&self.settings);
        tokio::task::spawn_blocking(move || settings.splits())
            .await
            .map_err(|error| Error::internal("the search for partitions ended").caused_by(error))?
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        self.reader = None;
        self.finished = false;
        self.position.clone_from(to);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        if self.finished {
            return Ok(None);
        }
        if self.reader.is_none() {
            self.reader = Some(Reader::start(&self.settings, &self.position)?);
        }
        while let Some(reader) = &mut self.reader {
            match reader.next().await {
                Some(Event::Polled(polled)) => {
                    self.position
                        .insert(polled.split.clone(), polled.next_offset);
                    return Ok(Some(polled));
                }
                Some(Event::Failed(error)) => {
                    // The next call starts anew behind what was handed over.
                    self.reader = None;
                    return Err(error);
                }
                Some(Event::Finished) => {}
                None => {
                    self.reader = None;
                    self.finished = true;
                }
            }
        }
        Ok(None)
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn skip_gaps(&mut self) {
        self.settings.skipped.get_or_init(Skipped::default);
    }

    fn skipped(&self) -> Option<Skipped> {
        self.settings.skips().cloned()
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.settings.context.waiting())
    }

    fn lag(&self) -> Option<Lag> {
        Some(self.settings.context.lag())
    }
}
