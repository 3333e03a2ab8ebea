//! A job with three partitions to read, late and bad rows among them, that writes to Kafka and to
//! Parquet; and what is left of it in the end.

use std::fmt::Write as _;

use connectors::testing::{Broker, Record};

use crate::support::{Place, digests};

/// Messages of the input.
const MESSAGES: usize = 6_000;
const SYMBOLS: [&str; 7] = ["AAPL", "AMZN", "GOOGL", "IBM", "MSFT", "ORCL", "TSLA"];

/// The input that all jobs of a test read.
pub(super) struct World {
    pub(super) broker: &'static Broker,
    input: String,
    /// What a job leaves that nobody disturbs.
    pub(super) undisturbed: Left,
}

/// What a job has left for others to see.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// Every committed message, sorted.
    signals: Vec<String>,
    /// Every row of the Parquet files, sorted.
    bars: Vec<String>,
    late: String,
    dead: String,
    recorded: String,
    digests: Vec<String>,
}

/// One job with a folder and a topic of its own.
pub(super) struct Crashing {
    pub(super) place: Place,
    output: String,
}

/// Back and forth in time by up to three seconds, so that some are late; every 500th cannot be read.
fn message(number: usize) -> Record {
    let symbol = SYMBOLS[number % SYMBOLS.len()];
    if number % 500 == 499 {
        return Record::new(symbol, "{\"symbol\": \"AA");
    }
    let wave = (number * 7_919 % 1_009) as f64;
    let second = (number / 10).saturating_sub(number * 31 % 37 / 10);
    let (hour, minute, second) = (14 + second / 3_600, second / 60 % 60, second % 60);
    let json = format!(
        r#"{{"symbol": "{symbol}", "price": {:?}, "volume": {}, "ts": "2024-01-02T{hour:02}:{minute:02}:{second:02}.{:03}"}}"#,
        100.0 + wave / 8.0,
        number * 104_729 % 10_007,
        number % 10 * 100,
    );
    Record::new(symbol, json)
}

impl World {
    pub(super) fn new() -> Self {
        let broker = Broker::shared().unwrap();
        let input = broker.unique("trades");
        broker.create_topic(&input, 3).unwrap();
        let messages: Vec<Record> = (0..MESSAGES).map(message).collect();
        broker.produce(&input, &messages).unwrap();
        let undisturbed = Left {
            signals: vec![],
            bars: vec![],
            late: String::new(),
            dead: String::new(),
            recorded: String::new(),
            digests: vec![],
        };
        let mut world = Self {
            broker,
            input,
            undisturbed,
        };
        let job = world.job("");
        world.undisturbed = job.finish(&world);
        let Left {
            signals,
            bars,
            late,
            dead,
            ..
        } = &world.undisturbed;
        assert!(
            signals.len() > MESSAGES / 2 && bars.len() > 50,
            "too little"
        );
        assert_eq!((dead.as_str(), late.as_str() > "0"), ("12", true));
        world
    }

