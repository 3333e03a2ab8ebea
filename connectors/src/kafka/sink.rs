//! The sink without transactions: publishes committed epochs and waits for the brokers' word.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use engine::{Emit, Epoch, Error, Result, StreamSpec, Waiting};
use rdkafka::config::ClientConfig;

use super::client::{self, Context};
use super::lent::Lent;
use super::writer::{Producer, Rows};
use super::{Guarantee, Options};
use crate::options::invalid;

/// Everything that a writer must know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) stream: StreamSpec,
    pub(super) topic: String,
    pub(super) config: ClientConfig,
    pub(super) context: Arc<Context>,
    pub(super) guarantee: Guarantee,
}

/// A topic as an output.
#[derive(Debug)]
pub(super) struct Sink {
    settings: Arc<Settings>,
    writer: Lent<Writer>,
    /// Whether the topic was found to be there.
    opened: bool,
    published: Epoch,
}

/// A producer for one topic.
#[derive(Debug)]
struct Writer {
    producer: Producer,
    rows: Rows,
    /// Whether the brokers' word is waited for.
    waits: bool,
}

impl Writer {
    fn open(settings: &Settings) -> Result<Self> {
        let waits = settings.guarantee != Guarantee::None;
        let Settings {
            config, context, ..
        } = settings;
        Ok(Self {
            producer: Producer::open(config, context, &[&settings.topic], !waits)?,
            rows: Rows::new(&settings.stream, &settings.topic)?,
            waits,
        })
    }

    /// Sends the rows and returns once all are acknowledged, or at once with the guarantee
    /// `none`.
    fn publish(&mut self, rows: &[RecordBatch], cancelled: &AtomicBool) -> Result<()> {
        for batch in rows {
            self.rows.send(&mut self.producer, batch, cancelled)?;
        }
        match self.waits {
            true => self.producer.wait(cancelled),
            false => Ok(()),
        }
    }
}

impl Sink {
    pub(super) fn new(stream: &StreamSpec, options: Options) -> Result<Self> {
        if options.topic.contains(',') {
            return Err(invalid(
                stream,
                "topic",
                "names several topics, a sink writes one",
            ));
        }
        // Checked here, so that a wrong table is refused before anything is connected.
        Rows::new(stream, &options.topic)?;
        let servers = servers(&options);
        let settings = Settings {
            stream: stream.clone(),
            config: config(stream, &options, &[])?,
            context: Arc::new(Context::new(format!(
                "kafka {servers}, topic {}",
                options.topic
            ))),
            guarantee: options.guarantee,
            topic: options.topic,
        };
        Ok(Self {
            settings: Arc::new(settings),
            writer: Lent::new(),
            opened: false,
            published: Epoch(0),
        })
    }

    async fn with<F>(&mut self, work: F) -> Result<()>
    where
        F: FnOnce(&mut Writer, &AtomicBool) -> Result<()> + Send + 'static,
    {
        let settings = Arc::clone(&self.settings);
        let open = move || Writer::open(&settings);
        self.writer.with(open, work).await
    }
}

/// The brokers as errors may show them.
pub(super) fn servers(options: &Options) -> &str {
    let servers = options.properties.get("bootstrap.servers");
    servers.map_or("-", |text| text.shown())
}

/// The configuration of a producer, with other defaults where a caller knows better; an empty one is
/// librdkafka's own.
pub(super) fn config(
    stream: &StreamSpec,
    options: &Options,
    other: &[(&str, &str)],
) -> Result<ClientConfig> {
    let mut properties = options.properties.clone();
    // A table that is read and written has both clients' properties.
    for key in ["auto.offset.reset", "group.id"] {
        properties.remove(key);
    }
    let mut defaults = vec![
        ("client.id", "millstream"),
        ("compression.type", "lz4"),
        ("enable.idempotence", "true"),
        ("linger.ms", "1"),
        // The brokers know the limit of the topic; the client's own would only be in the way.
        ("message.max.bytes", "67108864"),
        // An outage is waited for: giving up after five minutes would mean duplicates.
        ("message.timeout.ms", "0"),
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.messages", "30000"),
        ("reconnect.backoff.max.ms", "2000"),
    ];
    defaults.retain(|(key, _)| other.iter().all(|(other, _)| key != other));
    defaults.extend(other.iter().filter(|(_, value)| !value.is_empty()));
    let ours = "it names the job's own transactions";
    client::config(
        stream,
        &properties,
        &defaults,
        &[("transactional.id", "", ours)],
    )
}

#[async_trait]
impl engine::Sink for Sink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        let rows = rows.to_vec();
        if rows.iter().any(|batch| batch.num_rows() > 0) {
            self.with(move |writer, cancelled| writer.publish(&rows, cancelled))
                .await?;
        }
        self.published = epoch;
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        if self.settings.guarantee == Guarantee::ExactlyOnce {
            return Err(Error::internal(
                "rows of a table with 'exactly-once' belong into the job's transaction",
            ));
        }
        if !self.opened {
            // A topic that cannot be written is known before any row.
            self.with(|_, _| Ok(())).await?;
            self.opened = true;
        }
        Ok(self.published)
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.writer.is_open() {
            return Ok(());
        }
        self.with(|writer, cancelled| writer.producer.wait(cancelled))
            .await
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.settings.context.waiting())
    }
}
