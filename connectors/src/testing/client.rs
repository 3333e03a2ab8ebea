//! What tests do with topics, blocking and simple: create, produce, consume, commit, delete.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use engine::{Error, Result};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Broker;

const WITHIN: Duration = Duration::from_secs(30);

/// A message as it goes into a topic or came out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The partition; producing without one leaves the choice to the key.
    pub partition: Option<i32>,
    /// The offset; only set when consumed.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since the epoch; producing without one takes the time of the call.
    pub timestamp_millis: Option<i64>,
    /// The headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// A message with a key and a value.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// The same message, meant for one partition.
    #[must_use]
    pub fn to_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The key as text; empty where there is none.
    #[must_use]
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as text; empty where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload.as_deref().unwrap_or_default()).into_owned()
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            let pair = |header: Header<'_, &[u8]>| {
                (
                    header.key.to_owned(),
                    header.value.unwrap_or_default().to_vec(),
                )
            };
            headers.iter().map(pair).collect()
        });
        Self {
            partition: Some(message.partition()),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            timestamp_millis: message.timestamp().to_millis(),
            headers: headers.unwrap_or_default(),
        }
    }
}

/// Clients of one broker.
#[derive(Debug)]
pub(super) struct Client {
    bootstrap: String,
}

impl Client {
    pub(super) fn new(bootstrap: String) -> Self {
        Self { bootstrap }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("log_level", "0");
        config
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer<Quiet>> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false");
        config
            .set("fetch.queue.backoff.ms", "2")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest");
        config
            .create_with_context(Quiet)
            .map_err(|error| failed("create a consumer", error))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config()
            .create()
            .map_err(|error| failed("create a client", error))
    }

    /// Whether the broker is up.
    pub(super) fn answers(&self) -> bool {
        let consumer = self
            .config()
            .create_with_context::<_, BaseConsumer<Quiet>>(Quiet);
        consumer.is_ok_and(|consumer| {
            consumer
                .client()
                .fetch_metadata(None, Duration::from_secs(1))
                .is_ok_and(|metadata| !metadata.brokers().is_empty())
        })
    }
}