    /// A job that has not begun, with more options of the table that is read.
    pub(super) fn job(&self, more: &str) -> Crashing {
        let output = self.broker.unique("signals");
        self.broker.create_topic(&output, 2).unwrap();
        let (place, bootstrap) = (Place::new(), self.broker.bootstrap());
        let mut script = String::new();
        let kafka = |topic: &str| {
            format!(
                "'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
                 'properties.bootstrap.servers' = '{bootstrap}'"
            )
        };
        let (trades, signals) = (kafka(&self.input), kafka(&output));
        write!(
            script,
            "SET 'commit.interval' = '10 ms'; SET 'snapshot.rows' = '1000';
             CREATE TABLE trades (symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
                 WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
             WITH ({trades}, 'scan.startup.mode' = 'earliest-offset',
                 'scan.bounded.mode' = 'latest-offset', 'watermark.idle-timeout' = 'none',
                 'archive' = 'recording'{more});
             CREATE TABLE signals (symbol STRING, ts TIMESTAMP(9), price DOUBLE, rsi DOUBLE,
                 average DOUBLE) WITH ({signals}, 'key' = 'symbol');
             CREATE TABLE bars (symbol STRING, ts TIMESTAMP(9), high DOUBLE, volume BIGINT)
             WITH ('connector' = 'parquet', 'path' = 'bars', 'rolling.size' = '2 kB',
                 'partition' = 'date');
             INSERT INTO signals SELECT symbol, ts, price, rsi(price, 14) OVER w,
                 AVG(price) OVER (PARTITION BY symbol ORDER BY ts ROWS 19 PRECEDING)
             FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
             INSERT INTO bars SELECT symbol,
                 -- Every roll has files of two days, which appear together.
                 CASE WHEN symbol < 'I' THEN window_start
                      ELSE window_start + INTERVAL '1' DAY END,
                 MAX(price), SUM(volume)
             FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)
             GROUP BY symbol, window_start, window_end;"
        )
        .unwrap();
        place.write("job.sql", &script);
        Crashing { place, output }
    }

    /// Fails unless a job has left what an undisturbed one leaves.
    #[track_caller]
    pub(super) fn check(&self, left: &Left, what: &str) {
        let whole = &self.undisturbed;
        assert_same(&left.signals, &whole.signals, what);
        assert_same(&left.bars, &whole.bars, what);
        let figures = |left: &Left| {
            let Left {
                late,
                dead,
                recorded,
                digests,
                ..
            } = left.clone();
            (late, dead, recorded, digests)
        };
        assert_eq!(figures(left), figures(whole), "{what}");
    }
}

/// Says what is missing and what is there too often, which is readable.
#[track_caller]
fn assert_same(rows: &[String], whole: &[String], what: &str) {
    let lost = whole.iter().filter(|row| rows.binary_search(row).is_err());
    let lost: Vec<_> = lost.take(3).collect();
    let mut doubled = rows.windows(2).filter(|pair| pair[0] == pair[1]);
    assert!(
        rows.len() == whole.len() && lost.is_empty(),
        "{what}: {} rows for {}, lost are {lost:?}, doubled is {:?}",
        rows.len(),
        whole.len(),
        doubled.next()
    );
}

impl Crashing {
    /// Runs it until it ends by itself.
    pub(super) fn run(&self, more: &[&str]) -> crate::support::Ran {
        let arguments = [&["run", "job.sql", "--data", "data", "--digest"], more].concat();
        self.place.run(&arguments)
    }

    /// Runs it until it crashes at a point.
    #[track_caller]
    pub(super) fn crash_at(&self, point: &str) {
        let ran = self.run(&["--crash-at", point]);
        // Ended by a signal, it has no exit code.
        assert_eq!(ran.code, None, "{point} was not passed: {}", ran.err);
    }

    /// Runs it to the end of its input; what there is then.
    #[track_caller]
    pub(super) fn finish(&self, world: &World) -> Left {
        let ran = self.run(&[]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let said = format!("{}{}", ran.out, ran.err);
        let records = world.broker.committed(&self.output).unwrap();
        let mut signals: Vec<_> = records.iter().map(Record::text).collect();
        signals.sort_unstable();
        let query = |sql: &str| {
            let arguments = ["query", sql, "--data", "data", "--format", "csv"];
            self.place.run(&arguments).well()
        };
        let value = |sql: &str| query(sql).lines().nth(1).unwrap_or_default().to_owned();
        let bars = query("SELECT * FROM 'bars'");
        let mut bars: Vec<_> = bars.lines().skip(1).map(str::to_owned).collect();
        bars.sort_unstable();
        Left {
            signals,
            bars,
            late: value("SELECT count(*) FROM \"trades$late\""),
            dead: value("SELECT count(*) FROM \"trades$dead\""),
            recorded: value("SELECT count(*) FROM 'recording/trades' WHERE _kind = 0"),
            digests: digests(&said),
        }
    }
}
