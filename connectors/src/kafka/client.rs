//! What consumer and producer share: configuration, health, and what an error means.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::{Error, ErrorKind, Lag, Result, StreamSpec, Waiting};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataPartition;
use rdkafka::statistics::{Partition, Statistics};

use crate::options::{Properties, invalid};
use crate::retry::Health;

/// How long a request may take before it counts as failed.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a topic may be unknown: right after it was created or the broker was started, not
/// every broker knows it yet.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);

/// The configuration of a client: `defaults`, then the user's properties, then `fixed` (key, value,
/// why it is not the user's to set; an empty value sets nothing). Names and values are checked
/// here, nothing is connected.
pub(super) fn config(
    stream: &StreamSpec,
    properties: &Properties,
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str, &str)],
) -> Result<ClientConfig> {
    if !["bootstrap.servers", "metadata.broker.list"]
        .iter()
        .any(|key| properties.contains_key(*key))
    {
        let missing = "is missing: name the brokers, 'localhost:9092' for example";
        return Err(invalid(stream, "properties.bootstrap.servers", missing));
    }
    let mut config = ClientConfig::new();
    for (key, value) in defaults {
        config.set(*key, *value);
    }
    for (key, value) in properties {
        if let Some((_, _, why)) = fixed.iter().find(|(name, ..)| name == key) {
            let key = format!("properties.{key}");
            return Err(invalid(
                stream,
                &key,
                &format!("cannot be set: {why}; remove it"),
            ));
        }
        config.set(key, &**value);
    }
    for (key, value, _) in fixed.iter().filter(|(_, value, _)| !value.is_empty()) {
        config.set(*key, *value);
    }
    config
        .create_native_config()
        .map(drop)
        .map_err(|error| match error {
            // The value may be a secret, so it is not part of the message.
            KafkaError::ClientConfig(_, reason, key, _) => invalid(
                stream,
                &format!("properties.{key}"),
                &format!("is not valid: {reason}"),
            ),
            error => {
                Error::invalid("the properties of a kafka client are not valid").caused_by(error)
            }
        })?;
    Ok(config)
}

/// What a source or a sink knows about the brokers: it outlives the clients, which are replaced
/// after errors.
#[derive(Debug)]
pub(super) struct Context {
    health: Health,
    /// Whether there is a connection to lose. Without one, errors go to the runtime, which tells
    /// of them itself.
    connected: AtomicBool,
    outage: Mutex<Option<String>>,
    /// The last refusal that no repetition mends.
    refusal: Mutex<Option<(Code, String)>>,
    /// What was not handed over yet, by topic, and of all of them.
    waits: Mutex<BTreeMap<String, u64>>,
    lag: Lag,
}

impl Context {
    pub(super) fn new(peer: String) -> Self {
        let (outage, refusal) = (Mutex::new(None), Mutex::new(None));
        Self {
            health: Health::new(peer, Waiting::default()),
            connected: AtomicBool::new(false),
            outage,
            refusal,
            waits: Mutex::default(),
            lag: Lag::default(),
        }
    }

    /// Where it is told how many messages were not handed over yet.
    pub(super) fn lag(&self) -> Lag {
        self.lag.clone()
    }

    /// Takes note of what a consumer counts.
    fn count(&self, statistics: &Statistics) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.extend(statistics.topics.iter().filter_map(|(name, topic)| {
            let known: Vec<u64> = topic.partitions.values().filter_map(waiting).collect();
            (!known.is_empty()).then(|| (name.clone(), known.iter().sum()))
        }));
        if !waits.is_empty() {
            self.lag.set(waits.values().sum());
        }
    }

    /// A broker has answered.
    pub(super) fn up(&self) {
        self.health.up();
        if !self.connected.load(Ordering::Relaxed) {
            self.connected.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the brokers are known not to answer.
    pub(super) fn is_down(&self) -> bool {
        self.health.is_down()
    }

    /// Where an outage is told that the client mends by itself.
    pub(super) fn waiting(&self) -> Waiting {
        self.health.waiting()
    }

    /// An error as the brokers' state explains it: a refusal is final, the rest is an outage.
    pub(super) fn explain(&self, topic: &str, error: Error) -> Error {
        if error.kind() != ErrorKind::Unavailable {
            return error;
        }
        if let Some(refusal) = self.refused(topic) {
            return refusal;
        }
        self.connected.store(false, Ordering::Relaxed);
        let outage = self
            .outage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match outage {
            Some(reason) => Error::unavailable(error.to_string()).caused_by(reason),
            None => error,
        }
    }

    /// The refusal that the brokers last gave, as an error.
    fn refused(&self, topic: &str) -> Option<Error> {
        let refusal = self
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        refusal.map(|(code, reason)| {
            failed("connect for", topic, KafkaError::Global(code)).caused_by(reason)
        })
    }

    /// Takes note of an error that a client reports by itself.
    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(Code::BrokerTransportFailure | Code::Resolve) => {
                let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
                *outage = Some(reason.to_owned());
            }
            Some(Code::AllBrokersDown) => {
                // The error before this one says why; this one says how many.
                let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
                if self.connected.load(Ordering::Relaxed) {
                    self.health.down(outage.as_deref().unwrap_or(reason));
                } else if outage.is_none() {
                    *outage = Some(reason.to_owned());
                }
            }
            Some(code @ (Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL)) => {
                let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
                *refusal = Some((code, reason.to_owned()));
            }
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }
}