impl Broker {
    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(name, partitions, &[])
    }

    /// Creates a topic with settings of its own, `max.message.bytes` for example.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let admin = self.client.admin()?;
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answer = block_on(admin.create_topics([&topic], &options()))?;
        let answer = answer.map_err(|error| failed("create a topic", error))?;
        accepted(answer)?;
        // The broker answers before every part of it knows the topic.
        let consumer = self.client.consumer("millstream-testing")?;
        retry("see the new topic", || {
            let metadata = consumer
                .client()
                .fetch_metadata(Some(name), Duration::from_secs(5))?;
            let ready = metadata.topics().first().is_some_and(|topic| {
                let led = topic
                    .partitions()
                    .iter()
                    .filter(|partition| partition.leader() >= 0);
                topic.error().is_none() && led.count() == partitions as usize
            });
            Ok(ready.then_some(()))
        })
    }

    /// Adds partitions to a topic until it has so many.
    pub fn add_partitions(&self, name: &str, partitions: usize) -> Result<()> {
        let admin = self.client.admin()?;
        let more = NewPartitions::new(name, partitions);
        let answer = block_on(admin.create_partitions([&more], &options()))?;
        accepted(answer.map_err(|error| failed("add partitions", error))?)?;
        // A producer that asks too early keeps to the old ones.
        let consumer = self.client.consumer("millstream-testing")?;
        retry("see the new partitions", || {
            let metadata = consumer
                .client()
                .fetch_metadata(Some(name), Duration::from_secs(5))?;
            let topic = metadata.topics().first();
            let led = topic.map_or(0, |topic| {
                let led = topic.partitions().iter();
                led.filter(|partition| partition.leader() >= 0).count()
            });
            Ok((led == partitions).then_some(()))
        })
    }

    /// Changes a setting of a topic.
    pub fn alter_topic(&self, name: &str, (key, value): (&str, &str)) -> Result<()> {
        let admin = self.client.admin()?;
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let answer = block_on(admin.alter_configs([&change], &options()))?;
        let answers = answer.map_err(|error| failed("change a topic", error))?;
        accepted(
            answers
                .into_iter()
                .map(|one| {
                    one.map(|_| name.to_owned())
                        .map_err(|(_, code)| (name.to_owned(), code))
                })
                .collect(),
        )
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let admin = self.client.admin()?;
        let answer = block_on(admin.delete_topics(&[name], &options()))?;
        accepted(answer.map_err(|error| failed("delete a topic", error))?)
    }

    /// Makes a partition forget everything below an offset, as its retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) -> Result<()> {
        let admin = self.client.admin()?;
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(topic, partition, Offset::Offset(below))
            .map_err(|error| failed("name an offset", error))?;
        let answer = block_on(admin.delete_records(&offsets, &options()))?;
        answer.map_err(|error| failed("delete records", error))?;
        Ok(())
    }

    /// Stores offsets for a group, by partition.
    pub fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| failed("name an offset", error))?;
        }
        let consumer = self.client.consumer(group)?;
        retry("commit offsets", || {
            // The group's coordinator may still be starting.
            Ok(consumer.commit(&list, CommitMode::Sync).ok())
        })
    }

    /// The offsets that a group has committed, by partition.
    pub fn group_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Vec<Option<i64>>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let consumer = self.client.consumer(group)?;
        let found = consumer
            .committed_offsets(list, WITHIN)
            .map_err(|error| failed("ask for offsets", error))?;
        let offset = |partition| match found.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok((0..partitions).map(offset).collect())
    }

    /// Joins a group as its one member, until what it gives is dropped.
    pub fn join(&self, group: &str, topic: &str) -> Result<impl Sized + use<>> {
        let consumer = self.client.consumer(group)?;
        consumer
            .subscribe(&[topic])
            .map_err(|error| failed("join a group", error))?;
        retry("become a member", || {
            drop(consumer.poll(Duration::from_millis(50)));
            let groups = consumer.fetch_group_list(Some(group), Duration::from_secs(5))?;
            let members = groups
                .groups()
                .first()
                .map_or(0, |group| group.members().len());
            Ok((members > 0).then_some(()))
        })?;
        Ok(consumer)
    }

    /// Sends messages and returns once the broker has all of them.
    pub fn produce(&self, topic: &str, records: &[Record]) -> Result<()> {
        self.producer(&[])?.send(topic, records)
    }

    /// Sends messages in a transaction that is committed or aborted.
    pub fn transact(&self, topic: &str, records: &[Record], commit: bool) -> Result<()> {
        let id = format!("testing-{}", self.unique(topic));
        let producer = self.producer(&[("transactional.id", &id)])?;
        let client = &producer.0;
        let told = |error| failed("run a transaction", error);
        client.init_transactions(WITHIN).map_err(told)?;
        client.begin_transaction().map_err(told)?;
        producer.send(topic, records)?;
        match commit {
            true => client.commit_transaction(WITHIN).map_err(told),
            false => client.abort_transaction(WITHIN).map_err(told),
        }
    }

    fn producer(&self, settings: &[(&str, &str)]) -> Result<Sender> {
        let mut config = self.client.config();
        config.set("linger.ms", "1").set("compression.type", "lz4");
        config
            .set("message.max.bytes", "100000000")
            .set("partitioner", "murmur2_random");
        config.set("enable.idempotence", "true");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let producer = config.create_with_context(Delivery::default());
        producer
            .map(Sender)
            .map_err(|error| failed("create a producer", error))
    }

    /// Reads a topic from its beginning until there are `count` messages; ordered by partition
    /// and offset. Fewer within half a minute are an error that says how many there were.
    pub fn consume(&self, topic: &str, count: usize) -> Result<Vec<Record>> {
        let mut records = self.consume_for(topic, count, WITHIN)?;
        if records.len() < count {
            let found = records.len();
            return Err(Error::not_found(format!(
                "the topic '{topic}' has {found} messages after {WITHIN:?}, {count} were expected"
            )));
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Reads a topic from its beginning until there are `most` messages or the time is over.
    pub fn consume_for(&self, topic: &str, most: usize, time: Duration) -> Result<Vec<Record>> {
        let (consumer, _) = self.assigned(topic)?;
        let started = Instant::now();
        let mut records = Vec::with_capacity(most.min(1 << 20));
        while records.len() < most && started.elapsed() < time {
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => records.push(Record::read(&message)),
                Some(Err(error)) => tracing::debug!(%error, "while consuming"),
                None => {}
            }
        }
        Ok(records)
    }

    /// Everything in a topic that is committed, in the order of its partitions.
    pub fn committed(&self, topic: &str) -> Result<Vec<Record>> {
        let mut records = vec![];
        self.read_committed(topic, |record| records.push(record))?;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Hands over everything in a topic that is committed, one message after the other; those of a
    /// partition in order.
    pub fn read_committed(&self, topic: &str, mut take: impl FnMut(Record)) -> Result<()> {
        let (consumer, partitions) = self.assigned(topic)?;
        let (mut heard, mut ended) = (Instant::now(), 0);
        while ended < partitions {
            let polled = consumer.poll(Duration::from_millis(20));
            match polled {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    take(Record::read(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => tracing::debug!(%error, "while consuming"),
                None if heard.elapsed() > WITHIN => {
                    let text = format!("the end of the topic '{topic}' is out of reach");
                    return Err(Error::unavailable(text));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A consumer at the beginning of all partitions, and how many there are. It reads committed
    /// messages alone.
    fn assigned(&self, topic: &str) -> Result<(BaseConsumer<Quiet>, usize)> {
        let consumer = self.client.consumer("millstream-testing")?;
        let partitions = retry("find the topic", || {
            let metadata = consumer
                .client()
                .fetch_metadata(Some(topic), Duration::from_secs(5))?;
            let partitions = metadata
                .topics()
                .first()
                .map_or(0, |topic| topic.partitions().len());
            Ok((partitions > 0).then_some(partitions))
        })?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(|error| failed("name a partition", error))?;
        }
        consumer
            .assign(&list)
            .map_err(|error| failed("assign partitions", error))?;
        Ok((consumer, partitions))
    }
}

/// A producer of messages for tests.
struct Sender(BaseProducer<Delivery>);

impl Sender {
    fn send(&self, topic: &str, records: &[Record]) -> Result<()> {
        let Self(producer) = self;
        for record in records {
            let mut message = BaseRecord::<[u8], [u8]>::to(topic);
            message.partition = record.partition;
            message.key = record.key.as_deref();
            message.payload = record.payload.as_deref();
            message.timestamp = record.timestamp_millis;
            if !record.headers.is_empty() {
                let headers = OwnedHeaders::new_with_capacity(record.headers.len());
                message.headers = Some(record.headers.iter().fold(
                    headers,
                    |headers, (key, value)| {
                        headers.insert(Header {
                            key,
                            value: Some(value),
                        })
                    },
                ));
            }
            while let Err((error, rejected)) = producer.send(message) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(failed("send a message", error));
                }
                producer.poll(Duration::from_millis(5));
                message = rejected;
            }
        }
        producer
            .flush(WITHIN)
            .map_err(|error| failed("send all messages", error))?;
        match producer.context().failure.get() {
            None => Ok(()),
            Some(error) => Err(Error::unavailable(format!(
                "a message was not taken: {error}"
            ))),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(WITHIN))
        .request_timeout(Some(WITHIN))
}

fn failed(what: &str, error: KafkaError) -> Error {
    Error::unavailable(format!("cannot {what}")).caused_by(error)
}

fn accepted(answer: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    answer.into_iter().try_for_each(|one| {
        one.map(drop)
            .map_err(|(name, code)| Error::invalid(format!("topic '{name}': {code}")))
    })
}

fn retry<T>(what: &str, mut attempt: impl FnMut() -> KafkaResult<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let last = match attempt() {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if started.elapsed() > WITHIN {
            let error = Error::unavailable(format!("cannot {what} within {WITHIN:?}"));
            return Err(match last {
                Some(last) => error.caused_by(last),
                None => error,
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a future wherever the caller is: on a thread of its own, because a thread that
/// already drives an asynchronous runtime must not block in a second one.
fn block_on<F>(future: F) -> Result<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map(|runtime| runtime.block_on(future))
        });
        match thread.join() {
            Ok(done) => {
                done.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))
            }
            Err(_) => Err(Error::internal("a request to the broker panicked")),
        }
    })
}

/// Leaves the log to the tests.
#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// Remembers the first message that was not taken.
#[derive(Debug, Default)]
struct Delivery {
    failure: OnceLock<KafkaError>,
}

impl ClientContext for Delivery {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failure.get_or_init(|| error.clone());
        }
    }
}
