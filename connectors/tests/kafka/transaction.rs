//! A job's commit as one transaction: what it holds, whom it fences, what it refuses.

use std::sync::Arc;

use arrow::array::RecordBatch;
use connectors::testing::{Broker, Record};
use connectors::{Owner, Targets};
use engine::graph::{Input, Target, Timing};
use engine::{CommitPoint, Epoch, ErrorKind, Graph, Position, Split, StreamSpec, Transaction};

use super::{message, table, topic};
use crate::support::{numbers, open, poll, read, rows, with};

/// A graph that reads and writes tables; nothing runs it.
pub(super) fn graph(read: &StreamSpec, written: &[&StreamSpec]) -> Graph {
    let mut graph = Graph::default();
    let from = graph.add_input(Input {
        stream: read.clone(),
        schema: Arc::clone(&read.schema),
        columns: vec![],
        event_time: None,
        timing: Timing::default(),
        archive: None,
    });
    let written = written.iter().map(|stream| (*stream).clone());
    let targets = written.map(|stream| Target::new(stream, from));
    graph.targets.extend(targets);
    graph
}

pub(super) fn exactly_once(broker: &Broker, topic: &str) -> StreamSpec {
    let table = table(broker, topic);
    with(table, "sink.delivery-guarantee", "exactly-once")
}

pub(super) fn commit_point(graph: &Graph, owner: &Owner) -> Box<dyn CommitPoint> {
    let Targets {
        sinks,
        commit_point,
    } = connectors::targets(graph, owner).unwrap();
    assert!(sinks.iter().all(Option::is_none));
    commit_point.unwrap()
}

/// A transaction that moves no position.
fn only_rows(epoch: u64, rows: &[(usize, RecordBatch)], ended: bool) -> Transaction<'_> {
    Transaction {
        epoch: Epoch(epoch),
        rows,
        positions: ended.then_some(&[]),
    }
}

fn refusal(graph: &Graph) -> String {
    let refused = connectors::targets(graph, &Owner::unique("job", 0));
    refused.err().unwrap().chain()
}

#[tokio::test]
async fn rows_offsets_and_epoch_become_visible_at_once() {
    let broker = Broker::shared().unwrap();
    let (input, first, second) = (
        topic(broker, "input", 2),
        topic(broker, "first", 2),
        topic(broker, "second", 1),
    );
    let group = broker.unique("group");
    let read = with(table(broker, &input), "properties.group.id", &group);
    let (one, two) = (exactly_once(broker, &first), exactly_once(broker, &second));
    let graph = graph(&read, &[&one, &two]);
    let owner = Owner::unique("job", 0);
    let mut point = commit_point(&graph, &owner);
    assert_eq!(point.last().await.unwrap(), None);
    let positions = |next: i64| {
        let split = |partition| Split::new(&format!("{input}-0000{partition}"));
        [Position::from([(split(0), next), (split(1), next * 2)])]
    };
    for epoch in 1..=3_i64 {
        let positions = positions(epoch * 10);
        let rows = [
            (0, rows(&["A", "B"], epoch * 10)),
            (1, rows(&["C"], epoch * 10)),
        ];
        let transaction = |batches: usize, ended: bool| Transaction {
            epoch: Epoch(epoch as u64),
            rows: &rows[..batches],
            positions: ended.then_some(&positions),
        };
        // At once, or ahead, bit by bit.
        let ahead = [
            transaction(1, false),
            transaction(2, false),
            transaction(2, true),
        ];
        for part in ahead.into_iter().take(epoch as usize - 1) {
            point.prepare(part).await.unwrap();
            assert_eq!(broker.committed(&second).unwrap().len(), epoch as usize - 1);
        }
        point.commit(transaction(2, true)).await.unwrap();
        assert_eq!(broker.committed(&first).unwrap().len(), epoch as usize * 2);
        assert_eq!(broker.committed(&second).unwrap().len(), epoch as usize);
        let offsets = broker.group_offsets(&group, &input, 2).unwrap();
        assert_eq!(offsets, [Some(epoch * 10), Some(epoch * 20)]);
    }
    // The next start of the same log knows, another job's does not.
    let mut successor = commit_point(&graph, &owner);
    assert_eq!(successor.last().await.unwrap(), Some(Epoch(3)));
    let mut other = commit_point(&graph, &Owner::unique("job", 0));
    assert_eq!(other.last().await.unwrap(), None);
}

