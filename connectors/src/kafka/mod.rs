//! Kafka: a topic as a table to read and to write. Offsets come from the log or from
//! `scan.startup.mode`, never from a consumer group's own commits while the job runs.

mod client;
mod key;
mod metadata;
mod partition;
mod reader;
mod sink;
mod source;
mod start;
mod writer;

use engine::{Result, StreamSpec};
use serde::Deserialize;

use crate::options::{self, Properties};
use crate::{Connector, Owner};

/// Options of `'connector' = 'kafka'`, with Flink's names.
///
/// ```sql
/// CREATE TABLE trades (
///   symbol STRING, price DOUBLE, ts TIMESTAMP(3),
///   kafka_partition INT METADATA FROM 'partition',
///   WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
/// ) WITH (
///   'connector' = 'kafka', 'topic' = 'market-data', 'format' = 'json',
///   'properties.bootstrap.servers' = 'localhost:9092'
/// );
/// ```
///
/// **Reading.** Each partition is a split named `topic-00003`. A message without a value
/// (a tombstone) and one that the format cannot read become dead letters. Metadata columns:
///
/// | `METADATA FROM` | type |
/// |---|---|
/// | `topic` | `STRING` |
/// | `partition` | `INT`, `BIGINT` |
/// | `offset` | `BIGINT` |
/// | `timestamp` | `TIMESTAMP` |
/// | `key` | `STRING` (must be UTF-8), `BYTES` |
/// | `headers` | `STRING` (a JSON object), `MAP<STRING, BYTES>`, `MAP<STRING, STRING>`; of headers with one name the last counts |
///
/// Partitions that are added to a topic are read after the next start of the job.
///
/// **Writing.** The table option `key` names the columns of the message key: the text of one
/// column, a JSON array of several; without it, or where the one column is NULL, messages have
/// no key. Equal keys go to the same partition as the Java clients choose it. An epoch counts as
/// published once every message of it is acknowledged by all in-sync replicas; after a kill the
/// last epochs may be sent again (at least once).
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// The topic. A source reads several, separated by commas; a sink writes one.
    pub topic: String,
    /// `properties.*`: passed to librdkafka under its own names. `properties.bootstrap.servers`
    /// is required. `properties.group.id` names the group whose offsets `group-offsets` starts
    /// at; the job itself never joins a group. `properties.auto.offset.reset` (`earliest`,
    /// the default, `latest`, `none`) is where `group-offsets` starts without any.
    ///
    /// Other defaults than librdkafka's own: `fetch.queue.backoff.ms` 2,
    /// `queued.min.messages` 10,000; when writing `compression.type` lz4, `linger.ms` 1,
    /// `queue.buffering.max.messages` 30,000, `partitioner` `murmur2_random`,
    /// `enable.idempotence` true, `message.timeout.ms` 0 (a broker that is away is waited for),
    /// `message.max.bytes` 64 MB (the topic's own limit decides).
    #[serde(rename = "properties.*")]
    pub properties: Properties,
    /// Where a partition starts that the log knows nothing of: `group-offsets` (default),
    /// `earliest-offset`, `latest-offset`, or `timestamp`.
    #[serde(rename = "scan.startup.mode", default)]
    pub startup: Startup,
    /// With `timestamp`: the first message at or after these milliseconds since the epoch.
    #[serde(rename = "scan.startup.timestamp-millis")]
    pub startup_millis: Option<i64>,
    /// `unbounded` (default), or `latest-offset`: the input ends at the offsets that the
    /// partitions have when reading starts.
    #[serde(rename = "scan.bounded.mode", default)]
    pub bounded: Bounded,
    /// `at-least-once` (default), or `none`: an epoch counts as published once its messages are
    /// handed to the client, so a kill may lose some. `exactly-once` is not available yet.
    #[serde(rename = "sink.delivery-guarantee", default)]
    pub guarantee: Guarantee,
}

/// Values of `scan.startup.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Startup {
    /// At the offsets that the group has committed.
    #[default]
    GroupOffsets,
    /// At the first message there is.
    EarliestOffset,
    /// At the next message to come.
    LatestOffset,
    /// At a point in time.
    Timestamp,
}

/// Values of `scan.bounded.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bounded {
    /// The input never ends.
    #[default]
    Unbounded,
    /// The input ends at the offsets found at the start.
    LatestOffset,
}

/// Values of `sink.delivery-guarantee`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Every row is there, some may be there twice after a kill.
    #[default]
    AtLeastOnce,
    /// Nobody waits for the broker.
    None,
    /// Not available yet.
    ExactlyOnce,
}

/// The connector `kafka`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn engine::Source>> {
        let options = options::parse_transport(stream)?;
        Ok(Box::new(source::Source::new(stream, options)?))
    }

    fn sink(&self, stream: &StreamSpec, _: &Owner) -> Result<Box<dyn engine::Sink>> {
        let options = options::parse_transport(stream)?;
        Ok(Box::new(sink::Sink::new(stream, options)?))
    }
}
