//! Writing: keys, partitions, whole epochs.

use std::collections::BTreeMap;
use std::time::Duration;

use connectors::testing::{Broker, Record};
use engine::{Emit, Epoch};

use super::{table, topic};
use crate::support::{numbers, open, open_sink, read, rows, with};

#[tokio::test]
async fn rows_go_round_with_their_keys() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "round", 3);
    let mut stream = table(broker, &topic);
    stream.key = vec!["symbol".to_owned()];
    let mut sink = open_sink(&stream).unwrap();
    assert_eq!(sink.emit(), Emit::AfterCommit);
    assert_eq!(sink.published().await.unwrap(), Epoch(0));
    let names: Vec<_> = (0..50).map(|i| format!("S{i}")).collect();
    let symbols: Vec<_> = (0..20_000)
        .map(|i| names[i % names.len()].as_str())
        .collect();
    for epoch in 1..=3 {
        let first = (epoch - 1) * 40_000;
        let batches = [rows(&symbols, first), rows(&symbols, first + 20_000)];
        sink.publish(Epoch(epoch as u64), &batches).await.unwrap();
        assert_eq!(sink.published().await.unwrap(), Epoch(epoch as u64));
    }
    sink.flush().await.unwrap();
    let records = broker.consume(&topic, 120_000).unwrap();
    let mut partition_of = BTreeMap::new();
    for record in &records {
        let (key, partition) = (record.key_text(), record.partition);
        assert!(
            record
                .text()
                .starts_with(&format!(r#"{{"symbol":"{key}","#)),
            "{}",
            record.text()
        );
        assert_eq!(
            *partition_of.entry(key).or_insert(partition),
            partition,
            "a key has moved"
        );
    }
    assert_eq!(partition_of.len(), 50);
    let mut source = open(&stream).unwrap();
    let polled = read(&mut *source, 120_000).await;
    let mut found = numbers(&polled);
    found.sort_unstable();
    assert!(found.into_iter().eq(0..120_000));
}

#[tokio::test]
async fn keys_go_to_the_partitions_that_java_clients_choose() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "java", 7);
    let mut stream = table(broker, &topic);
    stream.key = vec!["symbol".to_owned()];
    // Hashes of org.apache.kafka.common.utils.Utils.murmur2, from Kafka's own tests.
    let hashes = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
    let mut sink = open_sink(&stream).unwrap();
    let symbols: Vec<_> = hashes.iter().map(|(key, _)| *key).collect();
    sink.publish(Epoch(1), &[rows(&symbols, 0)]).await.unwrap();
    let records = broker.consume(&topic, 5).unwrap();
    for (key, hash) in hashes {
        let record = records
            .iter()
            .find(|record| record.key_text() == key)
            .unwrap();
        assert_eq!(record.partition, Some((hash & 0x7fff_ffff) % 7), "{key}");
    }
}

#[tokio::test]
async fn several_key_columns_are_a_json_array() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "composed", 1);
    let mut stream = with(table(broker, &topic), "sink.delivery-guarantee", "none");
    stream.key = vec!["symbol".to_owned(), "n".to_owned()];
    let mut sink = open_sink(&stream).unwrap();
    sink.publish(Epoch(1), &[rows(&["A", "B"], 7)])
        .await
        .unwrap();
    sink.flush().await.unwrap();
    let keys: Vec<_> = broker
        .consume(&topic, 2)
        .unwrap()
        .iter()
        .map(Record::key_text)
        .collect();
    assert_eq!(keys, [r#"["A",7]"#, r#"["B",8]"#]);
}

#[tokio::test]
async fn a_publication_that_was_given_up_can_be_repeated() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "again", 1);
    let mut sink = open_sink(&table(broker, &topic)).unwrap();
    sink.published().await.unwrap();
    let symbols = vec!["A"; 50_000];
    let batch = rows(&symbols, 0);
    let given_up = tokio::time::timeout(
        Duration::from_millis(5),
        sink.publish(Epoch(1), std::slice::from_ref(&batch)),
    );
    assert!(given_up.await.is_err(), "it was to be cut short");
    assert_eq!(sink.published().await.unwrap(), Epoch(0));
    sink.publish(Epoch(1), &[batch]).await.unwrap();
    let records = broker
        .consume_for(&topic, 100_000, Duration::from_secs(2))
        .unwrap();
    let numbers: std::collections::BTreeSet<_> = records.iter().map(Record::text).collect();
    assert_eq!(numbers.len(), 50_000, "at least once");
}