#[tokio::test]
async fn whoever_starts_fences_the_one_before() {
    let broker = Broker::shared().unwrap();
    let output = topic(broker, "fenced", 1);
    let written = exactly_once(broker, &output);
    let graph = graph(&table(broker, &topic(broker, "input", 1)), &[&written]);
    let owner = Owner::unique("job", 0);
    let (mut old, mut new) = (commit_point(&graph, &owner), commit_point(&graph, &owner));
    let batch = |name: &str, n| [(0, rows(&[name], n))];
    let commit = async |point: &mut Box<dyn CommitPoint>, epoch, rows: &[_]| {
        point.commit(only_rows(epoch, rows, true)).await
    };
    assert_eq!(old.last().await.unwrap(), None);
    commit(&mut old, 1, &batch("old", 1)).await.unwrap();
    // What is open goes with whom it is of.
    let open = batch("open", 2);
    old.prepare(only_rows(2, &open, false)).await.unwrap();
    assert_eq!(new.last().await.unwrap(), Some(Epoch(1)));
    commit(&mut new, 2, &batch("new", 2)).await.unwrap();
    // The old one is told to come again at most once, and then why it must not.
    let mut refused = commit(&mut old, 2, &batch("zombie", 2)).await.unwrap_err();
    if refused.kind() == ErrorKind::Unavailable {
        refused = commit(&mut old, 2, &batch("zombie", 2)).await.unwrap_err();
    }
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{}", refused.chain());
    assert!(
        refused.to_string().contains("has committed epoch 2"),
        "{refused}"
    );
    commit(&mut new, 3, &batch("new", 3)).await.unwrap();
    let texts: Vec<_> = broker.committed(&output).unwrap();
    let texts: Vec<_> = texts.iter().map(Record::text).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    let texts = texts.concat();
    assert!(
        !texts.contains("zombie") && !texts.contains("open"),
        "{texts}"
    );
}

#[tokio::test]
async fn what_was_aborted_upstream_is_never_read() {
    let broker = Broker::shared().unwrap();
    let input = topic(broker, "upstream", 1);
    let numbered = |first: i64| {
        (first..)
            .take(5)
            .map(|n| message("A", n))
            .collect::<Vec<_>>()
    };
    broker.transact(&input, &numbered(0), true).unwrap();
    broker.transact(&input, &numbered(100), false).unwrap();
    broker.transact(&input, &numbered(5), true).unwrap();
    broker.transact(&input, &numbered(200), false).unwrap();
    let stream = with(table(broker, &input), "scan.bounded.mode", "latest-offset");
    let mut source = open(&stream).unwrap();
    let polled = read(&mut *source, 10).await;
    assert_eq!(numbers(&polled), (0..10).collect::<Vec<_>>());
    // It ends behind the markers and what was aborted, which no message tells.
    let mut next = polled.last().unwrap().next_offset;
    while let Some(polled) = poll(&mut *source).await.unwrap() {
        assert_eq!(numbers(std::slice::from_ref(&polled)), [0_i64; 0]);
        next = polled.next_offset;
    }
    assert!(next >= 12, "{next}");
}

#[tokio::test]
async fn a_group_with_members_is_refused() {
    let broker = Broker::shared().unwrap();
    let (input, output) = (topic(broker, "input", 1), topic(broker, "output", 1));
    let group = broker.unique("busy");
    let read = with(table(broker, &input), "properties.group.id", &group);
    let graph = graph(&read, &[&exactly_once(broker, &output)]);
    let member = broker.join(&group, &input).unwrap();
    let mut point = commit_point(&graph, &Owner::unique("job", 0));
    let error = point.last().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
    let expected = format!("the group '{group}' is in use: it has 1 members");
    assert!(error.to_string().contains(&expected), "{error}");
    drop(member);
}

#[test]
fn tables_that_cannot_share_a_producer_are_refused() {
    let servers = |servers: &str| {
        let options = [
            ("topic", "t"),
            ("format", "json"),
            ("properties.bootstrap.servers", servers),
        ];
        crate::support::table("kafka", &options)
    };
    let one = servers("127.0.0.1:1");
    let told = refusal(&graph(&one, &[&one, &servers("127.0.0.1:2")]));
    assert!(
        told.contains("properties.bootstrap.servers") && told.contains("one producer, writes both"),
        "{told}"
    );
    let other = with(one.clone(), "properties.linger.ms", "7");
    let told = refusal(&graph(&one, &[&one, &other]));
    assert!(told.contains("properties.linger.ms"), "{told}");
    // What belongs to reading is nobody's concern, nor are tables that go their own way.
    let read = with(one.clone(), "properties.group.id", "g");
    let own = with(other, "sink.delivery-guarantee", "at-least-once");
    let graph = graph(&one, &[&one, &read, &own]);
    let targets = connectors::targets(&graph, &Owner::unique("job", 0)).unwrap();
    let carried: Vec<_> = targets.sinks.iter().map(Option::is_none).collect();
    assert_eq!(carried, [true, true, false]);
    assert!(targets.commit_point.is_some());
}
