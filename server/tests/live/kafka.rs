//! The whole of it over a real Kafka, HTTP and WebSocket: rows are produced and pushed while the
//! server is killed and started again; the client that resumes has the committed rows, none missing
//! and none twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use connectors::testing::{Broker, Record};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::restart::{Reader, committed, get, post, start, submit};
use super::server::PATIENCE;
use crate::support::Place;

/// Rows that are pushed have numbers from here on.
const PUSHED: i64 = 1_000_000;
/// Rows of a push.
const ROWS: i64 = 10;
/// How long the server lives each time.
const LIVES: [u64; 4] = [1_300, 700, 1_900, 1_100];

fn job(broker: &Broker, topic: &str) -> String {
    let bootstrap = broker.bootstrap();
    format!(
        "CREATE TABLE produced (symbol STRING, trade_id BIGINT, price DOUBLE)
         WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
               'properties.bootstrap.servers' = '{bootstrap}',
               'scan.startup.mode' = 'earliest-offset');
         CREATE TABLE pushed (symbol STRING, trade_id BIGINT, price DOUBLE)
         WITH ('connector' = 'http', 'mode' = 'push');
         CREATE TABLE prices (symbol STRING, trade_id BIGINT, price DOUBLE)
         WITH ('connector' = 'parquet', 'path' = 'prices', 'rolling.interval' = '300 ms',
               'key' = 'symbol');
         SET 'commit.interval' = '50 ms';
         INSERT INTO prices
         SELECT symbol, trade_id, price FROM produced
         UNION ALL SELECT symbol, trade_id, price FROM pushed;"
    )
}

fn row(id: i64) -> Value {
    let symbol = ["AAPL", "MSFT", "TSLA", "AMZN", "GOOGL"][usize::try_from(id % 5).unwrap()];
    json!({"symbol": symbol, "trade_id": id, "price": id as f64 / 4.0})
}

/// Produces until it is told to end; how many rows there are.
fn produce(broker: &Broker, topic: &str, end: &AtomicBool) -> i64 {
    let mut next = 0;
    while !end.load(Ordering::Relaxed) {
        let rows = (next..next + 20).map(row);
        let records = rows.map(|row| Record::new(row["symbol"].as_str().unwrap(), row.to_string()));
        broker.produce(topic, &records.collect::<Vec<_>>()).unwrap();
        next += 20;
        std::thread::sleep(Duration::from_millis(15));
    }
    next
}

/// Pushes until nobody answers; the numbers that were acknowledged as committed. Numbers are not
/// used twice.
async fn push(address: &str, next: &AtomicI64) -> Vec<i64> {
    let mut acknowledged = vec![];
    loop {
        let first = next.fetch_add(ROWS, Ordering::Relaxed);
        let rows: Vec<Value> = (first..first + ROWS).map(row).collect();
        let answer = post(address, "ingest/pushed?wait=committed", &json!(rows)).await;
        match answer {
            Some((200, _)) => acknowledged.extend(first..first + ROWS),
            // The job is not up yet, or no more.
            Some((404 | 503, _)) => sleep(Duration::from_millis(10)).await,
            Some((status, text)) => assert_eq!(status, 202, "{text}"),
            None => return acknowledged,
        }
    }
}

/// Follows until the job has stopped, or the server is killed.
async fn follow(reader: &mut Reader, address: &str) {
    while !reader.follow(address).await {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_produced_and_pushed_is_at_the_client_once_across_kills() {
    let broker = Broker::shared().unwrap();
    let topic = broker.unique("trades");
    broker.create_topic(&topic, 3).unwrap();
    let (place, end) = (Place::new(), Arc::new(AtomicBool::new(false)));
    let producing = tokio::task::spawn_blocking({
        let (topic, end) = (topic.clone(), Arc::clone(&end));
        move || produce(broker, &topic, &end)
    });
    let (mut reader, next) = (Reader::default(), Arc::new(AtomicI64::new(PUSHED)));
    let mut acknowledged = vec![];
    for (round, life) in LIVES.into_iter().enumerate() {
        let (running, address) = start(&place, round);
        if round == 0 {
            submit(&address, &job(broker, &topic)).await;
        }
        let pushing = tokio::spawn({
            let (address, next) = (address.clone(), Arc::clone(&next));
            async move { push(&address, &next).await }
        });
        let until = Instant::now() + Duration::from_millis(life);
        let _ = timeout_at(until, follow(&mut reader, &address)).await;
        running.kill();
        acknowledged.extend(pushing.await.unwrap());
    }
    end.store(true, Ordering::Relaxed);
    let produced = producing.await.unwrap();
    assert!(produced > 0 && !acknowledged.is_empty(), "{produced}");

    let (running, address) = start(&place, LIVES.len());
    let all = async {
        let all = usize::try_from(produced).unwrap();
        let query =
            json!({"sql": format!("SELECT count(*) AS n FROM prices WHERE trade_id < {PUSHED}")});
        loop {
            if let Some((200, text)) = post(&address, "query", &query).await {
                let answer: Value = serde_json::from_str(&text).unwrap();
                if answer["rows"][0]["n"].as_u64() == Some(all as u64) {
                    break;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        // Everything is read, which the source says too, sooner or later.
        let lag = "millstream_table_lag_records{job=\"prices\",table=\"produced\"} 0\n";
        while !get(&address, "/metrics").await.contains(lag) {
            sleep(Duration::from_millis(50)).await;
        }
        let (status, text) = post(&address, "jobs/prices/stop", &json!({}))
            .await
            .unwrap();
        assert_eq!(status, 202, "{text}");
    };
    let both = async { tokio::join!(follow(&mut reader, &address), all) };
    timeout(PATIENCE, both).await.expect("everything comes");
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");

    let committed = committed(&place);
    assert_eq!(reader.numbers(), committed);
    let committed: BTreeSet<i64> = committed.into_iter().collect();
    let lost = (0..produced).chain(acknowledged);
    let lost: Vec<i64> = lost.filter(|id| !committed.contains(id)).collect();
    assert!(lost.is_empty(), "not committed: {lost:?}");
}
