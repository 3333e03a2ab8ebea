//! The producer and the loop around it: encode a batch once, queue its messages, wait for all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use engine::{Error, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::Guarantee;
use super::client::{self, Context, failed};
use super::key::Keys;
use super::sink::Settings;
use crate::format::{self, Encoder, Messages};

/// Messages between two looks at what was acknowledged.
const POLL_EVERY: usize = 512;
/// How long one look waits for news.
const WAIT: Duration = Duration::from_millis(1);
/// Most characters of a key in an error.
const SHOWN_KEY: usize = 80;

/// A producer for one topic, with its buffers.
pub(super) struct Writer {
    settings: Arc<Settings>,
    producer: BaseProducer<Delivery>,
    encoder: Box<dyn Encoder>,
    messages: Messages,
    keys: Keys,
    sent: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// What the brokers said about the messages of a producer.
struct Delivery {
    context: Arc<Context>,
    /// Messages that are acknowledged or failed.
    settled: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

/// A message that was not taken.
#[derive(Debug)]
struct Failure {
    error: KafkaError,
    key: Option<String>,
    bytes: usize,
}

impl Writer {
    /// Connects and looks whether the topic is there.
    pub(super) fn open(settings: &Arc<Settings>) -> Result<Self> {
        let delivery = Delivery {
            context: Arc::clone(&settings.context),
            settled: AtomicU64::new(0),
            failure: Mutex::new(None),
        };
        let topic = &settings.topic;
        let producer: BaseProducer<Delivery> = settings
            .config
            .create_with_context(delivery)
            .map_err(|error| failed("open", topic, error))?;
        if let Err(error) = client::partitions(producer.client(), topic) {
            // The reason of an outage waits in the queue.
            producer.poll(Duration::from_millis(50));
            return Err(settings.context.explain(topic, error));
        }
        settings.context.up();
        let stream = &settings.stream;
        Ok(Self {
            producer,
            encoder: format::encoder(stream)?,
            messages: Messages::default(),
            keys: Keys::new(&stream.name, &stream.schema, &stream.key)?,
            sent: 0,
            settings: Arc::clone(settings),
        })
    }

    /// Sends the rows and returns once all are acknowledged, or at once with the guarantee
    /// `none`.
    pub(super) fn publish(&mut self, rows: &[RecordBatch], cancelled: &AtomicBool) -> Result<()> {
        for batch in rows {
            self.send(batch, cancelled)?;
        }
        match self.settings.guarantee {
            Guarantee::None => Ok(()),
            _ => self.wait(cancelled),
        }
    }

    /// Waits until everything that was sent is acknowledged.
    pub(super) fn wait(&mut self, cancelled: &AtomicBool) -> Result<()> {
        while self.producer.context().settled.load(Ordering::Relaxed) < self.sent {
            self.look(WAIT, cancelled)?;
        }
        self.look(Duration::ZERO, cancelled)
    }

    fn send(&mut self, batch: &RecordBatch, cancelled: &AtomicBool) -> Result<()> {
        let mut messages = std::mem::take(&mut self.messages);
        messages.clear();
        self.encoder.encode(batch, &mut messages)?;
        let mut key_buffers = std::mem::take(&mut self.keys);
        let keys = key_buffers.of(batch)?;
        for (row, payload) in messages.iter().enumerate() {
            if row % POLL_EVERY == 0 {
                self.look(Duration::ZERO, cancelled)?;
            }
            self.queue(keys.get(row), payload, cancelled)?;
        }
        self.keys = key_buffers;
        self.messages = messages;
        Ok(())
    }

    /// Puts a message into the client's queue, waiting while that is full.
    fn queue(&mut self, key: Option<&[u8]>, payload: &[u8], cancelled: &AtomicBool) -> Result<()> {
        let settings = Arc::clone(&self.settings);
        let mut record = BaseRecord::<[u8], [u8]>::to(&settings.topic).payload(payload);
        record.key = key;
        while let Err((error, refused)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                let failure = Failure {
                    error,
                    key: key.map(shown),
                    bytes: payload.len(),
                };
                return Err(self.told(failure));
            }
            self.look(WAIT, cancelled)?;
            record = refused;
        }
        self.sent += 1;
        Ok(())
    }

    /// Hears what the brokers said meanwhile.
    fn look(&self, wait: Duration, cancelled: &AtomicBool) -> Result<()> {
        self.producer.poll(wait);
        if cancelled.load(Ordering::Relaxed) {
            return Err(Error::unavailable(
                "the publication was given up by its caller",
            ));
        }
        let delivery = self.producer.context();
        let failure = delivery
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match failure {
            None => Ok(()),
            Some(failure) if self.settings.guarantee == Guarantee::None => {
                tracing::warn!(
                    error = self.told(failure).chain(),
                    "a message was not delivered"
                );
                Ok(())
            }
            Some(failure) => Err(self.told(failure)),
        }
    }

    /// The error of a message that was not taken.
    fn told(&self, failure: Failure) -> Error {
        let topic = &self.settings.topic;
        let which = match failure.key {
            Some(key) => format!("the message with key '{key}' ({} bytes)", failure.bytes),
            None => format!("a message without key ({} bytes)", failure.bytes),
        };
        failed(&format!("write {which} to"), topic, failure.error)
    }
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.note(&error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.context.up(),
            Err((error, message)) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                // A request fails as a whole: the largest of its messages is the likely reason.
                if failure
                    .as_ref()
                    .is_none_or(|known| known.bytes < message.payload_len())
                {
                    *failure = Some(Failure {
                        error: error.clone(),
                        key: message.key().map(shown),
                        bytes: message.payload_len(),
                    });
                }
            }
        }
        self.settled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A key as an error shows it.
fn shown(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    match text.char_indices().nth(SHOWN_KEY) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
