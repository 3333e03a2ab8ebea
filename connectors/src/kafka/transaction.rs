//! A job's commit as one Kafka transaction: the rows of its tables, the offsets of what it has read,
//! and the number of the epoch.
//!
//! The epoch is an offset, too: that of partition 0 of the first topic that is written, in a group of
//! the job's own. Its metadata says which start of the job committed it. So a producer that the
//! brokers fenced can tell why: its own transaction took too long (it then goes on with a new
//! producer), or another process has taken over the job (it then ends).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use engine::crash::{self, Point};
use engine::source::{END, Position};
use engine::{CommitPoint, Epoch, Error, Result, Split, StreamSpec, Transaction, Waiting};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, Context, REQUEST_TIMEOUT, Shared, failed};
use super::lent::Lent;
use super::sink::{config, servers};
use super::writer::{Producer, Rows};
use super::{Guarantee, NAME, Options};
use crate::options::Properties;
use crate::options::{self, invalid};
use crate::{Carried, Owner};

/// How long one call may take that is made again until it is answered; events are heard between.
const CALL: Duration = Duration::from_millis(200);

/// What commits a job that writes these tables and reads those, if Kafka does: where some of the
/// tables are written exactly once. Checks their options and does no I/O; they must go to one
/// cluster, by one producer.
pub(crate) fn commit_point<'a>(
    targets: impl Iterator<Item = &'a StreamSpec>,
    inputs: impl Iterator<Item = &'a StreamSpec>,
    owner: &Owner,
) -> Result<Option<Carried>> {
    let mut carried: Vec<(usize, &StreamSpec, Options)> = vec![];
    for (number, stream) in targets.enumerate() {
        if stream.connector != NAME {
            continue;
        }
        let options: Options = options::parse_transport(stream)?;
        if options.guarantee == Guarantee::ExactlyOnce {
            carried.push((number, stream, options));
        }
    }
    let Some((_, stream, options)) = carried.first() else {
        return Ok(None);
    };
    for (_, other, properties) in &carried[1..] {
        one_producer(stream, &options.properties, other, &properties.properties)?;
    }
    let name = format!("millstream.{}", owner.job);
    let groups = inputs.map(|input| group_of(input, options, &name));
    let other = [
        // Retries answer that the transaction before is still ending.
        ("retry.backoff.ms", "1"),
        // No message may take longer than its transaction.
        ("message.timeout.ms", ""),
    ];
    let mut config = config(stream, options, &other)?;
    config.set("transactional.id", format!("{name}.{}", owner.shard));
    let peer = format!("kafka {}, the transactions of the job", servers(options));
    let settings = Settings {
        groups: groups.collect::<Result<_>>()?,
        config,
        context: Arc::new(Context::new(peer)),
        group: name,
        start: format!("{:016x}", RandomState::new().hash_one(SystemTime::now())),
        tables: carried
            .iter()
            .map(|(number, stream, options)| Table {
                target: *number,
                stream: (*stream).clone(),
                topic: options.topic.clone(),
            })
            .collect(),
    };
    let targets = carried.iter().map(|(number, ..)| *number).collect();
    let point = KafkaTransactions {
        settings: Arc::new(settings),
        client: Lent::new(),
        sent: None,
    };
    Ok(Some((targets, Box::new(point))))
}

/// Refuses two tables that cannot share a producer.
fn one_producer(
    first: &StreamSpec,
    properties: &Properties,
    other: &StreamSpec,
    others: &Properties,
) -> Result<()> {
    let keys = properties.keys().chain(others.keys());
    let mut keys = keys.filter(|key| !["group.id", "auto.offset.reset"].contains(&key.as_str()));
    match keys.find(|key| properties.get(*key) != others.get(*key)) {
        None => Ok(()),
        Some(key) => Err(invalid(
            other,
            &format!("properties.{key}"),
            &format!(
                "differs from that of table '{}', but one transaction, and so one producer, \
                 writes both; make them equal, or write one of them with \
                 'sink.delivery-guarantee' = 'at-least-once'",
                first.name
            ),
        )),
    }
}

