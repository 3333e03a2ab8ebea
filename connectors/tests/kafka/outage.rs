//! The broker goes and comes back: both sides wait and go on, nothing is lost or repeated.

use std::time::{Duration, Instant};

use connectors::testing::Broker;
use engine::Epoch;

use super::{messages, table, topic};
use crate::support::{WITHIN, numbers, open, open_sink, read, rows};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for() {
    let broker = Broker::launch().unwrap();
    let topic = topic(&broker, "outage", 1);
    let stream = table(&broker, &topic);
    let mut source = open(&stream).unwrap();
    let mut sink = open_sink(&stream).unwrap();
    broker.produce(&topic, &messages(0, 0, 10)).unwrap();
    assert!(numbers(&read(&mut *source, 10).await).into_iter().eq(0..10));
    sink.publish(Epoch(1), &[rows(&["A"; 10], 10)])
        .await
        .unwrap();
    assert!(
        numbers(&read(&mut *source, 10).await)
            .into_iter()
            .eq(10..20)
    );

    let told = [source.waiting().unwrap(), sink.waiting().unwrap()];
    assert!(told.iter().all(|waiting| waiting.reason().is_none()));
    broker.stop().unwrap();
    let batch = [rows(&["A"; 10], 20)];
    let waiting = tokio::spawn(async move {
        let published = sink.publish(Epoch(2), &batch).await;
        (sink, published)
    });
    let silent = tokio::time::timeout(Duration::from_millis(1_500), source.next()).await;
    assert!(
        silent.is_err(),
        "an outage is neither rows nor an error: {silent:?}"
    );
    assert!(
        !waiting.is_finished(),
        "an epoch counts only once it is acknowledged"
    );

    let since = Instant::now();
    while let Some(silent) = told.iter().position(|waiting| waiting.reason().is_none()) {
        assert!(since.elapsed() < WITHIN, "{silent} does not say why");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    broker.start().unwrap();
    let (mut sink, published) = tokio::time::timeout(WITHIN, waiting)
        .await
        .unwrap()
        .unwrap();
    published.unwrap();
    assert!(
        numbers(&read(&mut *source, 10).await)
            .into_iter()
            .eq(20..30)
    );
    sink.publish(Epoch(3), &[rows(&["A"; 10], 30)])
        .await
        .unwrap();
    assert!(
        numbers(&read(&mut *source, 10).await)
            .into_iter()
            .eq(30..40)
    );
    assert_eq!(
        broker
            .consume_for(&topic, 41, Duration::from_secs(1))
            .unwrap()
            .len(),
        40
    );
    let reasons = told.map(|waiting| waiting.reason());
    assert_eq!(reasons, [None, None]);
}
