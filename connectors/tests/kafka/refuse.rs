//! What cannot work is refused with what to do, and before anything is connected where possible.

use connectors::testing::Broker;
use engine::ErrorKind;

use super::{table, topic};
use crate::support::{self, open, open_sink, poll, rows, with};

#[test]
fn options_are_checked_without_a_broker() {
    let servers = ("properties.bootstrap.servers", "127.0.0.1:1");
    let base = support::table("kafka", &[("topic", "t"), ("format", "json"), servers]);
    open(&base).unwrap();
    open_sink(&base).unwrap();
    let refusals = [
        (
            "properties.enable.auto.commit",
            "true",
            "offsets come from the job's log",
        ),
        (
            "properties.no.such.name",
            "1",
            "No such configuration property",
        ),
        ("properties.fetch.wait.max.ms", "soon", "is not valid"),
        (
            "properties.auto.offset.reset",
            "newest",
            "must be 'earliest', 'latest' or 'none'",
        ),
        ("scan.startup.mode", "newest", "newest"),
        ("scan.startup.timestamp-millis", "5", "belongs to"),
        ("topic", "a,,b", "has an empty name"),
        ("topic", "a,a", "names a topic twice"),
        ("topik", "t", "did you mean 'topic'?"),
    ];
    for (key, value, expected) in refusals {
        let error = support::refusal(open(&with(base.clone(), key, value)));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{key}");
        let text = error.chain();
        assert!(
            text.contains(key) && text.contains(expected),
            "{key}: {text}"
        );
    }
    let refusals = [
        ("sink.delivery-guarantee", "twice", "exactly-once"),
        (
            "properties.transactional.id",
            "x",
            "names the job's own transactions",
        ),
        ("topic", "a,b", "a sink writes one"),
    ];
    for (key, value, expected) in refusals {
        let text = support::refusal(open_sink(&with(base.clone(), key, value))).chain();
        assert!(
            text.contains(key) && text.contains(expected),
            "{key}: {text}"
        );
    }
    let missing = support::table("kafka", &[("topic", "t"), ("format", "json")]);
    assert!(
        support::refusal(open(&missing))
            .chain()
            .contains("properties.bootstrap.servers")
    );
    let mut keyed = base;
    keyed.key = vec!["simbol".to_owned()];
    assert!(
        support::refusal(open_sink(&keyed))
            .chain()
            .contains("did you mean 'symbol'?")
    );
}

#[tokio::test]
async fn an_unknown_topic_is_no_outage() {
    let broker = Broker::shared().unwrap();
    let stream = table(broker, "no-such-topic");
    let (mut first, mut second) = (open(&stream).unwrap(), open(&stream).unwrap());
    let mut sink = open_sink(&stream).unwrap();
    let (splits, next, published) = tokio::join!(first.splits(), second.next(), sink.published());
    for error in [
        splits.unwrap_err(),
        next.unwrap_err(),
        published.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(
            error
                .to_string()
                .contains("'no-such-topic': it does not exist; create it")
        );
    }
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_outage() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = [
        ("topic", "t"),
        ("format", "json"),
        ("properties.bootstrap.servers", servers.as_str()),
        ("sink.delivery-guarantee", "at-least-once"),
    ];
    let stream = support::table("kafka", &options);
    let (mut source, mut sink) = (open(&stream).unwrap(), open_sink(&stream).unwrap());
    let (splits, published) = tokio::join!(source.splits(), sink.published());
    let error = splits.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    let text = error.chain();
    assert!(
        text.contains("reach the brokers of the kafka topic 't'"),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
    let error = published.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
}

#[tokio::test]
async fn a_message_too_large_names_topic_and_key() {
    let broker = Broker::shared().unwrap();
    let topic = topic(broker, "large", 1);
    let mut stream = with(table(broker, &topic), "properties.compression.type", "none");
    stream.key = vec!["n".to_owned()];
    let mut sink = open_sink(&stream).unwrap();
    sink.published().await.unwrap();
    let large = "x".repeat(3_000_000);
    let error = sink
        .publish(engine::Epoch(1), &[rows(&["A", &large], 41)])
        .await
        .unwrap_err();
    // Raising the limit mends it.
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    let text = error.to_string();
    assert!(text.contains("key '42'") && text.contains(&topic), "{text}");
    assert!(text.contains("max.message.bytes"), "{text}");
    // The sink is as good as before.
    sink.publish(engine::Epoch(1), &[rows(&["B"], 43)])
        .await
        .unwrap();
    let mut source = open(&table(broker, &topic)).unwrap();
    while !support::symbols(&[poll(&mut *source).await.unwrap().unwrap()]).contains(&"B".to_owned())
    {
    }
}
