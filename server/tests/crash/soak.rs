//! A job that runs for long and is killed again and again, while messages come at a rate: nothing is
//! lost, nothing comes twice, and it does not grow.
//!
//! `SOAK_SECONDS`, `SOAK_KILL_SECONDS` (from one kill to the next) and `SOAK_RATE` (events/s) say how
//! long and how hard; `make soak` asks for half an hour, a minute and 20,000.
//!
//! Memory is judged twice. The most that a process had resident must not grow from kill to kill: that
//! of no later one is above one and a half times that of the first two. And the last quarter of a soak
//! of four minutes or more is without a kill: there the median of the last third of what is resident,
//! looked at every half second, is at most a tenth and 16 MB above that of the first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use connectors::testing::{Broker, Record};

use super::number;
use crate::support::{Place, Running, digests};

const SYMBOLS: usize = 100;
/// Events a second of event time.
const DENSE: usize = 2_000;
/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_millis(500);
const MEGABYTE: u64 = 1 << 20;

/// Goes back by up to two seconds and a little more, so that some are late; every 5,000th cannot be read.
fn message(number: usize) -> Record {
    let symbol = format!("S{:03}", number % SYMBOLS);
    if number % 5_000 == 4_999 {
        return Record::new(symbol, "{\"symbol\": \"S0");
    }
    let milliseconds = number * 1_000 / DENSE;
    let at = milliseconds.saturating_sub(number * 31 % 37 * 60);
    let (seconds, milliseconds) = (at / 1_000, at % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let json = format!(
        r#"{{"symbol": "{symbol}", "number": {number}, "price": {:?}, "ts": "2024-01-02T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}"}}"#,
        100.0 + (number * 7_919 % 1_009) as f64 / 8.0,
    );
    Record::new(symbol, json)
}

/// A job with a folder and a topic of its own.
struct Soaking<'a> {
    place: Place,
    broker: &'a Broker,
    output: String,
}

/// What is left of a job in the end.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// The messages, whatever their order.
    sum: u128,
    bars: String,
    late: String,
    dead: String,
    digests: Vec<String>,
}

