//! Exactly once, and what it costs: the job that came from Flink, Kafka to Kafka, in transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use connectors::testing::Broker;
use engine::{Graph, Taps};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::runtime::Runtime;

use crate::measure::{Sample, Scope, Series, contest, contestant, sample};
use crate::messages::quotes;
use crate::report::{Goal, Section, number};
use crate::topics::{self, MESSAGES, PARTITIONS};
use crate::{Size, job};

/// Events a second of the feed whose latency is measured.
const RATE: usize = 20_000;
/// The intervals between commits whose latency is measured, in milliseconds: those that ask most of
/// the broker come last.
const INTERVALS: [u64; 4] = [250, 100, 20, 10];
/// Those of runs that come before and are not measured: Java compiles what it runs often, and a
/// broker that this load is new to takes half a core more.
const WARM_UP: [u64; 2] = [20, 20];
/// How long rows may be under way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let broker = Broker::launch_for_benchmarks()?;
    let runtime = job::runtime()?;
    let bench = Bench {
        broker: &broker,
        runtime: &runtime,
    };
    let mut section = Section::default();
    bench.latency(&mut section, size)?;
    bench.cost(&mut section, size)?;
    Ok(section)
}

struct Bench<'a> {
    broker: &'a Broker,
    runtime: &'a Runtime,
}

