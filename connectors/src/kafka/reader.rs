//! A thread per topic that polls, decodes and hands over. When the dataflow is slower it gathers
//! up to [`MOST_ROWS`] per partition; when it is faster every message goes on at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use engine::{Error, ErrorKind, Polled, Position, Result};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::Bounded;
use super::client::{self, Shared};
use super::partition::Partition;
use super::source::{Settings, split};
use super::start::{self, Start};

/// Most rows of a partition that are handed over at once.
const MOST_ROWS: usize = 8_192;
/// Most rows that wait in the thread, over all partitions.
const MOST_GATHERED: usize = 2 * MOST_ROWS;
/// Most bytes of messages that wait in the thread.
const MOST_BYTES: usize = 16 << 20;
/// Batches that may wait for the dataflow.
const QUEUE: usize = 8;
/// How often an idle thread looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);
/// How often a topic is asked for new partitions where the options do not say.
const DISCOVERY: Duration = Duration::from_secs(10);
/// How often an outage is looked into.
const PROBE: Duration = Duration::from_secs(1);

/// What a thread tells.
#[derive(Debug)]
pub(super) enum Event {
    /// Rows.
    Polled(Polled),
    /// It has ended with an error.
    Failed(Error),
    /// The bounded input of its topic is finished.
    Finished,
}

/// The threads of all topics of a source. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    events: mpsc::Receiver<Event>,
}

impl Reader {
    /// Starts the threads; `position` holds the offsets that are known.
    pub(super) fn start(settings: &Arc<Settings>, position: &Position) -> Result<Self> {
        let (sender, events) = mpsc::channel(QUEUE);
        for topic in &settings.topics {
            let (settings, topic) = (Arc::clone(settings), topic.clone());
            let (position, sender) = (position.clone(), sender.clone());
            let thread = std::thread::Builder::new().name(format!("kafka {topic}"));
            let spawned = thread.spawn(move || {
                let ended = Topic::open(&settings, &topic, &position, &sender)
                    .and_then(|opened| opened.map_or(Ok(false), Topic::run));
                let event = match ended {
                    Ok(true) => Event::Finished,
                    Ok(false) => return,
                    Err(error) => Event::Failed(settings.context.explain(&topic, error)),
                };
                // Nobody listens any more where this fails.
                drop(sender.blocking_send(event));
            });
            spawned
                .map_err(|error| Error::unavailable("cannot start a thread").caused_by(error))?;
        }
        Ok(Self { events })
    }

    /// The next event; `None` once all threads have ended. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

/// One topic being read.
struct Topic<'a> {
    settings: &'a Settings,
    name: &'a str,
    schema: SchemaRef,
    consumer: BaseConsumer<Shared>,
    sender: &'a mpsc::Sender<Event>,
    /// By partition number; `None` where the topic has no such partition.
    partitions: Vec<Option<Partition>>,
    rows: usize,
    bytes: usize,
    probed: Instant,
    /// When partitions were looked for last.
    discovered: Instant,
}

impl<'a> Topic<'a> {
    /// Finds where to start and assigns the partitions; `None` where nobody listens any more.
    fn open(
        settings: &'a Settings,
        name: &'a str,
        position: &Position,
        sender: &'a mpsc::Sender<Event>,
    ) -> Result<Option<Self>> {
        let consumer = settings.consumer()?;
        let starts =
            find(settings, name, position, &consumer).inspect_err(|_| client::hear(&consumer))?;
        let mut topic = Self {
            settings,
            name,
            schema: settings.stream.source_schema(),
            consumer,
            sender,
            partitions: vec![],
            rows: 0,
            bytes: 0,
            probed: Instant::now(),
            discovered: Instant::now(),
        };
        let listening = topic.add(starts)?;
        settings.context.up();
        Ok(listening.then_some(topic))
    }

