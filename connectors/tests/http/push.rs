//! Rows that are pushed, and the source they come out of.

use connectors::http::push::{self, Pusher, Refusal};
use connectors::http::{Form, push::Receipt};
use engine::{ErrorKind, Position, Source, Split, StreamSpec};

use crate::support::{self, numbers, poll, read, reasons, with};

fn table() -> StreamSpec {
    support::table("http", &[("mode", "push"), ("format", "json")])
}

fn opened(stream: &StreamSpec) -> (Pusher, Box<dyn Source>) {
    push::open(stream).unwrap()
}

fn body(numbers: std::ops::Range<i64>) -> Vec<u8> {
    let lines = numbers.map(|n| format!("{{\"symbol\": \"A\", \"n\": {n}}}\n"));
    lines.collect::<String>().into_bytes()
}

fn at(offset: i64) -> Position {
    [(Split::new("http"), offset)].into()
}

fn counts(receipt: &Receipt) -> (usize, usize) {
    (receipt.accepted, receipt.rejected)
}

#[tokio::test]
async fn rows_come_out_in_order_and_numbered_on_from_where_the_job_stood() {
    let (pusher, mut source) = opened(&table());
    assert_eq!(source.splits().await.unwrap(), [Split::new("http")]);
    source.seek(&at(40)).await.unwrap();
    let array = b"[{\"n\": 0}, {\"n\": \"x\"}, {\"n\": 1}]";
    let first = pusher.push(array, Form::Json).unwrap();
    let second = pusher.push(&body(2..4), Form::Lines).unwrap();
    assert_eq!((counts(&first), counts(&second)), ((2, 1), (2, 0)));
    assert_eq!(first.faults[0].0, 1);
    assert!(first.faults[0].1.contains('n'), "{:?}", first.faults);
    let polled = read(source.as_mut(), 5).await;
    assert_eq!(numbers(&polled), [0, 1, 2, 3]);
    assert_eq!(&polled[0].offsets[..], [40, 42]);
    assert_eq!(polled[0].rejected[0].offset, 41);
    assert_eq!(polled[0].next_offset, 43);
    assert_eq!(&polled[1].offsets[..], [43, 44]);
    assert_eq!(reasons(&polled).len(), 1);
    assert_eq!(first.reached.await, Ok(43));
    assert_eq!(second.reached.await, Ok(45));
    assert!(!source.repeatable());
}

#[tokio::test]
async fn a_large_body_comes_in_parts_and_its_end_is_told() {
    let (pusher, mut source) = opened(&table());
    let receipt = pusher.push(&body(0..20_000), Form::Lines).unwrap();
    let polled = read(source.as_mut(), 20_000).await;
    assert!(polled.len() > 1);
    assert_eq!(numbers(&polled), (0..20_000).collect::<Vec<_>>());
    let offsets = polled.iter().flat_map(|polled| polled.offsets.iter());
    assert!(offsets.copied().eq(0..20_000));
    assert_eq!(receipt.reached.await, Ok(20_000));
}

#[tokio::test]
async fn a_full_queue_refuses_until_the_job_has_taken_a_body() {
    let (pusher, mut source) = opened(&with(table(), "queue", "100 bytes"));
    // A body larger than the queue is taken where nothing else waits.
    assert!(pusher.push(&body(0..50), Form::Lines).is_ok());
    let refused = pusher.push(&body(50..51), Form::Lines);
    assert_eq!(refused.err(), Some(Refusal::Full));
    assert_eq!(numbers(&read(source.as_mut(), 50).await).len(), 50);
    // The room is given back when the job comes for more.
    let next = tokio::spawn(async move { poll(source.as_mut()).await.unwrap() });
    let receipt = loop {
        match pusher.push(&body(51..52), Form::Lines) {
            Ok(receipt) => break receipt,
            Err(refusal) => assert_eq!(refusal, Refusal::Full),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(numbers(&[next.await.unwrap().unwrap()]), [51]);
    assert_eq!(receipt.reached.await, Ok(51));
}

#[tokio::test]
async fn a_malformed_body_takes_no_room_and_no_number() {
    let (pusher, mut source) = opened(&with(table(), "queue", "100 bytes"));
    for _ in 0..100 {
        let refused = pusher.push(b"[{\"n\": 1}, ", Form::Json);
        assert!(matches!(refused, Err(Refusal::Malformed(_))));
    }
    pusher.push(&body(7..8), Form::Json).unwrap();
    let polled = read(source.as_mut(), 1).await;
    assert_eq!(&polled[0].offsets[..], [0]);
}

#[tokio::test]
async fn a_job_that_ends_says_so_to_who_pushes_and_who_waits() {
    let (pusher, source) = opened(&table());
    let waiting = pusher.push(&body(0..1), Form::Lines).unwrap();
    drop(source);
    let refused = pusher.push(&body(1..2), Form::Lines);
    assert_eq!(refused.err(), Some(Refusal::Gone));
    assert!(waiting.reached.await.is_err());
}

#[tokio::test]
async fn a_table_that_nobody_pushes_into_is_refused_when_it_is_opened() {
    let mut source = support::open(&table()).unwrap();
    let error = source.splits().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("millstream serve"), "{error}");
}

#[test]
fn wrong_options_are_refused() {
    let refused = |key: &str, value: &str| {
        let error = push::open(&with(table(), key, value)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.chain()
    };
    assert!(refused("url", "http://host/").contains("no option is called 'url'"));
    assert!(refused("queue", "0").contains("at least one byte"));
    assert!(refused("queue", "5 GB").contains("less than 4 GB"));
    assert!(refused("format", "xml").contains("'json'"));
    let metadata = support::with_metadata(table(), "offset", arrow::datatypes::DataType::Int64);
    let error = push::open(&metadata).err().unwrap();
    assert!(error.chain().contains("has no metadata"), "{error}");
}
