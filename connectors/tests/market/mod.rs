//! The simulator: what it promises about its rows.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something is not as expected"
)]

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimestampNanosecondType};
use engine::time::TIMESTAMP;
use std::time::Instant;

use crate::tables::{drain, stream};

fn fields() -> Vec<Field> {
    let number = |name| Field::new(name, DataType::Float64, true);
    let mut fields = vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("timestamp", TIMESTAMP, true),
        Field::new("volume", DataType::Int64, true),
        Field::new("trade_id", DataType::Int64, true),
    ];
    fields.extend(["price", "high", "low", "open", "bid", "ask", "change"].map(number));
    fields
}

async fn rows(options: &[(&str, &str)]) -> arrow::array::RecordBatch {
    let mut all = vec![("rate", "max")];
    all.extend(options);
    let table = stream("market", fields(), &all);
    let mut source = connectors::find("market")
        .expect("there")
        .source(&table)
        .expect("a source");
    drain(source.as_mut()).await.0
}

fn refusal(fields: Vec<Field>, options: &[(&str, &str)]) -> String {
    let market = connectors::find("market").expect("there");
    market
        .source(&stream("market", fields, options))
        .err()
        .expect("refused")
        .chain()
}

#[tokio::test]
async fn rows_follow_from_the_seed() {
    let once = rows(&[("rows", "30000")]).await;
    assert_eq!(once.num_rows(), 30_000);
    assert_eq!(once, rows(&[("rows", "30000")]).await);
    assert_ne!(once, rows(&[("rows", "30000"), ("seed", "7")]).await);
    let column = |i: usize| once.column(i + 4).as_primitive::<Float64Type>();
    let times = once.column(1).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.value(0), 1_704_205_800_000_000_000);
    for row in 0..once.num_rows() {
        let value = |i| column(i).value(row);
        let (price, high, low, bid, ask) = (value(0), value(1), value(2), value(4), value(5));
        assert!(
            low <= price && price <= high && bid < price && price < ask,
            "row {row}"
        );
        assert!(
            ((price * 100.0).round() / 100.0 - price).abs() < 1e-9,
            "whole ticks"
        );
        assert!(row == 0 || times.value(row) == times.value(row - 1) + 1_000_000);
        assert!(once.column(2).as_primitive::<Int64Type>().value(row) >= 1);
    }
}

#[tokio::test]
async fn anomalies_duplicates_and_late_rows_are_where_they_should() {
    let found = rows(&[
        ("rows", "20000"),
        ("symbols", "A"),
        ("anomaly.every", "500"),
    ])
    .await;
    let calm = rows(&[("rows", "20000"), ("symbols", "A")]).await;
    let prices = |batch: &arrow::array::RecordBatch| {
        batch
            .column(4)
            .as_primitive::<Float64Type>()
            .values()
            .to_vec()
    };
    for (row, (spiked, plain)) in prices(&found).into_iter().zip(prices(&calm)).enumerate() {
        let apart = (spiked / plain - 1.0).abs();
        assert_eq!(apart > 0.04, (row + 1) % 500 == 0, "row {row}: {apart}");
    }
    let doubled = rows(&[("rows", "20000"), ("duplicate.ratio", "0.25")]).await;
    let ids = doubled
        .column(3)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    let repeated = ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((4_500..5_500).contains(&repeated), "{repeated}");
    let late = rows(&[("rows", "20000"), ("late.ratio", "0.1")]).await;
    let times = late
        .column(1)
        .as_primitive::<TimestampNanosecondType>()
        .values()
        .to_vec();
    let back = (0..times.len() as i64)
        .filter(|i| times[*i as usize] < 1_704_205_800_000_000_000 + i * 1_000_000);
    let back = back.count();
    assert!((1_700..2_300).contains(&back), "{back}");
}

#[tokio::test]
async fn symbols_are_counted_or_named() {
    let many = rows(&[("rows", "5000"), ("symbols", "9")]).await;
    let names = many.column(0).as_string::<i32>();
    let names = names
        .iter()
        .flatten()
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names.len(), 9);
    assert!(names.contains("S0008") && names.contains("S0009") && names.contains("ETH-USD"));
    let few = rows(&[("rows", "100"), ("symbols", "X, Y")]).await;
    assert!(
        few.column(0)
            .as_string::<i32>()
            .iter()
            .flatten()
            .all(|n| n == "X" || n == "Y")
    );
    assert_eq!(few.column(0).null_count(), 0);
}

#[tokio::test]
async fn rows_come_at_their_rate() {
    let table = stream("market", fields(), &[("rate", "20000"), ("rows", "4000")]);
    let mut source = connectors::find("market")
        .expect("there")
        .source(&table)
        .expect("a source");
    let start = Instant::now();
    let (rows, _) = drain(source.as_mut()).await;
    assert_eq!(rows.num_rows(), 4_000);
    let took = start.elapsed().as_millis();
    assert!(took >= 180, "{took} ms");
}

#[tokio::test]
async fn rows_are_read_again_without_waiting() {
    let options = [("rate", "10"), ("symbols", "9"), ("duplicate.ratio", "0.1")];
    let table = stream("market", fields(), &options);
    let all = [
        ("rate", "10"),
        ("symbols", "9"),
        ("duplicate.ratio", "0.1"),
        ("rows", "40000"),
    ];
    let market = connectors::find("market").expect("there");
    let mut straight = market
        .source(&stream("market", fields(), &all))
        .expect("a source");
    straight.rereading(true);
    let (expected, _) = drain(straight.as_mut()).await;

    let mut source = market.source(&table).expect("a source");
    let split = engine::Split::new("market-0");
    let at = |offset| engine::Position::from([(split.clone(), offset)]);
    source.rereading(true);
    source.seek(&at(20_000)).await.expect("there");
    let start = Instant::now();
    let mut offset = 20_000;
    while offset < 35_000 {
        let polled = source.next().await.expect("rows").expect("endless");
        let rows = polled.rows.num_rows();
        assert_eq!(polled.rows, expected.slice(offset as usize, rows));
        offset = polled.next_offset;
    }
    let took = start.elapsed().as_secs();
    assert!(took < 60, "{took} s for what takes 25 minutes at the rate");
    // The job goes on behind where it had to read on from.
    source.rereading(false);
    source.seek(&at(31_000)).await.expect("there");
    let start = Instant::now();
    let polled = source.next().await.expect("rows").expect("endless");
    assert!(
        start.elapsed().as_millis() >= 90,
        "the next row is not due yet"
    );
    assert_eq!(
        polled.rows,
        expected.slice(31_000, polled.rows.num_rows()),
        "{}",
        polled.rows.num_rows()
    );
}

#[test]
fn what_the_market_lacks_is_refused() {
    let wrong = refusal(vec![Field::new("prise", DataType::Float64, true)], &[]);
    assert!(
        wrong.contains("no column 'prise'; did you mean 'price'?"),
        "{wrong}"
    );
    let wrong = refusal(vec![Field::new("price", DataType::Utf8, true)], &[]);
    assert!(
        wrong.contains("'price'") && wrong.contains("not Utf8"),
        "{wrong}"
    );
    for (key, value) in [
        ("rate", "0"),
        ("rate", "fast"),
        ("late.ratio", "2"),
        ("anomaly.every", "0"),
        ("symbols", "A,A"),
        ("symbols", "0"),
        ("start", "yesterday"),
        ("rows", "-1"),
        ("sed", "1"),
    ] {
        let wrong = refusal(fields(), &[(key, value)]);
        assert!(wrong.contains(key), "{wrong}");
    }
}