    /// Reads these partitions, too; `false` where nobody listens any more.
    fn add(&mut self, starts: Vec<Start>) -> Result<bool> {
        let mut fresh = vec![];
        for start in starts {
            let partition = Partition::open(self.settings, start)?;
            let number = partition.start.partition as usize;
            let count = self.partitions.len().max(number + 1);
            self.partitions.resize_with(count, || None);
            fresh.extend(partition.start.fresh.then_some(number));
            self.partitions[number] = Some(partition);
        }
        self.assign()?;
        // A start that the log does not know is told before any row, so that a restart goes on
        // there even if no message has come by then.
        for number in fresh {
            if !self.hand_over(number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks now and then whether the topic has got more partitions; `false` where nobody listens
    /// any more.
    fn discover(&mut self) -> Result<bool> {
        let interval = self.settings.options.discovery;
        let interval = interval.map_or(DISCOVERY, |interval| interval.0);
        let bounded = self.settings.options.bounded != Bounded::Unbounded;
        let wanted = !bounded && !interval.is_zero() && self.discovered.elapsed() >= interval;
        if !wanted || self.settings.context.is_down() {
            return Ok(true);
        }
        self.discovered = Instant::now();
        let numbers = match client::partitions(self.consumer.client(), self.name) {
            Ok(numbers) => numbers,
            Err(error) if error.kind() == ErrorKind::Unavailable => return Ok(true),
            Err(error) => return Err(error),
        };
        let known = |number: &i32| matches!(self.partitions.get(*number as usize), Some(Some(_)));
        let added: Vec<i32> = numbers
            .into_iter()
            .filter(|number| !known(number))
            .collect();
        if added.is_empty() {
            return Ok(true);
        }
        tracing::info!(topic = self.name, ?added, "the topic has more partitions");
        let position = self.position();
        let starts = start::resolve(&self.consumer, self.settings, self.name, &added, &position)?;
        self.add(starts)
    }

    /// Where each partition is read on.
    fn position(&self) -> Position {
        let partitions = self.partitions.iter().flatten();
        partitions
            .map(|p| (p.start.split.clone(), p.next_offset))
            .collect()
    }

    fn assign(&self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for partition in self
            .partitions
            .iter()
            .flatten()
            .filter(|partition| !partition.done)
        {
            let offset = Offset::Offset(partition.next_offset);
            list.add_partition_offset(self.name, partition.start.partition, offset)
                .map_err(|error| client::failed("assign", self.name, error))?;
        }
        self.consumer
            .assign(&list)
            .map_err(|error| client::failed("assign", self.name, error))
    }

    /// Reads until nobody listens (`false`) or the bounded input has ended (`true`).
    fn run(mut self) -> Result<bool> {
        loop {
            if self
                .partitions
                .iter()
                .flatten()
                .all(|partition| partition.done)
            {
                return self.hand_over_all();
            }
            if self.sender.is_closed() {
                return Ok(false);
            }
            let wanted = self.sender.capacity() > 0;
            let wait = match (self.rows, wanted) {
                (0, _) => IDLE,
                (_, true) => Duration::ZERO,
                (_, false) => Duration::from_millis(1),
            };
            let full = self.drain(wait)?;
            if (full || (self.rows > 0 && self.sender.capacity() > 0)) && !self.hand_over_all()? {
                return Ok(false);
            }
            self.probe();
            if !self.discover()? {
                return Ok(false);
            }
        }
    }

    /// Gathers until the client has no more messages (`false`) or there is enough (`true`).
    fn drain(&mut self, first_wait: Duration) -> Result<bool> {
        let mut wait = first_wait;
        loop {
            let Self {
                consumer,
                partitions,
                settings,
                rows,
                bytes,
                ..
            } = self;
            let polled = consumer.poll(wait);
            wait = Duration::ZERO;
            let error = match polled {
                None => return Ok(false),
                Some(Ok(message)) => {
                    let number = message.partition() as usize;
                    if let Some(Some(partition)) = partitions.get_mut(number) {
                        *rows += partition.gather(&message);
                        *bytes += message.payload_len();
                    }
                    settings.context.up();
                    if *rows >= MOST_GATHERED || *bytes >= MOST_BYTES {
                        return Ok(true);
                    }
                    if partitions
                        .get(number)
                        .and_then(Option::as_ref)
                        .is_some_and(|partition| partition.gathered() >= MOST_ROWS)
                    {
                        return Ok(true);
                    }
                    continue;
                }
                Some(Err(error)) => error,
            };
            self.judge(error)?;
        }
    }

    /// Decides what an error of the client means; most of them it mends itself.
    fn judge(&mut self, error: KafkaError) -> Result<()> {
        match error {
            KafkaError::PartitionEOF(number) => {
                let partition = self.partitions.get_mut(number as usize);
                if let Some(Some(partition)) = partition {
                    // Ends that no message has: markers of transactions, compacted messages.
                    partition.done = true;
                    if let Some(end) = partition.end {
                        partition.next_offset = partition.next_offset.max(end);
                    }
                }
                Ok(())
            }
            KafkaError::MessageConsumptionFatal(_) => {
                Err(Error::unavailable("the kafka client has failed").caused_by(error))
            }
            error => match error.rdkafka_error_code() {
                Some(
                    Code::AutoOffsetReset
                    | Code::OffsetOutOfRange
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition,
                ) => self.reassign(&error),
                Some(
                    Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::Authentication
                    | Code::SaslAuthenticationFailed,
                ) => Err(client::failed("read", self.name, error)),
                // Down is told by the context, which sees the same error with its text.
                Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => Ok(()),
                _ => {
                    tracing::warn!(topic = self.name, %error, "while reading");
                    Ok(())
                }
            },
        }
    }

    /// The broker no longer has what is asked for: says what is missing, or asks again where it
    /// was wrong for a moment, as just after a start.
    fn reassign(&mut self, error: &KafkaError) -> Result<()> {
        tracing::warn!(topic = self.name, %error, "the broker misses what is read");
        find(self.settings, self.name, &self.position(), &self.consumer)?;
        self.assign()
    }

    /// While the peer is down, no message says that it is back.
    fn probe(&mut self) {
        if self.settings.context.is_down() && self.probed.elapsed() >= PROBE {
            self.probed = Instant::now();
            if self
                .consumer
                .client()
                .fetch_metadata(Some(self.name), PROBE)
                .is_ok()
            {
                self.settings.context.up();
            }
        }
    }

    fn hand_over_all(&mut self) -> Result<bool> {
        for number in 0..self.partitions.len() {
            let gathered = self.partitions[number]
                .as_ref()
                .map_or(0, Partition::gathered);
            if gathered > 0 && !self.hand_over(number)? {
                return Ok(false);
            }
        }
        self.rows = 0;
        self.bytes = 0;
        Ok(true)
    }

    /// Hands over what was gathered of a partition; `false` where nobody listens any more.
    fn hand_over(&mut self, number: usize) -> Result<bool> {
        let Some(Some(partition)) = self.partitions.get_mut(number) else {
            return Ok(true);
        };
        let polled = partition.take(&self.schema)?;
        Ok(self.sender.blocking_send(Event::Polled(polled)).is_ok())
    }
}

fn find(
    settings: &Settings,
    topic: &str,
    position: &Position,
    consumer: &BaseConsumer<Shared>,
) -> Result<Vec<Start>> {
    let partitions = client::partitions(consumer.client(), topic)?;
    let exists = |name: &str| {
        partitions
            .iter()
            .any(|number| &*split(topic, *number).0 == name)
    };
    let mut ours = position.keys().filter(|split| start::is_of(split, topic));
    if let Some(gone) = ours.find(|split| !exists(&split.0)) {
        return Err(Error::corrupt(format!(
            "the job has read '{gone}', but the kafka topic '{topic}' has only {} partitions: it \
             was deleted and created again; start the job from 'empty' (--from empty)",
            partitions.len()
        )));
    }
    start::resolve(consumer, settings, topic, &partitions, position)
}