/// How many messages of a partition the application has not taken; `None` where it does not read
/// it, or the broker has not said where it ends.
fn waiting(partition: &Partition) -> Option<u64> {
    let known = |offset: i64| u64::try_from(offset).ok();
    // Of a partition with transactions, messages up to the last stable one can be read.
    let end = known(partition.ls_offset).or(known(partition.hi_offset))?;
    let next = known(partition.app_offset).or(known(partition.next_offset))?;
    (partition.partition >= 0 && partition.desired).then(|| end.saturating_sub(next))
}

/// The context of a consumer.
#[derive(Debug, Clone)]
pub(super) struct Shared(pub(super) Arc<Context>);

impl ClientContext for Shared {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.count(&statistics);
    }
}

impl ConsumerContext for Shared {}

/// Lets a consumer tell why a request failed: the reason waits in its queue.
pub(super) fn hear(consumer: &BaseConsumer<Shared>) {
    for _ in 0..20 {
        if consumer.poll(Duration::from_millis(20)).is_none() {
            return;
        }
    }
}

/// The client's own log is for debugging: what matters in it comes as an error, too.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(?level, facility, message, "librdkafka");
}

/// The error of doing something with a topic: the kind says whether to try again, the text what
/// to do about it.
pub(super) fn failed(what: &str, topic: &str, error: KafkaError) -> Error {
    let start = format!("cannot {what} the kafka topic '{topic}'");
    let error_of: fn(String) -> Error;
    let remedy = match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            error_of = Error::not_found;
            ": it does not exist; create it or correct the option 'topic'"
        }
        Some(Code::InvalidTopic) => {
            error_of = Error::invalid;
            ": it is not a possible name of a topic; correct the option 'topic'"
        }
        Some(Code::TopicAuthorizationFailed) => {
            error_of = Error::invalid;
            ": the brokers do not allow it; grant this user READ or WRITE and DESCRIBE on the topic"
        }
        Some(Code::GroupAuthorizationFailed) => {
            error_of = Error::invalid;
            ": the brokers do not allow the group; grant this user READ on 'properties.group.id'"
        }
        Some(Code::ClusterAuthorizationFailed) => {
            error_of = Error::invalid;
            ": the brokers do not allow it; grant this user IDEMPOTENT_WRITE on the cluster"
        }
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => {
            error_of = Error::invalid;
            ": the brokers refuse this client; check 'properties.security.protocol', \
             'properties.sasl.*' and 'properties.ssl.*'"
        }
        Some(Code::MessageSizeTooLarge) => {
            // Raising the limit mends it: the job waits for that.
            error_of = Error::unavailable;
            ": a message, or a batch of them, is too large; raise the topic's 'max.message.bytes', \
             or lower 'properties.batch.size'"
        }
        Some(Code::TransactionalIdAuthorizationFailed) => {
            error_of = Error::invalid;
            ": the brokers do not allow its transactions; grant this user WRITE and DESCRIBE on the \
             transactional id, or write with 'sink.delivery-guarantee' = 'at-least-once'"
        }
        Some(Code::InvalidTransactionTimeout) => {
            error_of = Error::invalid;
            ": the brokers allow no such 'properties.transaction.timeout.ms'; lower it to their \
             'transaction.max.timeout.ms'"
        }
        _ if matches!(
            error,
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)
        ) =>
        {
            error_of = Error::invalid;
            ": its 'properties.*' do not fit together"
        }
        _ => {
            error_of = Error::unavailable;
            ""
        }
    };
    error_of(format!("{start}{remedy}")).caused_by(error)
}

/// The partitions of a topic, in order.
pub(super) fn partitions<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Vec<i32>> {
    let mut waited = Duration::ZERO;
    loop {
        let metadata = client
            .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
            .map_err(|error| failed("reach the brokers of", topic, error))?;
        let described = metadata
            .topics()
            .iter()
            .find(|described| described.name() == topic);
        let error = match described {
            Some(described) if described.error().is_none() => {
                let mut ids: Vec<_> = described
                    .partitions()
                    .iter()
                    .map(MetadataPartition::id)
                    .collect();
                ids.sort_unstable();
                if !ids.is_empty() {
                    return Ok(ids);
                }
                Code::UnknownTopicOrPartition
            }
            Some(described) => described.error().map_or(Code::Unknown, Code::from),
            None => Code::UnknownTopicOrPartition,
        };
        let passing = [Code::UnknownTopicOrPartition, Code::LeaderNotAvailable].contains(&error);
        if !passing || waited >= UNKNOWN_FOR {
            return Err(failed("find", topic, KafkaError::MetadataFetch(error)));
        }
        let pause = Duration::from_millis(200);
        std::thread::sleep(pause);
        waited += pause;
    }
}
