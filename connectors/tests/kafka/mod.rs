//! Kafka, against a real broker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod outage;
mod read;
mod refuse;
mod transaction;
mod write;

use connectors::testing::{Broker, Record};
use engine::StreamSpec;

use crate::support;

/// A table on a topic of the shared broker, read from its beginning.
fn table(broker: &Broker, topic: &str) -> StreamSpec {
    support::table(
        "kafka",
        &[
            ("topic", topic),
            ("format", "json"),
            ("properties.bootstrap.servers", &broker.bootstrap()),
            ("scan.startup.mode", "earliest-offset"),
            ("sink.delivery-guarantee", "at-least-once"),
        ],
    )
}

/// A topic of one's own.
fn topic(broker: &Broker, name: &str, partitions: i32) -> String {
    let topic = broker.unique(name);
    broker.create_topic(&topic, partitions).unwrap();
    topic
}

/// The message of a row.
fn message(symbol: &str, n: i64) -> Record {
    Record::new(
        symbol,
        format!(r#"{{"symbol":"{symbol}","price":1.5,"n":{n}}}"#),
    )
}

/// Messages numbered from `first`, to one partition.
fn messages(partition: i32, first: i64, count: usize) -> Vec<Record> {
    (first..)
        .take(count)
        .map(|n| message("A", n).to_partition(partition))
        .collect()
}
