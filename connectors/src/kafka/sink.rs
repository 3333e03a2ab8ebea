//! The sink: publishes committed epochs from a blocking thread and waits for the brokers' word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use engine::{Emit, Epoch, Error, Result, StreamSpec, Waiting};
use rdkafka::config::ClientConfig;

use super::client::{self, Context};
use super::key::Keys;
use super::writer::Writer;
use super::{Guarantee, Options};
use crate::format;
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
    /// Taken while it works; a call that was dropped or failed leaves none behind, and the next
    /// one opens a new producer.
    writer: Option<Writer>,
    /// Whether the topic was found to be there.
    opened: bool,
    published: Epoch,
}

/// Tells the blocking thread that its caller is gone.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sink {
    pub(super) fn new(stream: &StreamSpec, options: Options) -> Result<Self> {
        if options.guarantee == Guarantee::ExactlyOnce {
            let key = "sink.delivery-guarantee";
            return Err(invalid(
                stream,
                key,
                "is 'exactly-once', which is not available yet; write 'at-least-once'",
            ));
        }
        if options.topic.contains(',') {
            return Err(invalid(
                stream,
                "topic",
                "names several topics, a sink writes one",
            ));
        }
        // Checked here, so that a wrong table is refused before anything is connected.
        format::encoder(stream)?;
        Keys::new(&stream.name, &stream.schema, &stream.key)?;
        let servers = options
            .properties
            .get("bootstrap.servers")
            .map_or("-", |text| text.shown());
        let settings = Settings {
            stream: stream.clone(),
            config: config(stream, &options)?,
            context: Arc::new(Context::new(format!(
                "kafka {servers}, topic {}",
                options.topic
            ))),
            guarantee: options.guarantee,
            topic: options.topic,
        };
        Ok(Self {
            settings: Arc::new(settings),
            writer: None,
            opened: false,
            published: Epoch(0),
        })
    }

    /// Lets the writer work on a thread that may block.
    async fn with<F>(&mut self, work: F) -> Result<()>
    where
        F: FnOnce(&mut Writer, &AtomicBool) -> Result<()> + Send + 'static,
    {
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancel = Cancel(Arc::clone(&cancelled));
        let (settings, writer) = (Arc::clone(&self.settings), self.writer.take());
        let worked = tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => Writer::open(&settings)?,
            };
            // A writer that failed is dropped here, where it may block for a moment.
            work(&mut writer, &cancelled).map(|()| writer)
        });
        let ended = worked.await;
        drop(cancel);
        let ended =
            ended.map_err(|error| Error::internal("the kafka writer ended").caused_by(error))?;
        self.writer = Some(ended?);
        Ok(())
    }
}

fn config(stream: &StreamSpec, options: &Options) -> Result<ClientConfig> {
    let mut properties = options.properties.clone();
    // A table that is read and written has both clients' properties.
    for key in ["auto.offset.reset", "group.id"] {
        properties.remove(key);
    }
    client::config(
        stream,
        &properties,
        &[
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
        ],
        &[(
            "transactional.id",
            "",
            "'exactly-once' is not available yet",
        )],
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
        if !self.opened {
            // A topic that cannot be written is known before any row.
            self.with(|_, _| Ok(())).await?;
            self.opened = true;
        }
        Ok(self.published)
    }

    async fn flush(&mut self) -> Result<()> {
        if self.writer.is_none() {
            return Ok(());
        }
        self.with(Writer::wait).await
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.settings.context.waiting())
    }
}
