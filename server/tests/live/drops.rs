//! A thousand connections that break anywhere: the rows that arrive have no gap and none comes
//! twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{Epoch, Tap};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::server::{Client, Server};

const DROPS: usize = 1_000;
const KEYS: [&str; 3] = ["AAPL", "MSFT", "TSLA"];

/// Numbers of a frame's rows.
fn numbers(frame: &Value) -> Vec<i64> {
    let rows = frame["rows"].as_array().unwrap();
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

/// What a reader has, through all its connections.
#[derive(Default)]
struct Reader {
    cursor: Option<String>,
    rows: Vec<i64>,
}

impl Reader {
    async fn connect(&self, server: &Server) -> Client {
        let mut client = server.client().await;
        let mut frame =
            json!({"type": "subscribe", "id": "a", "stream": "quotes", "where": "n % 3 > 0"});
        if let Some(cursor) = &self.cursor {
            frame["from"] = json!(cursor);
        }
        client.say(frame).await;
        client.expect("subscribed").await;
        client
    }

    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("snapshot") => assert!(self.cursor.is_none(), "the rows are in the ring: {frame}"),
            Some("update") => {
                assert_eq!(frame["after"].as_str(), self.cursor.as_deref(), "{frame}");
                assert!(frame.get("conflated").is_none());
                self.rows.extend(numbers(frame));
            }
            _ => panic!("{frame}"),
        }
        self.cursor = Some(frame["cursor"].as_str().unwrap().to_owned());
    }
}

/// Rows 0, 1, 2, … in batches of all sizes, until it is told to end; says how many.
async fn publish(server: Arc<Server>, stop: Arc<AtomicBool>) -> i64 {
    let mut random = rand::rngs::SmallRng::seed_from_u64(7);
    let (mut next, mut epoch) = (0, 1);
    while !stop.load(Ordering::Relaxed) {
        let count = random.random_range(1..9);
        let rows: Vec<(&str, i64)> = (next..next + count)
            .map(|n| (KEYS[n as usize % KEYS.len()], n))
            .collect();
        server.publish(epoch, &rows);
        next += count;
        if random.random_range(0..8) == 0 {
            server.hub.committed(Epoch(epoch));
            epoch += 1;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_that_break_leave_no_gap_and_no_row_twice() {
    let server = Arc::new(Server::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut reader = Reader::default();
    // The reader is there before the first row: its rows are all that there are.
    let mut first = reader.connect(&server).await;
    reader.take(&first.expect("snapshot").await);
    drop(first);
    // One that looks at the same and does not read: the condition is compiled once.
    let idle = reader.connect(&server).await;
    let publishing = tokio::spawn(publish(Arc::clone(&server), Arc::clone(&stop)));
    let mut random = rand::rngs::SmallRng::seed_from_u64(11);
    for _ in 0..DROPS {
        let mut client = reader.connect(&server).await;
        for _ in 0..random.random_range(0..3) {
            reader.take(&client.next().await.unwrap());
        }
        match random.random_range(0..3) {
            0 => client.stream.close(None).await.unwrap(),
            1 => client.say(json!({"type": "unsubscribe", "id": "a"})).await,
            _ => {}
        }
        drop(client);
    }
    stop.store(true, Ordering::Relaxed);
    let published = publishing.await.unwrap();
    let expected: Vec<i64> = (0..published).filter(|n| n % 3 > 0).collect();
    let mut client = reader.connect(&server).await;
    while reader.rows.len() < expected.len() {
        reader.take(&client.next().await.unwrap());
    }
    assert_eq!(reader.rows, expected);
    drop((client, idle));
    while server.hub.counts() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