impl Bench<'_> {
    fn latency(&self, section: &mut Section, size: Size) -> Result<()> {
        section.say(format!(
            "{RATE} events/s of 1,000 symbols into {PARTITIONS} partitions, through \
             `wealtharena.sql`, exactly once, to a consumer that reads committed messages alone; the \
             broker (with the Java options of Kafka's own script), the job and both clients on one machine. \
             The feed has the defaults of Kafka's own producer: idempotent, `linger.ms` 5. From \
             just before it is given a message until the consumer has the row that came of it. Two \
             runs of 20 ms came before."
        ));
        for interval in WARM_UP {
            self.delays(Duration::from_millis(interval), size)?;
        }
        let mut lines = vec![];
        for interval in INTERVALS {
            let mut delays = self.delays(Duration::from_millis(interval), size)?;
            delays.sort_unstable();
            let at =
                |share: f64| delays[(delays.len() - 1).min((delays.len() as f64 * share) as usize)];
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| at(share) as f64 / 1e3);
            let mut line = vec![format!("{interval} ms"), delays.len().to_string()];
            line.extend([p50, p99, p999].map(number));
            lines.push(line);
            if interval == 20 {
                section.goal(Goal::at_most(
                    "p50 with a commit every 20 ms",
                    p50,
                    30.0,
                    " ms",
                ));
                section.goal(Goal::at_most(
                    "p99 with a commit every 20 ms",
                    p99,
                    60.0,
                    " ms",
                ));
            }
        }
        let heads = ["commit every", "rows", "p50 ms", "p99 ms", "p99.9 ms"];
        section.table(&heads, &lines);
        Ok(())
    }

    /// How long each row was under way, in microseconds, of the last three quarters of a run.
    fn delays(&self, interval: Duration, size: Size) -> Result<Vec<u64>> {
        let (input, output) = (
            topics::topic(self.broker, "market-data")?,
            topics::topic(self.broker, "processed")?,
        );
        let graph = self.graph(&input, &output, &[])?;
        let data = tempfile::tempdir()?;
        let events = (RATE as f64 * size.seconds(12.0)) as usize;
        let (started, failed) = (Instant::now(), AtomicBool::new(false));
        let job = self.runtime.block_on(async {
            anyhow::Ok(job::start_with(&graph, data.path(), interval, Taps::default())?.0)
        })?;
        let delays = thread::scope(|scope| {
            let reading = scope.spawn(|| self.read(&output, events, started, &failed));
            let fed = self.feed(&input, events, started);
            failed.store(fed.is_err(), Ordering::Relaxed);
            fed?;
            reading
                .join()
                .map_err(|_| anyhow::anyhow!("the reader broke down"))?
        });
        let mut job = job;
        self.runtime.block_on(async {
            job.stop();
            job.wait().await
        })?;
        Ok(delays?.split_off(events / 4))
    }

    /// Sends messages whose field `timestamp` says when, in microseconds since the start.
    fn feed(&self, topic: &str, events: usize, started: Instant) -> Result<()> {
        // Idempotence bounds the requests under way. Without, those that a broker was too busy for
        // stay in the socket, small as they are, and what is measured is how they wait there.
        let settings = [("linger.ms", "5"), ("enable.idempotence", "true")];
        let producer: BaseProducer = topics::client(self.broker, &settings).create()?;
        let messages = quotes(1_000, 10_000);
        let begun = Instant::now();
        for event in 0..events {
            let due = Duration::from_secs_f64(event as f64 / RATE as f64);
            while begun.elapsed() < due {
                producer.poll(Duration::ZERO);
                thread::sleep(Duration::from_micros(200));
            }
            let message = &messages[event % messages.len()];
            let at = message.find("\"2024-").context("a message has no time")?;
            let now = started.elapsed().as_micros();
            let text = format!("{}\"{now}{}", &message[..at], &message[at + 27..]);
            let key = &message[12..17];
            let record = BaseRecord::to(topic).key(key).payload(&text);
            if let Err((error, _)) = producer.send(record) {
                bail!("the feed cannot send: {error}");
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }

    /// Reads committed rows; how long each was under way, in the order in which they came.
    fn read(
        &self,
        topic: &str,
        events: usize,
        started: Instant,
        failed: &AtomicBool,
    ) -> Result<Vec<u64>> {
        let settings = [
            ("group.id", "reader"),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("fetch.wait.max.ms", "10"),
            ("fetch.queue.backoff.ms", "2"),
        ];
        let consumer: BaseConsumer = topics::client(self.broker, &settings).create()?;
        consumer.assign(&topics::whole(topic)?)?;
        let (mut delays, mut heard) = (Vec::with_capacity(events), Instant::now());
        while delays.len() < events && !failed.load(Ordering::Relaxed) {
            let Some(message) = consumer.poll(Duration::from_millis(5)) else {
                ensure!(
                    heard.elapsed() < PATIENCE,
                    "only {} rows came",
                    delays.len()
                );
                continue;
            };
            let message = message?;
            let text = std::str::from_utf8(message.payload().unwrap_or_default())?;
            let sent = text
                .split_once("\"timestamp\":\"")
                .context("a row has no time")?;
            let sent: u64 = sent.1.split('"').next().unwrap_or_default().parse()?;
            heard = Instant::now();
            delays.push((heard.duration_since(started).as_micros() as u64).saturating_sub(sent));
        }
        Ok(delays)
    }

    fn cost(&self, section: &mut Section, size: Size) -> Result<()> {
        let count = size.rows(MESSAGES);
        let input = topics::filled(self.broker, count)?;
        let once = |interval| self.job(&input, count, Some(interval));
        let contestants = vec![
            contestant("at least once", || self.job(&input, count, None)),
            contestant("a transaction every second", || once(1_000)),
            contestant("every 250 ms", || once(250)),
            contestant("every 100 ms", || once(100)),
            contestant("every 50 ms", || once(50)),
        ];
        let series = contest(size.rounds(), contestants)?;
        section.say(format!(
            "{count} messages through `wealtharena.sql`, start to end, at least once (rows are \
             published out of the log) and exactly once (rows, offsets and epoch in one transaction, \
             which also ends after 131,072 rows). CPU time is that of this process, without the \
             broker's."
        ));
        section.compare("messages", &series);
        let [without, second, quarter, _, twentieth] = series.as_slice() else {
            bail!("a contestant is missing");
        };
        let limits = [
            (second, "every second", 3.0),
            (quarter, "every 250 ms", 6.0),
            (twentieth, "every 50 ms", 20.0),
        ];
        for (series, how, limit) in limits {
            let longer = (Series::wall_ratio(series, without) - 1.0) * 100.0;
            let what = format!("longer than at least once, a transaction {how}");
            section.goal(Goal::at_most(what, longer, limit, " %"));
        }
        let bytes = self.log_bytes(&input)? as f64 / 1e6 / (count as f64 / 1e6);
        section.say(format!(
            "The records of the log, exactly once, take {} MB per million rows.",
            number(bytes)
        ));
        Ok(())
    }

    /// The job from its start to its last commit; with an interval, exactly once.
    fn job(&self, input: &str, count: usize, interval: Option<u64>) -> Result<Sample> {
        let output = topics::topic(self.broker, "processed")?;
        let guarantee = match interval {
            Some(_) => "exactly-once",
            None => "at-least-once",
        };
        let option = format!("processed_market_data.sink.delivery-guarantee={guarantee}");
        let graph = self.graph(input, &output, &[bounded(), option])?;
        let data = tempfile::tempdir()?;
        let interval = Duration::from_millis(interval.unwrap_or(1_000));
        let taken = sample(Scope::Process, count, || {
            let status = job::finish_with(self.runtime, &graph, data.path(), interval)?;
            ensure!(status.targets[0].rows == count as u64, "rows are missing");
            Ok(())
        })?;
        self.broker.delete_topic(&output)?;
        Ok(taken)
    }

    /// What the records of a run take.
    fn log_bytes(&self, input: &str) -> Result<u64> {
        let output = topics::topic(self.broker, "processed")?;
        let graph = self.graph(input, &output, &[bounded()])?;
        let data = tempfile::tempdir()?;
        let status = job::finish(self.runtime, &graph, data.path())?;
        Ok(status.commits.bytes)
    }

    fn graph(&self, input: &str, output: &str, more: &[String]) -> Result<Arc<Graph>> {
        let servers = self.broker.bootstrap();
        let mut options = vec![
            format!("market_data_source.topic={input}"),
            format!("market_data_source.properties.bootstrap.servers={servers}"),
            "market_data_source.scan.startup.mode=earliest-offset".to_owned(),
            format!("processed_market_data.topic={output}"),
            format!("processed_market_data.properties.bootstrap.servers={servers}"),
        ];
        options.extend_from_slice(more);
        job::compile(job::WEALTHARENA, &options)
    }
}

/// The option that lets the input end.
fn bounded() -> String {
    "market_data_source.scan.bounded.mode=latest-offset".to_owned()
}
