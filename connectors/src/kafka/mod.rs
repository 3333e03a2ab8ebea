//! Kafka: a topic as a table to read and to write. Offsets come from the log or from
//! `scan.startup.mode`, never from a consumer group's own commits while the job runs. What is
//! written exactly once goes by the job's one transaction ([`commit_point`]).

mod client;
mod key;
mod lent;
mod metadata;
mod partition;
mod reader;
mod sink;
mod source;
mod start;
mod transaction;
mod writer;

pub(crate) use transaction::commit_point;

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
/// Messages of transactions are read once they are committed, aborted ones never
/// (`properties.isolation.level`). Partitions that are added to a topic while the job runs are
/// read from their first message on.
///
/// **Writing.** The table option `key` names the columns of the message key: the text of one
/// column, a JSON array of several; without it, or where the one column is NULL, messages have
/// no key. Equal keys go to the same partition as the Java clients choose it.
///
/// By default a job's rows, the offsets of what it has read and the number of its epoch are
/// committed in one Kafka transaction at every commit of the job: whoever reads committed messages
/// alone (`isolation.level=read_committed`) sees each result once, whatever was killed. All tables
/// that a job writes so are on one cluster and have the same `properties.*`, for they share one
/// producer. Its transactional id is `millstream.<job>-<log>.<shard>`, the same is the group in
/// which the epoch is kept (as the offset of partition 0 of the first topic) and, where
/// `properties.group.id` of the table that is read names no other, the offsets. Where ACLs are
/// in force the user needs WRITE on the transactional id and READ on these groups.
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
    /// `message.max.bytes` 64 MB (the topic's own limit decides); in transactions
    /// `retry.backoff.ms` 1, and `transaction.timeout.ms` is how long a transaction may take.
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
    /// How often a topic is asked for partitions that were added (default 10 s); `0 s`: never.
    #[serde(rename = "scan.topic-partition-discovery.interval")]
    pub discovery: Option<options::Duration>,
    /// `exactly-once` (default); `at-least-once`: an epoch counts as published once every message
    /// of it is acknowledged by all in-sync replicas, and after a kill the last epochs may be sent
    /// again; or `none`: once its messages are handed to the client, so a kill may lose some.
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
    /// Every row is there once, for those who read committed messages alone.
    #[default]
    ExactlyOnce,
    /// Every row is there, some may be there twice after a kill.
    AtLeastOnce,
    /// Nobody waits for the broker.
    None,
}

/// The name in `'connector' = '…'`.
pub const NAME: &str = "kafka";

/// The connector `kafka`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        NAME
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