impl<'a> Soaking<'a> {
    fn new(broker: &'a Broker, input: &str) -> Self {
        let (place, output) = (Place::new(), broker.unique("signals"));
        broker.create_topic(&output, 2).unwrap();
        let bootstrap = broker.bootstrap();
        let kafka = |topic: &str| {
            format!(
                "'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
                 'properties.bootstrap.servers' = '{bootstrap}'"
            )
        };
        let (trades, signals) = (kafka(input), kafka(&output));
        let mut script = String::new();
        write!(
            script,
            "SET 'commit.interval' = '20 ms';
             CREATE TABLE trades (symbol STRING, number BIGINT, price DOUBLE, ts TIMESTAMP(9),
                 WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
             WITH ({trades}, 'scan.startup.mode' = 'earliest-offset',
                 'watermark.idle-timeout' = 'none');
             CREATE TABLE signals (symbol STRING, number BIGINT, rsi DOUBLE, macd DOUBLE,
                 average DOUBLE)
             WITH ({signals}, 'key' = 'symbol', 'properties.compression.type' = 'lz4');
             CREATE TABLE bars (symbol STRING, ts TIMESTAMP(9), high DOUBLE, trades BIGINT)
             WITH ('connector' = 'parquet', 'path' = 'bars', 'rolling.interval' = '5 s');
             INSERT INTO signals SELECT symbol, number, rsi(price, 14) OVER w,
                 (macd(price, 12, 26, 9) OVER w)['hist'],
                 AVG(price) OVER (PARTITION BY symbol ORDER BY ts ROWS 19 PRECEDING)
             FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
             INSERT INTO bars SELECT symbol, window_start, MAX(price), COUNT(*)
             FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' SECOND)
             GROUP BY symbol, window_start, window_end;"
        )
        .unwrap();
        place.write("job.sql", &script);
        Self {
            place,
            broker,
            output,
        }
    }

    fn start(&self, life: usize) -> Running {
        let arguments = ["run", "job.sql", "--data", "data", "--digest"];
        self.place.start(&arguments, &format!("life-{life}"))
    }

    /// Lets it come to the end of what there is.
    fn finish(&self) -> Vec<String> {
        let bounded = "trades.scan.bounded.mode=latest-offset";
        let arguments = ["run", "job.sql", "--data", "data", "--digest", "--option"];
        let ran = self.place.run(&[&arguments[..], &[bounded]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        digests(&format!("{}{}", ran.out, ran.err))
    }

    /// What it has left; each of its messages has the number of an event, and no two the same.
    fn left(&self, events: usize) -> (Left, usize) {
        let digests = self.finish();
        let (mut sum, mut count) = (0_u128, 0);
        let mut seen = vec![false; events];
        self.broker
            .read_committed(&self.output, |record| {
                let text = record.text();
                let number = text.split_once("\"number\":").map(|(_, rest)| rest);
                let number = number.and_then(|rest| rest.split([',', '}']).next());
                let number: usize = number.and_then(|n| n.trim().parse().ok()).unwrap();
                assert!(
                    !std::mem::replace(&mut seen[number], true),
                    "doubled: {text}"
                );
                count += 1;
                sum = sum.wrapping_add(hash(text.as_bytes()));
            })
            .unwrap();
        let value = |sql: &str| {
            let arguments = ["query", sql, "--data", "data", "--format", "csv"];
            let out = self.place.run(&arguments).well();
            out.lines().nth(1).unwrap_or_default().to_owned()
        };
        let left = Left {
            sum,
            bars: value(
                "SELECT count(*) || ' ' || count(DISTINCT symbol || ts::STRING) || ' ' ||
                 sum(trades) || ' ' || sum(high) FROM 'bars'",
            ),
            late: value("SELECT count(*) FROM \"trades$late\""),
            dead: value("SELECT count(*) FROM \"trades$dead\""),
            digests,
        };
        (left, count)
    }

    fn log_bytes(&self) -> u64 {
        let files = self.place.files("data/log", "");
        let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
        sizes.map(|data| data.len()).sum()
    }
}

/// FNV-1a, of 128 bits.
fn hash(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(start, step)
}

/// A figure of a process from its status, in bytes.
fn memory(running: &Running, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    kibibytes.and_then(|n| n.parse::<u64>().ok()).unwrap() * 1_024
}

fn median(figures: &[u64]) -> u64 {
    let mut figures = figures.to_vec();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// How a soak goes.
struct Soak {
    seconds: u64,
    kill_seconds: u64,
    /// Events a second.
    rate: u64,
}

impl Soak {
    fn asked_for() -> Self {
        Self {
            seconds: number("SOAK_SECONDS", 16),
            kill_seconds: number("SOAK_KILL_SECONDS", 5),
            rate: number("SOAK_RATE", 2_000),
        }
    }

    /// When the last quarter begins, which has no kill; the end of one that is too short for that.
    fn calm_from(&self) -> Duration {
        let calm = if self.seconds >= 240 {
            self.seconds / 4
        } else {
            0
        };
        Duration::from_secs(self.seconds - calm)
    }

    /// Sends messages until the time is over; how many.
    fn feed(&self, broker: &Broker, input: &str, since: Instant) -> usize {
        let mut sent = 0;
        while since.elapsed() < Duration::from_secs(self.seconds) {
            let due = (since.elapsed().as_secs_f64() * self.rate as f64) as usize;
            let messages: Vec<Record> = (sent..due).map(message).collect();
            broker.produce(input, &messages).unwrap();
            sent = due;
            sleep(Duration::from_millis(250));
        }
        sent
    }

    /// Kills the job again and again until the time is over, and asks the last one to end.
    fn disturb(&self, job: &Soaking<'_>, since: Instant) -> Lives {
        let mut lives = Lives::default();
        loop {
            let running = job.start(lives.peaks.len());
            let begun = since.elapsed();
            let killed_at = begun + Duration::from_secs(self.kill_seconds);
            let is_last = killed_at >= self.calm_from();
            let until = match is_last {
                true => Duration::from_secs(self.seconds),
                false => killed_at,
            };
            let mut samples = vec![];
            while since.elapsed() < until {
                sleep(LOOK);
                samples.push(memory(&running, "VmRSS"));
            }
            lives.peaks.push(memory(&running, "VmHWM"));
            lives.log_bytes.push(job.log_bytes());
            if !is_last {
                running.kill();
                continue;
            }
            lives.samples = samples;
            let (code, said) = running.stop("-TERM");
            assert_eq!(code, Some(0), "{said}");
            return lives;
        }
    }
}

/// What was seen of the processes.
#[derive(Debug, Default)]
struct Lives {
    /// The most that each had resident.
    peaks: Vec<u64>,
    /// Of the log, at the end of each.
    log_bytes: Vec<u64>,
    /// What the last had resident.
    samples: Vec<u64>,
}

impl Lives {
    fn check(&self, is_calm: bool) {
        let first = self.peaks.iter().take(2).max().unwrap();
        let most = self.peaks.iter().max().unwrap();
        assert!(*most <= first * 3 / 2, "it grows: {:?}", self.peaks);
        if is_calm {
            let third = self.samples.len() / 3;
            let [early, late] = [&self.samples[..third], &self.samples[2 * third..]].map(median);
            assert!(
                late <= early + early / 10 + 16 * MEGABYTE,
                "it grows: {:?}",
                self.samples
            );
        }
    }

    fn told(&self) -> BTreeMap<&str, String> {
        let megabytes = |figures: &[u64]| {
            let all = figures.iter().map(|figure| figure / MEGABYTE);
            all.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
        };
        let thinned: Vec<u64> = (self.samples.iter().copied())
            .step_by(self.samples.len().div_ceil(20).max(1))
            .collect();
        BTreeMap::from([
            ("MB resident at most, by life", megabytes(&self.peaks)),
            ("MB of the log, by life", megabytes(&self.log_bytes)),
            ("MB resident of the last life", megabytes(&thinned)),
        ])
    }
}

#[test]
fn a_job_that_is_killed_again_and_again_loses_nothing_and_does_not_grow() {
    let (soak, broker) = (Soak::asked_for(), Broker::shared().unwrap());
    let input = broker.unique("trades");
    let compressed = [("compression.type", "lz4")];
    broker.create_topic_with(&input, 3, &compressed).unwrap();
    let job = Soaking::new(broker, &input);
    let since = Instant::now();
    let (events, lives) = thread::scope(|scope| {
        let feeding = scope.spawn(|| soak.feed(broker, &input, since));
        let lives = soak.disturb(&job, since);
        (feeding.join().unwrap(), lives)
    });
    let (left, count) = job.left(events);
    let calm = Soaking::new(broker, &input);
    let (undisturbed, expected) = calm.left(events);
    let kills = lives.peaks.len() - 1;
    eprintln!("{events} events, {kills} kills, {count} messages for {expected}: {left:?}");
    for (what, figures) in lives.told() {
        eprintln!("{what}: {figures}");
    }
    assert!(kills >= 2 && events > 0, "{kills} kills");
    // No two were equal: what is not the same in number is lost.
    assert_eq!(
        count,
        expected,
        "{} are lost",
        expected.saturating_sub(count)
    );
    assert_eq!(left, undisturbed);
    lives.check(soak.calm_from() < Duration::from_secs(soak.seconds));
}