/// The group in which the offsets of a table that is read are committed; `None` where it is not of
/// the cluster that is written.
fn group_of(input: &StreamSpec, written: &Options, own: &str) -> Result<Option<String>> {
    if input.connector != NAME {
        return Ok(None);
    }
    let options: Options = options::parse_transport(input)?;
    let brokers = |options: &Options| {
        let servers = options.properties.get("bootstrap.servers");
        let servers = servers.map_or("", |servers| servers).split(',');
        let mut servers: Vec<_> = servers.map(|server| server.trim().to_owned()).collect();
        servers.sort();
        servers
    };
    if brokers(&options) != brokers(written) {
        return Ok(None);
    }
    let group = options.properties.get("group.id");
    Ok(Some(
        group.map_or(own.to_owned(), |group| group.to_string()),
    ))
}

/// A table that is written.
#[derive(Debug)]
struct Table {
    target: usize,
    stream: StreamSpec,
    topic: String,
}

/// Everything that a client must know.
#[derive(Debug)]
struct Settings {
    tables: Vec<Table>,
    /// By table that is read: the group of its offsets.
    groups: Vec<Option<String>>,
    config: ClientConfig,
    context: Arc<Context>,
    /// The group of the epoch.
    group: String,
    /// Which start of the job this is.
    start: String,
}

/// The commit point.
#[derive(Debug)]
struct KafkaTransactions {
    settings: Arc<Settings>,
    client: Lent<Client>,
    /// None where no transaction is open: also after a call that failed or was dropped.
    sent: Option<Sent>,
}

/// What is in the open transaction.
#[derive(Debug, Clone, Copy)]
struct Sent {
    epoch: Epoch,
    batches: usize,
    offsets: bool,
}

/// What a transaction still lacks, ready to go to another thread.
struct Work {
    epoch: Epoch,
    /// Whether it is open already.
    begun: bool,
    rows: Vec<(usize, RecordBatch)>,
    /// By group: topic, partition and offset. Once they are sent, everything is.
    offsets: Option<Offsets>,
}

type Offsets = BTreeMap<String, Vec<(String, i32, i64)>>;

impl KafkaTransactions {
    async fn with<R, F>(&mut self, work: F) -> Result<R>
    where
        R: Send + 'static,
        F: FnOnce(&mut Client, &AtomicBool) -> Result<R> + Send + 'static,
    {
        let settings = Arc::clone(&self.settings);
        let open = move || Client::new(&settings);
        // A client that failed knows what became of its transaction: it is kept.
        let work = move |client: &mut Client, cancelled: &AtomicBool| Ok(work(client, cancelled));
        self.client.with(open, work).await?
    }

    /// What is not sent of it. Until the call that sends it has succeeded, nothing counts as sent.
    fn rest(&mut self, transaction: Transaction<'_>) -> Work {
        let sent = self.sent.take();
        let sent = sent.filter(|sent| sent.epoch == transaction.epoch);
        let batches = sent.map_or(0, |sent| sent.batches);
        let positions = transaction.positions;
        Work {
            epoch: transaction.epoch,
            begun: sent.is_some(),
            rows: transaction.rows[batches..].to_vec(),
            offsets: positions
                .filter(|_| !sent.is_some_and(|sent| sent.offsets))
                .map(|positions| self.offsets(positions)),
        }
    }

    fn offsets(&self, positions: &[Position]) -> Offsets {
        let mut offsets = Offsets::new();
        for (group, position) in self.settings.groups.iter().zip(positions) {
            let Some(group) = group else { continue };
            let places = position.iter();
            let places = places.filter_map(|(split, next)| place(split, *next));
            offsets.entry(group.clone()).or_default().extend(places);
        }
        offsets
    }
}

#[async_trait]
impl CommitPoint for KafkaTransactions {
    async fn last(&mut self) -> Result<Option<Epoch>> {
        self.with(Client::last).await
    }

    async fn prepare(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let work = self.rest(transaction);
        let prepare = move |client: &mut Client, cancelled: &_| client.prepare(work, cancelled);
        let open = self.with(prepare).await?;
        self.sent = open.then_some(Sent {
            epoch: transaction.epoch,
            batches: transaction.rows.len(),
            offsets: transaction.positions.is_some(),
        });
        Ok(())
    }

