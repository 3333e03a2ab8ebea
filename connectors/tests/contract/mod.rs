//! What every connector of `all()` keeps, as far as it runs in this process.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something is not as expected"
)]

mod sinks;

use std::path::Path;

use engine::{Emit, Epoch, Position, Split};

use crate::tables::{drain, owner, stream, trade_fields, trades};

fn options<'a>(name: &str, folder: &'a Path) -> Vec<(&'a str, &'a str)> {
    match name {
        "market" => vec![("rate", "max"), ("rows", "20000"), ("late.ratio", "0.01")],
        "parquet" => vec![("path", folder.to_str().expect("UTF-8"))],
        _ => vec![],
    }
}

/// Connectors that need a peer have suites of their own.
const ELSEWHERE: [&str; 3] = ["kafka", "http", "websocket"];

#[tokio::test]
async fn sinks_publish_an_epoch_once() {
    let folder = tempfile::tempdir().expect("folder");
    let mut met = 0;
    for connector in connectors::all() {
        let table = stream(
            connector.name(),
            trade_fields(),
            &options(connector.name(), folder.path()),
        );
        if connector.name() == "market" {
            let error = connector
                .sink(&table, &owner())
                .err()
                .expect("it only reads");
            assert!(error.to_string().contains("only reads"), "{error}");
        }
        if ELSEWHERE.contains(&connector.name()) || connector.name() == "market" {
            continue;
        }
        met += 1;
        if connector.name() == "stdout" {
            continue;
        }
        let mut sink = connector.sink(&table, &owner()).expect("a sink");
        assert_eq!(
            sink.published().await.expect("known"),
            Epoch(0),
            "{}",
            connector.name()
        );
        sink.publish(Epoch(1), &[trades(&[1, 2])])
            .await
            .expect("published");
        sink.publish(Epoch(2), &[trades(&[3])])
            .await
            .expect("published");
        sink.flush().await.expect("flushed");
        assert_eq!(
            sink.published().await.expect("known"),
            Epoch(2),
            "{}",
            connector.name()
        );
        if sink.emit() == Emit::AfterCommit {
            sink.publish(Epoch(2), &[trades(&[3])])
                .await
                .expect("again");
            sink.flush().await.expect("flushed");
            let mut source = connector.source(&table).expect("a source");
            assert_eq!(drain(source.as_mut()).await.0, trades(&[1, 2, 3]));
        }
    }
    assert_eq!(met, 3, "parquet, stdout and blackhole are sinks");
}

#[tokio::test]
async fn sources_repeat_from_any_offset() {
    let folder = tempfile::tempdir().expect("folder");
    let parquet = connectors::find("parquet").expect("there");
    let options_of_sink = options("parquet", folder.path());
    let table = stream("parquet", trade_fields(), &options_of_sink);
    let mut sink = parquet.sink(&table, &owner()).expect("a sink");
    for epoch in 1..4 {
        let first = epoch as i64 * 10_000;
        let rows = trades(&(first..first + 9_000).collect::<Vec<_>>());
        sink.publish(Epoch(epoch), &[rows])
            .await
            .expect("published");
        sink.flush().await.expect("flushed");
    }
    for name in ["market", "parquet"] {
        let connector = connectors::find(name).expect("there");
        let table = stream(name, trade_fields(), &options(name, folder.path()));
        let source = || connector.source(&table).expect("a source");
        let mut whole = source();
        assert!(whole.repeatable());
        whole.splits().await.expect("splits");
        let (rows, places) = drain(whole.as_mut()).await;
        assert!(rows.num_rows() >= 20_000, "{name}: {}", rows.num_rows());
        for at in [0, 1, 8_191, 8_192, 8_193, 12_345, 19_999] {
            let (split, offset) = &places[at];
            // Splits before this one are through, those behind it have not begun.
            let mut position = Position::new();
            for (other, offset) in &places[..at] {
                if other != split {
                    position.insert(Split::new(other), offset + 1);
                }
            }
            position.insert(Split::new(split), *offset);
            for mut again in [source(), {
                let mut used = source();
                used.next().await.expect("rows");
                used
            }] {
                again.splits().await.expect("splits");
                again.seek(&position).await.expect("sought");
                let (rest, rest_places) = drain(again.as_mut()).await;
                assert_eq!(rest_places, places[at..], "{name} from {at}");
                assert_eq!(
                    rest,
                    rows.slice(at, rows.num_rows() - at),
                    "{name} from {at}"
                );
            }
        }
    }
}

#[test]
fn sinks_do_not_read_and_strangers_are_named() {
    for name in ["stdout", "blackhole"] {
        let table = stream(name, trade_fields(), &[]);
        let error = connectors::find(name)
            .expect("there")
            .source(&table)
            .err()
            .expect("only writes");
        assert!(error.to_string().contains("only writes"), "{error}");
    }
    let error = connectors::find("parqet").expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "no connector is called 'parqet'; did you mean 'parquet'?"
    );
    assert!(
        connectors::find("oracle")
            .expect_err("unknown")
            .to_string()
            .contains("there are ")
    );
}
