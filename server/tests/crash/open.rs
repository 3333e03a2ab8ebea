//! A job without an end: it copies numbered rows from Kafka to Kafka and to Parquet.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Instant;

use connectors::testing::{Broker, Record};
use serde_json::Value;

use crate::support::{PATIENCE, Place, Running};

/// The job, its folder and its topics.
pub(super) struct Open<'a> {
    pub(super) place: Place,
    pub(super) broker: &'a Broker,
    input: String,
    output: String,
}

impl<'a> Open<'a> {
    /// A job that has not begun; `written` is more settings of the topic it writes, `options` more
    /// options of that table.
    pub(super) fn new(broker: &'a Broker, written: &[(&str, &str)], options: &str) -> Self {
        let (input, output) = (broker.unique("numbers"), broker.unique("copies"));
        broker.create_topic(&input, 3).unwrap();
        broker.create_topic_with(&output, 2, written).unwrap();
        let (place, bootstrap) = (Place::new(), broker.bootstrap());
        let kafka = |topic: &str| {
            format!(
                "'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
                 'properties.bootstrap.servers' = '{bootstrap}'"
            )
        };
        let (numbers, copies) = (kafka(&input), kafka(&output));
        let mut script = String::new();
        write!(
            script,
            "SET 'commit.interval' = '20 ms'; SET 'snapshot.rows' = '400';
             CREATE TABLE numbers (number BIGINT, padding STRING) WITH ({numbers},
                 'scan.startup.mode' = 'earliest-offset',
                 'scan.topic-partition-discovery.interval' = '200 ms');
             CREATE TABLE copies (number BIGINT, padding STRING) WITH ({copies}{options});
             CREATE TABLE kept (number BIGINT) WITH ('connector' = 'parquet', 'path' = 'kept',
                 'rolling.interval' = '300 ms');
             INSERT INTO copies SELECT number, padding FROM numbers;
             INSERT INTO kept SELECT number FROM numbers;"
        )
        .unwrap();
        place.write("job.sql", &script);
        Self {
            place,
            broker,
            input,
            output,
        }
    }

    /// Starts it; what it says goes to the file `name`.
    pub(super) fn start(&self, more: &[&str], name: &str) -> Running {
        let arguments = [&["run", "job.sql", "--data", "data"], more].concat();
        self.place.start(&arguments, name)
    }

    /// Gives it rows to read.
    pub(super) fn feed(&self, numbers: Range<usize>) {
        self.feed_padded(numbers, 0);
    }

    /// Gives it rows of so many bytes more.
    pub(super) fn feed_padded(&self, numbers: Range<usize>, padding: usize) {
        let padding = "x".repeat(padding);
        let record = |number: usize| {
            let json = format!(r#"{{"number": {number}, "padding": "{padding}"}}"#);
            Record::new(number.to_string(), json)
        };
        let records: Vec<_> = numbers.map(record).collect();
        self.broker.produce(&self.input, &records).unwrap();
    }

    /// Adds partitions to the topic it reads.
    pub(super) fn grow(&self, partitions: usize) {
        self.broker.add_partitions(&self.input, partitions).unwrap();
    }

    /// Lets the topic that it writes take messages of so many bytes.
    pub(super) fn allow(&self, bytes: usize) {
        let bytes = bytes.to_string();
        let setting = ("max.message.bytes", bytes.as_str());
        self.broker.alter_topic(&self.output, setting).unwrap();
    }

    /// The numbers that are committed, sorted; every one as often as it is there.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let records = self.broker.committed(&self.output).unwrap();
        let number = |record: &Record| {
            let row: Value = serde_json::from_str(&record.text()).unwrap();
            row["number"].as_u64().unwrap()
        };
        let mut numbers: Vec<_> = records.iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Waits until so many rows are committed.
    #[track_caller]
    pub(super) fn wait_for(&self, count: usize, running: &Running) {
        let since = Instant::now();
        while self.numbers().len() < count {
            let said = running.said();
            assert!(
                since.elapsed() < PATIENCE,
                "too few rows are committed: {said}"
            );
        }
    }

    /// Fails unless each number below is committed once, in Kafka and, of a job that has stopped, in
    /// the Parquet files.
    #[track_caller]
    pub(super) fn each_once(&self, count: usize) {
        let expected: Vec<u64> = (0..count as u64).collect();
        let numbers = self.numbers();
        assert!(numbers == expected, "{} rows for {count}", numbers.len());
        let query = "SELECT count(*) || ' ' || count(DISTINCT number) FROM 'kept'";
        assert_eq!(self.place.value(query), format!("{count} {count}"));
    }
}
