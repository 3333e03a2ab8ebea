//! Topics of a broker of one's own, and its clients.

use anyhow::Result;
use connectors::testing::{Broker, Record};
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};

use crate::messages::quotes;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 3;
/// Messages that are read where a job runs from start to end: enough that what starting and ending
/// cost, which is more with transactions, is little of the whole.
pub const MESSAGES: usize = 3_000_000;

/// A new topic, and its name.
pub fn topic(broker: &Broker, name: &str) -> Result<String> {
    let name = broker.unique(name);
    broker.create_topic(&name, PARTITIONS)?;
    Ok(name)
}

/// A new topic with so many quotes of 1,000 symbols, and its name.
pub fn filled(broker: &Broker, count: usize) -> Result<String> {
    let topic = topic(broker, "market-data")?;
    for chunk in quotes(1_000, count).chunks(50_000) {
        let keyed = |message: &String| Record::new(&message[12..17], message.as_bytes());
        broker.produce(&topic, &chunk.iter().map(keyed).collect::<Vec<_>>())?;
    }
    Ok(topic)
}

/// A topic from its first message on, for a consumer to be assigned.
pub fn whole(topic: &str) -> Result<TopicPartitionList> {
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    Ok(partitions)
}

/// The configuration of a client.
#[must_use]
pub fn client(broker: &Broker, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}
