//! Kafka to the job that came from Flink to Kafka, next to a bare consumer and producer of
//! librdkafka, over a real broker on the same machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use connectors::testing::Broker;
use engine::Graph;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Runtime;

use crate::Size;
use crate::job;
use crate::measure::{Sample, Scope, contest, contestant, sample};
use crate::report::{Goal, Section};
use crate::topics::{self, MESSAGES, PARTITIONS};

/// How long a broker may stay silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of the job that the bare producer sends again and again.
const SPECIMENS: usize = 10_000;

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let count = size.rows(MESSAGES);
    let broker = Broker::launch_for_benchmarks()?;
    let input = topics::filled(&broker, count)?;
    let runtime = job::runtime()?;
    let bench = Bench {
        broker: &broker,
        input,
        count,
        runtime: &runtime,
    };
    let specimens = bench.specimens()?;
    let ours = contestant("wealtharena.sql", || bench.job(false));
    let bare = contestant("librdkafka alone", || bench.bare(&specimens));
    let recorded = contestant("wealtharena.sql, its input recorded", || bench.job(true));
    let series = contest(size.rounds(), vec![ours, bare, recorded])?;
    let mut section = Section::default();
    section.say(format!(
        "{count} messages in {PARTITIONS} partitions, a broker of its own on the same machine, with \
         the Java options of Kafka's own script, the topic that is written created for each round. \
         The job is `wealtharena.sql` with another address and a bounded topic, from start to end, \
         with its log on disk and a transaction every second, or after 131,072 rows. *librdkafka \
         alone* polls the same topic and sends, for each message, one that the job wrote, with the \
         same settings. *Recorded* is the job with `archive`: every message it read goes into the log \
         and from there into Parquet (zstd). CPU time is that of this process, without the broker's."
    ));
    section.compare("messages", &series);
    let [ours, bare, recorded] = series.as_slice() else {
        bail!("a contestant is missing");
    };
    let shares = [
        ("by the clock", ours.wall_ratio(bare)),
        ("per CPU-second", ours.ratio(bare)),
    ];
    for (how, ratio) in shares {
        let what = format!("of librdkafka's rate, {how}");
        section.goal(Goal::at_least(what, 100.0 / ratio, 60.0, " %"));
    }
    let costs = [
        (
            "longer with the recording, by the clock",
            recorded.wall_ratio(ours),
        ),
        ("more CPU time with the recording", recorded.ratio(ours)),
    ];
    for (what, ratio) in costs {
        section.goal(Goal::at_most(what, (ratio - 1.0) * 100.0, 15.0, " %"));
    }
    Ok(section)
}

struct Bench<'a> {
    broker: &'a Broker,
    input: String,
    count: usize,
    runtime: &'a Runtime,
}

impl Bench<'_> {
    /// The job, from its start to the acknowledgement of its last message.
    fn job(&self, recorded: bool) -> Result<Sample> {
        let output = topics::topic(self.broker, "processed-market-data")?;
        let data = tempfile::tempdir()?;
        let archive = data.path().join("recording");
        let graph = self.graph(&output, recorded.then_some(archive.as_path()))?;
        let taken = sample(Scope::Process, self.count, || {
            job::finish(self.runtime, &graph, data.path()).map(drop)
        })?;
        self.written(&output)?;
        Ok(taken)
    }

    fn graph(&self, output: &str, archive: Option<&Path>) -> Result<Arc<Graph>> {
        let servers = self.broker.bootstrap();
        let mut options = vec![
            format!("market_data_source.topic={}", self.input),
            format!("market_data_source.properties.bootstrap.servers={servers}"),
            "market_data_source.scan.startup.mode=earliest-offset".to_owned(),
            "market_data_source.scan.bounded.mode=latest-offset".to_owned(),
            format!("processed_market_data.topic={output}"),
            format!("processed_market_data.properties.bootstrap.servers={servers}"),
        ];
        let archive = archive.map(Path::display);
        options.extend(archive.map(|path| format!("market_data_source.archive={path}")));
        job::compile(job::WEALTHARENA, &options)
    }

    /// Messages as the job writes them.
    fn specimens(&self) -> Result<Vec<Vec<u8>>> {
        let output = topics::topic(self.broker, "processed-market-data")?;
        let data = tempfile::tempdir()?;
        job::finish(self.runtime, &self.graph(&output, None)?, data.path())?;
        let records = self.broker.consume(&output, SPECIMENS.min(self.count))?;
        self.broker.delete_topic(&output)?;
        Ok(records
            .into_iter()
            .filter_map(|record| record.payload)
            .collect())
    }

    /// Consumes everything and produces as much, nothing else.
    fn bare(&self, specimens: &[Vec<u8>]) -> Result<Sample> {
        let output = topics::topic(self.broker, "processed-market-data")?;
        let taken = sample(Scope::Process, self.count, || {
            self.forward(&output, specimens)
        })?;
        self.written(&output)?;
        Ok(taken)
    }

    fn forward(&self, output: &str, specimens: &[Vec<u8>]) -> Result<()> {
        let consumer: BaseConsumer = topics::client(
            self.broker,
            &[
                ("group.id", "bare"),
                ("enable.auto.commit", "false"),
                ("fetch.queue.backoff.ms", "2"),
                ("queued.min.messages", "10000"),
            ],
        )
        .create()?;
        consumer.assign(&topics::whole(&self.input)?)?;
        let producer: BaseProducer = topics::client(
            self.broker,
            &[
                ("compression.type", "lz4"),
                ("enable.idempotence", "true"),
                ("linger.ms", "1"),
                ("partitioner", "murmur2_random"),
                ("queue.buffering.max.messages", "30000"),
            ],
        )
        .create()?;
        let mut payloads = specimens.iter().cycle();
        let (mut read, mut heard) = (0, Instant::now());
        while read < self.count {
            let Some(message) = consumer.poll(Duration::from_millis(20)) else {
                ensure!(heard.elapsed() < PATIENCE, "only {read} messages came");
                continue;
            };
            std::hint::black_box(message?.payload());
            heard = Instant::now();
            read += 1;
            let payload = payloads.next().context("the job wrote no message")?;
            send(&producer, output, payload)?;
            if read % 1_000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }

    /// Counts the messages of a topic and deletes it.
    fn written(&self, topic: &str) -> Result<()> {
        let consumer: BaseConsumer = topics::client(self.broker, &[]).create()?;
        let mut written = 0;
        for partition in 0..PARTITIONS {
            let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
            written += (high - low) as usize;
        }
        self.broker.delete_topic(topic)?;
        // Ends of transactions take an offset each.
        ensure!(
            written >= self.count,
            "{written} of {} messages were written",
            self.count
        );
        Ok(())
    }
}

/// Hands a message to the client, waiting while its queue is full.
fn send(producer: &BaseProducer, topic: &str, payload: &[u8]) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            Err((error, _)) => bail!(error),
        }
    }
}
