//! Reading: startup modes, positions, metadata, what is rejected.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType};
use connectors::testing::{Broker, Record};
use engine::{ErrorKind, Polled, Position, Split};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{message, messages, table, topic};
use crate::support::{self, WITHIN, numbers, open, poll, read, reasons, with, with_metadata};

#[tokio::test]
async fn startup_modes_start_where_they_say() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "startup", 1);
    let group = broker.unique("group");
    let mut old = messages(0, 0, 10);
    for (i, record) in old.iter_mut().enumerate() {
        record.timestamp_millis = Some(1_700_000_000_000 + 1_000 * i as i64);
    }
    broker.produce(&topic, &old).unwrap();
    broker.commit(&group, &topic, &[(0, 4)]).unwrap();
    let base = with(table(broker, &topic), "scan.bounded.mode", "latest-offset");
    let first = async |options: &[(&str, &str)]| {
        let stream = options
            .iter()
            .fold(base.clone(), |s, (key, value)| with(s, key, value));
        numbers(&all(&mut *open(&stream).unwrap()).await)
            .first()
            .copied()
    };
    let mode = "scan.startup.mode";
    assert_eq!(first(&[(mode, "earliest-offset")]).await, Some(0));
    assert_eq!(first(&[(mode, "latest-offset")]).await, None);
    let millis = "scan.startup.timestamp-millis";
    assert_eq!(
        first(&[(mode, "timestamp"), (millis, "1700000006500")]).await,
        Some(7)
    );
    assert_eq!(
        first(&[(mode, "timestamp"), (millis, "1900000000000")]).await,
        None
    );
    let id = "properties.group.id";
    assert_eq!(
        first(&[(mode, "group-offsets"), (id, &group)]).await,
        Some(4)
    );
    let unknown = broker.unique("group");
    assert_eq!(
        first(&[(mode, "group-offsets"), (id, &unknown)]).await,
        Some(0)
    );
    let reset = "properties.auto.offset.reset";
    let latest = first(&[(mode, "group-offsets"), (id, &unknown), (reset, "latest")]).await;
    assert_eq!(latest, None);
    let stream = with(with(base.clone(), mode, "group-offsets"), reset, "none");
    let refused = open(&stream).unwrap().next().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(
        refused.to_string().contains("set 'scan.startup.mode'"),
        "{refused}"
    );
}

/// Everything up to the end of a bounded input.
async fn all(source: &mut dyn engine::Source) -> Vec<Polled> {
    let mut all = vec![];
    while let Some(polled) = poll(source).await.unwrap() {
        all.push(polled);
    }
    assert!(
        source.next().await.unwrap().is_none(),
        "the end stays the end"
    );
    all
}

#[tokio::test]
async fn seek_repeats_exactly_what_followed() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "seek", 3);
    let partitions = (0..3).flat_map(|p| messages(p, 1_000 * i64::from(p), 500));
    broker
        .produce(&topic, &partitions.collect::<Vec<_>>())
        .unwrap();
    let mut source = open(&table(broker, &topic)).unwrap();
    let splits: Vec<_> = (0..3)
        .map(|p| Split::new(&format!("{topic}-0000{p}")))
        .collect();
    assert_eq!(source.splits().await.unwrap(), splits);
    let whole = by_split(&read(&mut *source, 1_500).await);
    assert_eq!(whole.len(), 3);

    let position: Position = [
        (splits[0].clone(), 100),
        (splits[1].clone(), 500),
        (splits[2].clone(), 499),
    ]
    .into();
    for _ in 0..2 {
        source.seek(&position).await.unwrap();
        let again = by_split(&read(&mut *source, 401).await);
        assert_eq!(again[&splits[0]], whole[&splits[0]][100..]);
        assert_eq!(again[&splits[2]], whole[&splits[2]][499..]);
    }
    // Another source, as after a restart, goes on in the same way.
    let mut restarted = open(&table(broker, &topic)).unwrap();
    restarted.seek(&position).await.unwrap();
    let again = by_split(&read(&mut *restarted, 401).await);
    assert_eq!(again[&splits[0]], whole[&splits[0]][100..]);
}

/// Offsets and rows of each split.
fn by_split(polled: &[Polled]) -> std::collections::BTreeMap<Split, Vec<(i64, i64)>> {
    let mut splits = std::collections::BTreeMap::<_, Vec<_>>::new();
    for poll in polled {
        let rows = poll
            .offsets
            .iter()
            .copied()
            .zip(support::longs(&poll.rows, "n"));
        let known = splits.entry(poll.split.clone()).or_default();
        known.extend(rows);
        assert!(known.is_sorted(), "{} is out of order", poll.split);
        assert!(
            known
                .last()
                .is_none_or(|(offset, _)| *offset < poll.next_offset)
        );
    }
    splits.retain(|_, rows| !rows.is_empty());
    splits
}

