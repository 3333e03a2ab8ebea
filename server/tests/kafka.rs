//! The job of `wealtharena.sql`, word for word, from Kafka to Kafka.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use connectors::testing::{Broker, Record};
use serde_json::Value;

use crate::support::{PATIENCE, Place, digests};

const SYMBOLS: [&str; 7] = [
    "AAPL", "GOOGL", "MSFT", "TSLA", "AMZN", "BTC-USD", "ETH-USD",
];
/// The fields of a result.
const FIELDS: [&str; 15] = [
    "symbol",
    "timestamp",
    "price",
    "volume",
    "price_change_1m",
    "price_change_5m",
    "price_change_15m",
    "volume_avg_1h",
    "volatility_1h",
    "rsi_14",
    "sma_20",
    "ema_12",
    "ema_26",
    "macd",
    "signal_strength",
];

/// A message as the ingestion service writes it.
fn message(number: usize) -> Record {
    let (symbol, row) = (SYMBOLS[number % SYMBOLS.len()], number / SYMBOLS.len());
    let (price, volume) = figures(number);
    let (minute, second) = (row / 60, row % 60);
    let json = format!(
        r#"{{"symbol": "{symbol}", "timestamp": "2024-01-02T14:{minute:02}:{second:02}.000001",
            "price": {price}, "volume": {volume}, "high": {price}, "low": 1.5, "open": 2.0,
            "change": -0.25, "change_percent": -1.2, "market_cap": 3000000000000,
            "pe_ratio": 30.5, "dividend_yield": 0}}"#
    );
    Record::new(symbol, json)
}

/// Price and volume of a message.
fn figures(number: usize) -> (f64, i64) {
    let wave = (number * 7919 % 1009) as f64;
    (100.0 + wave / 8.0, (number * 104_729 % 10_007) as i64)
}

/// What the job says of each row, computed plainly.
fn expected(number: usize) -> (Option<f64>, f64, f64, &'static str) {
    let rows: Vec<usize> = (0..=number).rev().step_by(SYMBOLS.len()).collect();
    let price = |row: &usize| figures(*row).0;
    let change = rows.get(1).map(|before| price(&number) - price(before));
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let volume = mean(
        rows.iter()
            .take(60)
            .map(|row| figures(*row).1 as f64)
            .collect(),
    );
    let sma = mean(rows.iter().take(20).map(price).collect());
    let signal = if price(&number) > sma {
        "BULLISH"
    } else {
        "BEARISH"
    };
    (change, volume, sma, signal)
}

/// A place with the shipped script, and the options that take it to topics of its own.
fn place(broker: &Broker, topics: [&str; 2]) -> (Place, Vec<String>) {
    let place = Place::new();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sql/examples/wealtharena.sql"
    );
    fs::copy(script, place.path("job.sql")).unwrap();
    let mut arguments: Vec<String> = ["run", "job.sql", "--digest"].map(str::to_owned).to_vec();
    let group = broker.unique("group");
    let (bootstrap, [input, output]) = (broker.bootstrap(), topics);
    for option in [
        format!("market_data_source.topic={input}"),
        format!("market_data_source.properties.bootstrap.servers={bootstrap}"),
        format!("market_data_source.properties.group.id={group}"),
        "market_data_source.scan.startup.mode=earliest-offset".to_owned(),
        "market_data_source.archive=recording".to_owned(),
        format!("processed_market_data.topic={output}"),
        format!("processed_market_data.properties.bootstrap.servers={bootstrap}"),
    ] {
        arguments.extend(["--option".to_owned(), option]);
    }
    (place, arguments)
}

/// The results in the topic, by symbol and timestamp, once there are so many; each as often as
/// it was written, but always the same.
fn results(broker: &Broker, topic: &str, count: usize) -> BTreeMap<(String, String), Value> {
    let since = Instant::now();
    loop {
        let records = broker
            .consume_for(topic, usize::MAX, Duration::from_secs(2))
            .unwrap();
        let mut results = BTreeMap::new();
        for record in records {
            let row: Value = serde_json::from_str(&record.text()).unwrap();
            let before = results.insert(key(&row), row.clone());
            assert!(
                before.is_none_or(|before| before == row),
                "a row came again as another: {row}"
            );
        }
        if results.len() >= count || since.elapsed() > PATIENCE {
            return results;
        }
    }
}

/// What tells a row from all others.
fn key(row: &Value) -> (String, String) {
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    (text("symbol"), text("timestamp"))
}

