//! A reader that falls behind is told the newest of each key, and nobody waits for it.

use std::time::{Duration, Instant};

use engine::{Epoch, Tap};
use serde_json::json;
use server::live::{Bounds, Limits, Who};

use super::server::{PATIENCE, Server, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_conflated_while_another_gets_every_row() {
    let limits = Limits {
        queue_bytes: 64 * 1024,
        ring: Bounds {
            rows: 1 << 20,
            bytes: 1 << 30,
        },
        ..Limits::default()
    };
    let server = Server::start_with(limits, Who::Anybody).await;
    let (mut slow, mut fast) = (server.client().await, server.client().await);
    slow.subscribe().await;
    fast.subscribe().await;
    let text = "x".repeat(500);
    let keys = ["A", "B", "C", "D"];
    let (batches, size) = (400, 100);
    // The sockets of this machine take some megabytes before they are full.
    let started = Instant::now();
    let mut seen = 0;
    for batch in 0..batches {
        let numbers = (batch * size..(batch + 1) * size).map(|n| (keys[n as usize % 4], n));
        server.hub.rows(
            Epoch(batch as u64 + 1),
            &rows(&numbers.collect::<Vec<_>>(), &text),
        );
        server.hub.committed(Epoch(batch as u64 + 1));
        while seen < (batch + 1) * size {
            let update = fast.expect("update").await;
            assert!(update.get("conflated").is_none());
            for row in update["rows"].as_array().unwrap() {
                assert_eq!(row["n"], seen);
                seen += 1;
            }
        }
    }
    let fast_took = started.elapsed();
    let (mut cursor, mut known, mut told, mut left_out) = (None, [0; 4], 0, 0);
    let end = batches * size;
    while known.iter().max() != Some(&(end - 1)) {
        let update = slow.expect("update").await;
        if let Some(cursor) = &cursor {
            assert_eq!(&update["after"], cursor);
        }
        cursor = Some(update["cursor"].clone());
        for row in update["rows"].as_array().unwrap() {
            let n = row["n"].as_i64().unwrap();
            known[n as usize % 4] = n;
            told += 1;
        }
        left_out += update["conflated"].as_i64().unwrap_or_default();
    }
    assert_eq!(
        known,
        [end - 4, end - 3, end - 2, end - 1],
        "the newest of every key"
    );
    assert_eq!(told + left_out, end, "each row is told or counted");
    assert!(
        left_out > 0,
        "the sockets took {told} rows: the reader was never slow"
    );
    assert!(fast_took < PATIENCE, "{fast_took:?}");
    // It follows again.
    server.hub.rows(Epoch(9_999), &rows(&[("A", 1)], "last"));
    let update = slow.expect("update").await;
    assert_eq!(Some(&update["after"]), cursor.as_ref());
    assert_eq!(
        update["rows"],
        json!([{"symbol": "A", "n": 1, "text": "last"}])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_catch_up_in_the_ring_is_told_the_newest_rows_again() {
    let limits = Limits {
        queue_bytes: 16 * 1024,
        ring: Bounds {
            rows: 200,
            bytes: 1 << 20,
        },
        ..Limits::default()
    };
    let server = Server::start_with(limits, Who::Anybody).await;
    let mut slow = server.client().await;
    slow.subscribe().await;
    let text = "x".repeat(2_000);
    let end = 30_000;
    for start in (0..end).step_by(100) {
        let numbers = (start..start + 100).map(|n| (["A", "B"][n as usize % 2], n));
        server
            .hub
            .rows(Epoch(1), &rows(&numbers.collect::<Vec<_>>(), &text));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut was_reset = false;
    loop {
        let frame = slow.next().await.unwrap();
        match frame["type"].as_str().unwrap() {
            "reset" => {
                assert_eq!(frame["reason"], "moved-on");
                was_reset = true;
            }
            "snapshot" => {
                assert!(was_reset, "{frame}");
                let newest: Vec<_> = frame["rows"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["n"].clone())
                    .collect();
                if newest == [json!(end - 2), json!(end - 1)] {
                    break;
                }
            }
            "update" => {
                let last = frame["rows"]
                    .as_array()
                    .unwrap()
                    .last()
                    .map(|row| row["n"].clone());
                if last == Some(json!(end - 1)) {
                    break;
                }
            }
            other => panic!("{other}"),
        }
    }
    assert!(was_reset);
}