    async fn commit(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let work = self.rest(transaction);
        let commit = move |client: &mut Client, cancelled: &_| client.commit(work, cancelled);
        self.with(commit).await
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.settings.context.waiting())
    }
}

/// Topic, partition and offset of a split, as the source names it.
fn place(split: &Split, next: i64) -> Option<(String, i32, i64)> {
    let (topic, partition) = split.0.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    (next != END).then(|| (topic.to_owned(), partition, next))
}

/// The epoch in its group, and who committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    epoch: Epoch,
    start: String,
}

/// The clients of a commit point.
#[derive(Debug)]
struct Client {
    settings: Arc<Settings>,
    /// None before the first call, and after an error that it does not survive.
    producer: Option<Producer>,
    /// By number of the target.
    rows: BTreeMap<usize, Rows>,
    /// By group: who reads and names it. No consumer is ever a member.
    groups: BTreeMap<String, Member>,
    /// What was committed last before this start.
    before: Option<Mark>,
    /// The last epoch that is known to be committed, of those that did not say so.
    committed: Option<Epoch>,
}

struct Member(BaseConsumer<Shared>);

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl Client {
    /// Clients that are not connected yet.
    fn new(settings: &Arc<Settings>) -> Result<Self> {
        let rows = settings.tables.iter().map(|table| {
            let rows = Rows::new(&table.stream, &table.topic)?;
            Ok((table.target, rows))
        });
        let mut groups = BTreeMap::new();
        for group in std::iter::once(&settings.group).chain(settings.groups.iter().flatten()) {
            if groups.contains_key(group) {
                continue;
            }
            let mut config = settings.config.clone();
            config.remove("transactional.id");
            config
                .set("group.id", group)
                .set("enable.auto.commit", "false");
            let consumer = config
                .create_with_context(Shared(Arc::clone(&settings.context)))
                .map_err(|error| failed("open a group for", group, error))?;
            groups.insert(group.clone(), Member(consumer));
        }
        Ok(Self {
            rows: rows.collect::<Result<_>>()?,
            groups,
            producer: None,
            before: None,
            committed: None,
            settings: Arc::clone(settings),
        })
    }

    /// Fences the predecessor; what it left open is aborted, or its commit completed.
    fn last(&mut self, cancelled: &AtomicBool) -> Result<Option<Epoch>> {
        self.open(cancelled)?;
        self.refuse_members()?;
        self.before = self.mark()?;
        Ok(self.before.as_ref().map(|mark| mark.epoch))
    }

    /// A producer whose transactions are the only ones of the job.
    fn open(&mut self, cancelled: &AtomicBool) -> Result<()> {
        self.producer = None;
        let settings = Arc::clone(&self.settings);
        let topics: Vec<_> = settings.tables.iter().map(|t| t.topic.as_str()).collect();
        let producer = Producer::open(&settings.config, &settings.context, &topics, false)?;
        patient(&producer, cancelled, || {
            producer.client.init_transactions(CALL)
        })
        .map_err(|error| {
            let error = failed("begin transactions for", topics[0], error);
            settings.context.explain(topics[0], error)
        })?;
        self.producer = Some(producer);
        Ok(())
    }

    /// Refuses groups of others: they would move the offsets that the job commits there.
    fn refuse_members(&self) -> Result<()> {
        // The producer is connected; a consumer that is not yet takes a second to answer this.
        let producer = self.producer.as_ref();
        let producer = producer.ok_or_else(|| Error::internal("there is no producer"))?;
        let client = producer.client.client();
        for group in self.groups.keys() {
            let described = client.fetch_group_list(Some(group), REQUEST_TIMEOUT);
            let described =
                described.map_err(|error| failed("ask for the group of", self.topic(), error))?;
            let groups = described.groups().iter();
            let members: usize = groups.map(|group| group.members().len()).sum();
            if members > 0 {
                return Err(Error::invalid(format!(
                    "the group '{group}' is in use: it has {members} members, and the job would \
                     commit its offsets there too; stop them, or choose another \
                     'properties.group.id'"
                )));
            }
        }
        Ok(())
    }

    /// What was committed last.
    fn mark(&self) -> Result<Option<Mark>> {
        let asked = TopicPartitionList::new;
        let mut list = asked();
        list.add_partition(self.topic(), 0);
        let Some(Member(consumer)) = self.groups.get(&self.settings.group) else {
            return Err(Error::internal("the group of the epoch is gone"));
        };
        let found = consumer
            .committed_offsets(list, REQUEST_TIMEOUT)
            .map_err(|error| {
                client::hear(consumer);
                let error = failed("read the epoch that is committed with", self.topic(), error);
                self.settings.context.explain(self.topic(), error)
            })?;
        let found = found.find_partition(self.topic(), 0);
        Ok(found.and_then(|place| match place.offset() {
            Offset::Offset(epoch) => Some(Mark {
                epoch: Epoch(epoch as u64),
                start: place.metadata().to_owned(),
            }),
            _ => None,
        }))
    }

    /// Sends what a transaction lacks, but for the word that commits it; `false` where the epoch is
    /// committed already.
    fn prepare(&mut self, work: Work, cancelled: &AtomicBool) -> Result<bool> {
        if self.is_committed(work.epoch, cancelled)? {
            return Ok(false);
        }
        self.attempt(|client, producer| client.send(producer, work, cancelled))?;
        Ok(true)
    }

    /// Commits an epoch. It is called again after an `Unavailable` error: then it may be committed
    /// already, though nobody said so.
    fn commit(&mut self, work: Work, cancelled: &AtomicBool) -> Result<()> {
        if !self.prepare(work, cancelled)? {
            return Ok(());
        }
        self.attempt(|client, producer| {
            let topic = client.topic();
            let commit = || producer.client.commit_transaction(CALL);
            patient(producer, cancelled, commit)
                .map_err(|error| failed("commit a transaction for", topic, error))?;
            client.settings.context.up();
            Ok(())
        })
    }

    /// Whether an epoch is committed though the producer before did not live to say so; there is a
    /// new one then.
    fn is_committed(&mut self, epoch: Epoch, cancelled: &AtomicBool) -> Result<bool> {
        if self.producer.is_some() {
            return Ok(self.committed >= Some(epoch));
        }
        self.own_mark()?;
        self.open(cancelled)?;
        // Only now can nobody else commit any more.
        let mark = self.own_mark();
        if mark.is_err() {
            // To be asked again: a producer that is there counts as an epoch that is not committed.
            self.producer = None;
        }
        self.committed = mark?.map(|mark| mark.epoch);
        Ok(self.committed >= Some(epoch))
    }

    /// Works on the transaction; where that fails it is given up, and so is a producer that does
    /// not survive that.
    fn attempt(&mut self, work: impl FnOnce(&mut Self, &mut Producer) -> Result<()>) -> Result<()> {
        let Some(mut producer) = self.producer.take() else {
            return Err(Error::internal("there is no producer"));
        };
        let outcome = work(self, &mut producer);
        if outcome.is_ok() || self.abort(&mut producer) {
            self.producer = Some(producer);
        }
        outcome
    }

    /// What was committed last: by this start, or before it. Who else has committed since has taken
    /// over, or is the predecessor that came back.
    fn own_mark(&self) -> Result<Option<Mark>> {
        let mark = self.mark()?;
        let is_own = |mark: &&Mark| mark.start == self.settings.start;
        match mark.as_ref().filter(|mark| !is_own(mark)) {
            Some(other) if mark != self.before => Err(Error::corrupt(format!(
                "another process has taken over this job and has committed epoch {}; this one \
                 ends and has changed nothing since",
                other.epoch
            ))),
            _ => Ok(mark),
        }
    }

    /// Puts what it lacks into a transaction; with the offsets of the input it is whole, and the
    /// brokers have it.
    fn send(&mut self, producer: &mut Producer, work: Work, cancelled: &AtomicBool) -> Result<()> {
        let epoch = work.epoch;
        let whole = work.offsets.is_some();
        let mut offsets = work.offsets.unwrap_or_default();
        if !work.begun {
            let own = offsets.remove(&self.settings.group).unwrap_or_default();
            self.begin(producer, &own, epoch, cancelled)?;
        }
        for (target, batch) in &work.rows {
            let rows = self.rows.get_mut(target);
            let rows = rows.ok_or_else(|| Error::internal("a target is not of the transaction"))?;
            rows.send(producer, batch, cancelled)?;
        }
        // While the messages are under way.
        for (group, places) in offsets.iter().filter(|(_, places)| !places.is_empty()) {
            self.send_offsets(producer, group, places, epoch, cancelled)?;
        }
        if whole {
            producer.wait(cancelled)?;
            crash::reach(Point::TransactionFlushed);
        }
        Ok(())
    }

    /// Begins a transaction, with the epoch and other offsets of the job's own group. Where the
    /// brokers are still ending the transaction before, this call is made again after 1 ms; a
    /// message that came first would be only after 20 ms.
    fn begin(
        &self,
        producer: &Producer,
        own: &[(String, i32, i64)],
        epoch: Epoch,
        cancelled: &AtomicBool,
    ) -> Result<()> {
        let begun = producer.client.begin_transaction();
        begun.map_err(|error| failed("begin a transaction for", self.topic(), error))?;
        crash::reach(Point::TransactionBegun);
        self.send_offsets(producer, &self.settings.group, own, epoch, cancelled)?;
        crash::reach(Point::TransactionOffsets);
        Ok(())
    }

    /// Puts the offsets of a group into the transaction.
    fn send_offsets(
        &self,
        producer: &Producer,
        group: &str,
        places: &[(String, i32, i64)],
        epoch: Epoch,
        cancelled: &AtomicBool,
    ) -> Result<()> {
        let refused = |what: &str, error| failed(what, self.topic(), error);
        let member = self.groups.get(group);
        let metadata = member.and_then(|Member(consumer)| consumer.group_metadata());
        let metadata = metadata.ok_or_else(|| Error::internal("a group has no name"))?;
        let list = self.list(group, places, epoch);
        let list = list.map_err(|error| refused("list the offsets of", error))?;
        patient(producer, cancelled, || {
            let client = &producer.client;
            client.send_offsets_to_transaction(&list, &metadata, CALL)
        })
        .map_err(|error| refused("commit offsets with", error))
    }

    /// The offsets of a group; that of the epoch with them where it is the job's own.
    fn list(
        &self,
        group: &str,
        places: &[(String, i32, i64)],
        epoch: Epoch,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(places.len() + 1);
        for (topic, partition, next) in places {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        if group == self.settings.group {
            let mut mark = list.add_partition(self.topic(), 0);
            mark.set_offset(Offset::Offset(epoch.0 as i64))?;
            mark.set_metadata(&self.settings.start);
        }
        Ok(list)
    }

    /// Gives a transaction up; `false` where the producer does not survive that.
    fn abort(&self, producer: &mut Producer) -> bool {
        let never = AtomicBool::new(false);
        let aborted = patient(producer, &never, || producer.client.abort_transaction(CALL));
        producer.forget();
        if let Err(error) = &aborted {
            tracing::debug!(%error, topic = self.topic(), "a transaction could not be given up");
        }
        aborted.is_ok()
    }

    /// The topic whose partition 0 has the epoch.
    fn topic(&self) -> &str {
        self.settings
            .tables
            .first()
            .map_or("", |table| &table.topic)
    }
}

/// Makes a call until it is answered for good, hearing of messages between. What can be retried is
/// retried for as long as the caller waits, and for as long as a transaction may take.
fn patient(
    producer: &Producer,
    cancelled: &AtomicBool,
    call: impl Fn() -> KafkaResult<()>,
) -> KafkaResult<()> {
    loop {
        let error = match call() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let again = match &error {
            KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
            KafkaError::Flush(code) => *code == Code::OperationTimedOut,
            _ => false,
        };
        if !again || cancelled.load(Ordering::Relaxed) {
            return Err(error);
        }
        // All that was heard: a transaction is not given up before.
        producer.client.poll(Duration::from_millis(1));
    }
}