#[test]
fn the_flink_job_survives_a_kill_and_replays() {
    let broker = Broker::shared().unwrap();
    let (input, output) = (
        broker.unique("market-data"),
        broker.unique("processed-market-data"),
    );
    broker.create_topic(&input, 3).unwrap();
    broker.create_topic(&output, 3).unwrap();
    let (place, arguments) = place(broker, [&input, &output]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let messages: Vec<Record> = (0..700).map(message).collect();
    broker.produce(&input, &messages[..350]).unwrap();
    let running = place.start(&arguments, "first");
    assert!(broker.consume(&output, 350).unwrap().len() >= 350);
    running.kill();
    broker.produce(&input, &messages[350..]).unwrap();
    broker
        .produce(&input, &[Record::new("AAPL", "{\"symbol\": ")])
        .unwrap();
    let running = place.start(&arguments, "second");
    let rows = results(broker, &output, messages.len());
    assert_eq!(rows.len(), messages.len(), "{}", running.said());
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("701 rows: accepted 700, late 0, future 0, dead 1"),
        "{said}"
    );
    let live = digests(&said);
    assert_eq!(live.len(), 1, "{said}");

    for (number, message) in messages.iter().enumerate() {
        let sent: Value = serde_json::from_str(&message.text()).unwrap();
        let row = &rows[&key(&sent)];
        let fields: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert!(FIELDS.iter().all(|field| row.get(field).is_some()), "{row}");
        assert_eq!(fields.len(), FIELDS.len(), "{row}");
        let (change, volume, sma, signal) = expected(number);
        let near = |field: &str, value: f64| {
            let got = row[field].as_f64().unwrap();
            assert!(
                (got - value).abs() < 1e-6,
                "{field}: {got} for {value} in row {number}"
            );
        };
        near("price", sent["price"].as_f64().unwrap());
        assert_eq!(row["volume"], sent["volume"]);
        match change {
            Some(change) => near("price_change_1m", change),
            None => assert!(row["price_change_1m"].is_null(), "{row}"),
        }
        near("volume_avg_1h", volume);
        near("sma_20", sma);
        near(
            "rsi_14",
            if change.is_some_and(|change| change > 0.0) {
                1.0
            } else {
                0.0
            },
        );
        near("macd", 0.0);
        assert_eq!(row["signal_strength"], signal, "{row}");
    }

    let dead = "SELECT count(*) FROM \"market_data_source$dead\"";
    assert_eq!(place.value(dead), "1");
    let mut replay = vec![
        "replay",
        "job.sql",
        "--source",
        "market_data_source=recording",
    ];
    replay.extend(&arguments[3..]);
    let report = place.run(&replay).well();
    assert_eq!(digests(&report), live, "{report}");
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let broker = Broker::launch().unwrap();
    let (input, output) = (
        broker.unique("market-data"),
        broker.unique("processed-market-data"),
    );
    broker.create_topic(&input, 1).unwrap();
    broker.create_topic(&output, 1).unwrap();
    broker.produce(&input, &[message(0)]).unwrap();
    broker.stop().unwrap();
    let (place, arguments) = place(&broker, [&input, &output]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = place.start(&arguments, "said");
    running.wait_until("it says what it waits for", |running| {
        running.said().contains("waiting: ")
    });
    broker.start().unwrap();
    assert_eq!(broker.consume(&output, 1).unwrap().len(), 1);
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_job_goes_on_past_messages_that_are_gone_when_it_is_told_to() {
    let broker = Broker::shared().unwrap();
    let (input, output) = (broker.unique("numbers"), broker.unique("sums"));
    broker.create_topic(&input, 1).unwrap();
    broker.create_topic(&output, 1).unwrap();
    let bootstrap = broker.bootstrap();
    let kafka = |topic: &str| {
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
                 'scan.startup.mode' = 'earliest-offset', 'properties.bootstrap.servers' = '{bootstrap}')"
        )
    };
    let (numbers, sums) = (kafka(&input), kafka(&output));
    let place = Place::new();
    place.write(
        "sum.sql",
        &format!(
            "CREATE TABLE numbers (n BIGINT, at AS PROCTIME()) {numbers};
             CREATE TABLE sums (n BIGINT, sum BIGINT) {sums};
             INSERT INTO sums
             SELECT n, SUM(n) OVER (ORDER BY at ROWS UNBOUNDED PRECEDING) FROM numbers;"
        ),
    );
    let send = |numbers: std::ops::Range<i64>| {
        let records = numbers.map(|n| Record::new("", format!(r#"{{"n": {n}}}"#)));
        broker
            .produce(&input, &records.collect::<Vec<_>>())
            .unwrap();
    };
    let committed = |count: usize| -> Vec<i64> {
        let since = Instant::now();
        loop {
            let records = broker.committed(&output).unwrap();
            if records.len() >= count || since.elapsed() > PATIENCE {
                let sum = |record: &Record| {
                    let row: Value = serde_json::from_str(&record.text()).unwrap();
                    row["sum"].as_i64().unwrap()
                };
                return records.iter().map(sum).collect();
            }
        }
    };
    send(0..10);
    let running = place.start(&["run", "sum.sql"], "first");
    assert_eq!(committed(10).last(), Some(&45));
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    send(10..20);
    broker.delete_records(&input, 0, 13).unwrap();
    let refused = place.run(&["run", "sum.sql"]).failed(1);
    assert!(refused.contains("3 messages were removed"), "{refused}");
    assert!(refused.contains("--from offset"), "{refused}");

    // The state is kept, what is gone is told, and nothing comes twice.
    let running = place.start(&["run", "sum.sql", "--from", "offset"], "past");
    let sums = committed(17);
    assert_eq!((sums.len(), sums[10]), (17, 45 + 13));
    assert_eq!(sums.last(), Some(&(45 + (13..20).sum::<i64>())));
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 messages are gone"), "{said}");
    assert!(said.contains("gone before they were read 3"), "{said}");

    // From then on it goes on as ever.
    send(20..21);
    let running = place.start(&["run", "sum.sql"], "after");
    assert_eq!(committed(18).len(), 18);
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_partition_of_a_keyed_topic_does_not_wait_for_a_slower_one() {
    let broker = Broker::shared().unwrap();
    let (input, output) = (broker.unique("quotes"), broker.unique("changes"));
    broker.create_topic(&input, 2).unwrap();
    broker.create_topic(&output, 1).unwrap();
    let bootstrap = broker.bootstrap();
    let kafka = |topic: &str, more: &str| {
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
                 'properties.bootstrap.servers' = '{bootstrap}'{more})"
        )
    };
    let (quotes, changes) = (
        kafka(
            &input,
            ", 'key' = 'symbol', 'scan.startup.mode' = 'earliest-offset',
                 'watermark.idle-timeout' = 'none'",
        ),
        kafka(&output, ""),
    );
    let place = Place::new();
    place.write(
        "keyed.sql",
        &format!(
            "CREATE TABLE quotes (symbol STRING, price DOUBLE, ts TIMESTAMP(9),
                 WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) {quotes};
             CREATE TABLE changes (symbol STRING, change DOUBLE) {changes};
             INSERT INTO changes
             SELECT symbol, price - LAG(price) OVER (PARTITION BY symbol ORDER BY ts) FROM quotes;"
        ),
    );
    let quote = |symbol: &str, minute: u8, price: f64, partition: i32| {
        let ts = format!("2024-01-02T14:{minute:02}:00");
        let json = format!(r#"{{"symbol": "{symbol}", "price": {price:?}, "ts": "{ts}"}}"#);
        Record::new(symbol, json).to_partition(partition)
    };
    let sent = [
        quote("MSFT", 0, 1.0, 1),
        quote("AAPL", 0, 5.0, 0),
        quote("AAPL", 1, 7.0, 0),
        quote("AAPL", 3, 6.0, 0),
    ];
    broker.produce(&input, &sent).unwrap();
    let mut running = place.start(&["run", "keyed.sql"], "said");
    // The topic as a whole has only come to a minute before MSFT's one quote.
    let changes: Vec<Option<f64>> = broker
        .consume(&output, 2)
        .unwrap()
        .iter()
        .map(|record| {
            let row: Value = serde_json::from_str(&record.text()).unwrap();
            assert_eq!(row["symbol"], "AAPL", "{row}");
            row["change"].as_f64()
        })
        .collect();
    assert_eq!(changes, [None, Some(2.0)], "{}", running.said());
    broker.produce(&input, &[quote("AAPL", 4, 1.0, 1)]).unwrap();
    let (code, said) = running.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("rows of symbol 'AAPL' came from split '"),
        "{said}"
    );
    assert!(said.contains("remove 'key'"), "{said}");
}