#[tokio::test]
async fn a_start_at_the_end_is_remembered_before_any_message() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "latest", 1);
    broker.produce(&topic, &messages(0, 0, 5)).unwrap();
    let stream = with(table(broker, &topic), "scan.startup.mode", "latest-offset");
    let mut source = open(&stream).unwrap();
    let polled = poll(&mut *source).await.unwrap().unwrap();
    assert_eq!((polled.rows.num_rows(), polled.next_offset), (0, 5));
    drop(source);
    broker.produce(&topic, &messages(0, 5, 1)).unwrap();
    let mut restarted = open(&stream).unwrap();
    restarted.seek(&[(polled.split, 5)].into()).await.unwrap();
    assert_eq!(numbers(&read(&mut *restarted, 1).await), [5]);
}

#[tokio::test]
async fn metadata_columns_tell_the_envelope() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "metadata", 2);
    let mut full = message("A", 1).to_partition(1);
    full.timestamp_millis = Some(1_700_000_000_123);
    full.headers = vec![
        ("trace".to_owned(), b"old".to_vec()),
        ("trace".to_owned(), b"new".to_vec()),
        ("raw".to_owned(), vec![0xff]),
    ];
    let bare = Record {
        key: None,
        ..message("B", 2).to_partition(1)
    };
    broker.produce(&topic, &[full, bare]).unwrap();
    let entries = DataType::Struct(
        vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Binary, true),
        ]
        .into(),
    );
    let map = DataType::Map(Field::new("entries", entries, false).into(), false);
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let stream = [
        ("topic", DataType::Utf8),
        ("partition", DataType::Int32),
        ("offset", DataType::Int64),
        ("timestamp", nanos),
        ("key", DataType::Utf8),
        ("headers", DataType::Utf8),
    ]
    .into_iter()
    .fold(table(broker, &topic), |stream, (key, declared)| {
        with_metadata(stream, key, declared)
    });
    let polled = read(&mut *open(&stream).unwrap(), 2).await;
    let rows = &polled
        .iter()
        .find(|polled| polled.rows.num_rows() == 2)
        .unwrap()
        .rows;
    assert_eq!(rows.schema(), stream.source_schema());
    assert_eq!(
        support::strings(rows, "m_topic"),
        [topic.as_str(), topic.as_str()]
    );
    let partitions = rows
        .column_by_name("m_partition")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert_eq!(partitions.values(), &[1, 1]);
    let offsets = rows
        .column_by_name("m_offset")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(offsets.values(), &[0, 1]);
    let times = rows.column_by_name("m_timestamp").unwrap();
    assert_eq!(
        times.as_primitive::<TimestampNanosecondType>().value(0),
        1_700_000_000_123_000_000
    );
    assert_eq!(support::strings(rows, "m_key"), ["A", "NULL"]);
    let headers = support::strings(rows, "m_headers");
    assert_eq!(headers, [r#"{"raw":"�","trace":"new"}"#, "NULL"]);

    let stream = with_metadata(table(broker, &topic), "headers", map);
    let polled = read(&mut *open(&stream).unwrap(), 2).await;
    let rows = &polled
        .iter()
        .find(|polled| polled.rows.num_rows() == 2)
        .unwrap()
        .rows;
    let headers = rows.column_by_name("m_headers").unwrap().as_map();
    let values = headers.value(0);
    assert_eq!(values.column(0).as_string::<i32>().value(0), "trace");
    assert_eq!(values.column(1).as_binary::<i32>().value(0), b"new");
    assert_eq!(values.column(1).as_binary::<i32>().value(1), [0xff]);
    assert_eq!(headers.value_length(1), 0);
}

#[tokio::test]
async fn what_is_no_row_is_rejected_and_the_rest_goes_on() {
    let broker = Broker::shared().unwrap();
    let topic = broker.unique("poison");
    broker
        .create_topic_with(&topic, 1, &[("max.message.bytes", "20000000")])
        .unwrap();
    let huge = "x".repeat(10_000_000);
    let payload = |text: &str| Record::new("k", text).to_partition(0);
    broker
        .produce(
            &topic,
            &[
                message("A", 1).to_partition(0),
                payload(r#"{"symbol": "#),
                Record {
                    payload: None,
                    ..payload("")
                },
                Record::new("k", vec![b'{', 0xff, b'}']).to_partition(0),
                payload(r#"{"symbol":"B","price":"dear","n":2}"#),
                message(&huge, 3).to_partition(0),
                Record {
                    key: Some(vec![0xff]),
                    ..message("C", 4).to_partition(0)
                },
                message("D", 5).to_partition(0),
            ],
        )
        .unwrap();
    let stream = with_metadata(table(broker, &topic), "key", DataType::Utf8);
    let polled = read(&mut *open(&stream).unwrap(), 8).await;
    assert_eq!(numbers(&polled), [1, 3, 5]);
    assert_eq!(support::symbols(&polled)[1].len(), huge.len());
    let rejected: Vec<_> = polled.iter().flat_map(|polled| &polled.rejected).collect();
    let offsets: Vec<_> = rejected.iter().map(|rejected| rejected.offset).collect();
    assert_eq!(offsets, [1, 2, 3, 4, 6]);
    assert_eq!(&rejected[0].payload[..], br#"{"symbol": "#);
    assert!(
        rejected
            .iter()
            .all(|rejected| rejected.record_time.is_some())
    );
    let reasons = reasons(&polled);
    assert!(reasons[1].contains("tombstone"), "{reasons:?}");
    assert!(reasons[4].contains("key is not UTF-8"), "{reasons:?}");
}

#[tokio::test]
async fn a_bounded_input_ends_behind_transaction_markers_and_over_topics() {
    let broker = Broker::shared().unwrap();
    let (one, two) = (topic(broker, "bounded", 2), topic(broker, "bounded", 1));
    broker.produce(&one, &messages(0, 0, 20_000)).unwrap();
    let id = broker.unique("writer");
    let name = two.clone();
    let bootstrap = broker.bootstrap();
    let transaction = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", id)
            .create()
            .unwrap();
        producer.init_transactions(WITHIN).unwrap();
        producer.begin_transaction().unwrap();
        for n in 0..10 {
            let payload = format!(r#"{{"symbol":"T","n":{n}}}"#);
            producer
                .send(BaseRecord::<str, str>::to(&name).payload(&payload))
                .unwrap();
        }
        producer.commit_transaction(WITHIN).unwrap();
    };
    tokio::task::spawn_blocking(transaction).await.unwrap();
    let both = format!("{one}, {two}");
    let stream = with(table(broker, &both), "scan.bounded.mode", "latest-offset");
    let mut source = open(&stream).unwrap();
    assert_eq!(source.splits().await.unwrap().len(), 3);
    let polled = all(&mut *source).await;
    let rows: usize = polled.iter().map(|polled| polled.rows.num_rows()).sum();
    assert_eq!(rows, 20_010);
    let most = polled.iter().map(|polled| polled.rows.num_rows()).max();
    assert!(
        most > Some(500) && most <= Some(8_192),
        "largest batch: {most:?}"
    );
}

#[tokio::test]
async fn offsets_that_are_gone_are_told() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "gone", 1);
    broker.produce(&topic, &messages(0, 0, 100)).unwrap();
    broker.delete_records(&topic, 0, 60).unwrap();
    let split = Split::new(&format!("{topic}-00000"));
    let at = async |offset: i64| {
        let mut source = open(&table(broker, &topic)).unwrap();
        source
            .seek(&[(split.clone(), offset)].into())
            .await
            .unwrap();
        poll(&mut *source).await
    };
    let gone = at(59).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Corrupt);
    let text = gone.to_string();
    assert!(text.contains(&format!(
        "offset 59 of partition 0 of the kafka topic '{topic}'"
    )));
    assert!(
        text.contains("begins at 60") && text.contains("--from offset"),
        "{text}"
    );
    // Who was told to goes past them, and counts.
    let mut past = open(&table(broker, &topic)).unwrap();
    assert!(past.skipped().is_none());
    past.skip_gaps();
    past.seek(&[(split.clone(), 55)].into()).await.unwrap();
    assert_eq!(numbers(&[poll(&mut *past).await.unwrap().unwrap()])[0], 60);
    assert_eq!(past.skipped().unwrap().records(), 5);
    past.seek(&[(split.clone(), 101)].into()).await.unwrap();
    let beyond = poll(&mut *past).await.unwrap_err().to_string();
    assert!(beyond.contains("--from empty"), "{beyond}");
    assert_eq!(numbers(&[at(60).await.unwrap().unwrap()])[0], 60);
    assert!(
        at(101)
            .await
            .unwrap_err()
            .to_string()
            .contains("ends at 100")
    );
    let mut source = open(&table(broker, &topic)).unwrap();
    source
        .seek(&[(Split::new(&format!("{topic}-00003")), 7)].into())
        .await
        .unwrap();
    let fewer = poll(&mut *source).await.unwrap_err();
    assert!(
        fewer.to_string().contains("has only 1 partitions"),
        "{fewer}"
    );
}

#[tokio::test]
async fn dropping_next_loses_nothing() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "cancel", 1);
    broker.produce(&topic, &messages(0, 0, 30_000)).unwrap();
    let mut source = open(&table(broker, &topic)).unwrap();
    let mut seen = vec![];
    let mut dropped = 0;
    while seen.len() < 30_000 {
        tokio::select! {
            biased;
            () = tokio::task::yield_now(), if dropped % 2 == 0 => dropped += 1,
            polled = source.next() => {
                seen.extend(support::longs(&polled.unwrap().unwrap().rows, "n"));
                dropped += 1;
            }
        }
    }
    assert!(
        seen.into_iter().eq(0..30_000),
        "rows are missing or out of order"
    );
}
