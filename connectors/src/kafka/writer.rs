//! The producer and what feeds it: encode a batch once, queue its messages, wait for all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use engine::{Error, Result, StreamSpec};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::client::{self, Context, failed};
use super::key::Keys;
use crate::format::{self, Encoder, Messages};

/// Messages between two looks at what was acknowledged.
const POLL_EVERY: usize = 512;
/// How long nobody looks again where there was no news.
const WAIT: Duration = Duration::from_micros(200);
/// Most characters of a key in an error.
const SHOWN_KEY: usize = 80;

/// A client that sends messages, and hears what became of them.
pub(super) struct Producer {
    pub(super) client: BaseProducer<Delivery>,
    /// Whether a message that is not taken is only told.
    lenient: bool,
    sent: u64,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// The rows of one table as messages of its topic, with its buffers.
pub(super) struct Rows {
    topic: String,
    encoder: Box<dyn Encoder>,
    messages: Messages,
    keys: Keys,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// What the brokers said about the messages of a producer.
pub(super) struct Delivery {
    context: Arc<Context>,
    /// Messages that are acknowledged or failed.
    settled: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

/// A message that was not taken.
#[derive(Debug)]
struct Failure {
    error: KafkaError,
    topic: String,
    key: Option<String>,
    bytes: usize,
}

impl Producer {
    /// Connects and looks whether the topics are there.
    pub(super) fn open(
        config: &ClientConfig,
        context: &Arc<Context>,
        topics: &[&str],
        lenient: bool,
    ) -> Result<Self> {
        let delivery = Delivery {
            context: Arc::clone(context),
            settled: AtomicU64::new(0),
            failure: Mutex::new(None),
        };
        let all = topics.join(", ");
        let client: BaseProducer<Delivery> = config
            .create_with_context(delivery)
            .map_err(|error| failed("open", &all, error))?;
        for topic in topics {
            if let Err(error) = client::partitions(client.client(), topic) {
                // The reason of an outage waits in the queue.
                client.poll(Duration::from_millis(50));
                return Err(context.explain(topic, error));
            }
        }
        context.up();
        Ok(Self {
            client,
            lenient,
            sent: 0,
        })
    }

    /// Waits until everything that was sent is acknowledged.
    pub(super) fn wait(&mut self, cancelled: &AtomicBool) -> Result<()> {
        while self.settled() < self.sent {
            self.look_or_wait(cancelled)?;
        }
        self.look(cancelled)
    }

    /// Messages that are acknowledged or failed.
    fn settled(&self) -> u64 {
        self.client.context().settled.load(Ordering::Relaxed)
    }

    /// Puts a message into the client's queue, waiting while that is full.
    fn queue(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        cancelled: &AtomicBool,
    ) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(payload);
        record.key = key;
        while let Err((error, refused)) = self.client.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(told(Failure {
                    error,
                    topic: topic.to_owned(),
                    key: key.map(shown),
                    bytes: payload.len(),
                }));
            }
            self.look_or_wait(cancelled)?;
            record = refused;
        }
        self.sent += 1;
        Ok(())
    }

    /// Hears what the brokers said meanwhile; where they said nothing, gives them some time. (A
    /// client that is asked to wait turns in a circle for the last millisecond of it, on a core that
    /// others need.)
    fn look_or_wait(&self, cancelled: &AtomicBool) -> Result<()> {
        let before = self.settled();
        self.look(cancelled)?;
        if self.settled() == before {
            thread::sleep(WAIT);
        }
        Ok(())
    }

    /// Hears what the brokers said meanwhile.
    fn look(&self, cancelled: &AtomicBool) -> Result<()> {
        self.client.poll(Duration::ZERO);
        if cancelled.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the call was given up by its caller"));
        }
        let failure = self.client.context().take_failure();
        match failure {
            None => Ok(()),
            Some(failure) if self.lenient => {
                let error = told(failure).chain();
                tracing::warn!(error, "a message was not delivered");
                Ok(())
            }
            Some(failure) => Err(told(failure)),
        }
    }

    /// Forgets what was sent: it was given up.
    pub(super) fn forget(&mut self) {
        self.client.poll(Duration::ZERO);
        drop(self.client.context().take_failure());
        self.sent = self.settled();
    }
}

impl Rows {
    /// Of that table; does no I/O.
    pub(super) fn new(stream: &StreamSpec, topic: &str) -> Result<Self> {
        Ok(Self {
            topic: topic.to_owned(),
            encoder: format::encoder(stream)?,
            messages: Messages::default(),
            keys: Keys::new(&stream.name, &stream.schema, &stream.key)?,
        })
    }

    /// Puts a batch into the queue of a producer.
    pub(super) fn send(
        &mut self,
        producer: &mut Producer,
        batch: &RecordBatch,
        cancelled: &AtomicBool,
    ) -> Result<()> {
        self.messages.clear();
        self.encoder.encode(batch, &mut self.messages)?;
        let keys = self.keys.of(batch)?;
        for (row, payload) in self.messages.iter().enumerate() {
            if row % POLL_EVERY == 0 {
                producer.look(cancelled)?;
            }
            producer.queue(&self.topic, keys.get(row), payload, cancelled)?;
        }
        Ok(())
    }
}

/// The error of a message that was not taken.
fn told(failure: Failure) -> Error {
    let which = match failure.key {
        Some(key) => format!("the message with key '{key}' ({} bytes)", failure.bytes),
        None => format!("a message without key ({} bytes)", failure.bytes),
    };
    failed(&format!("write {which} to"), &failure.topic, failure.error)
}

impl Delivery {
    fn take_failure(&self) -> Option<Failure> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
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
                        topic: message.topic().to_owned(),
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
