//! Dead rows that are given back.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use serde_json::{Value, json};

use super::Desk;

/// Rows that are more than two seconds ahead are dead, for a while.
const JOB: &str = "
CREATE TABLE ticks (n BIGINT NOT NULL, ts TIMESTAMP(9), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR)
  WITH ('connector' = 'http', 'mode' = 'push', 'watermark.max-future-skew' = '2 s',
        'json.timestamp-format.standard' = 'epoch-millis');
CREATE TABLE seen (n BIGINT) WITH ('connector' = 'blackhole');
SET 'commit.interval' = '20 ms';
INSERT INTO seen SELECT n FROM ticks;
";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn push(desk: &Desk, body: String) -> Value {
    let path = "/api/v1/ingest/ticks?wait=committed";
    let headers = [("content-type", "application/x-ndjson")];
    desk.ask("POST", path, &headers, Body::from(body))
        .await
        .json(200)
}

async fn redrive(desk: &Desk, wish: Value) -> super::Answer {
    let headers = [("content-type", "application/json")];
    let body = Body::from(wish.to_string());
    desk.ask("POST", "/api/v1/jobs/j/redrive", &headers, body)
        .await
}

async fn counts(desk: &Desk) -> [u64; 4] {
    let job = desk.get("/api/v1/jobs/j").await.json(200);
    let table = &job["tables"][0];
    ["arrived", "accepted", "future", "dead"].map(|name| table[name].as_u64().unwrap_or(u64::MAX))
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_come_back_once() {
    let desk = Desk::new(|_| {}).await;
    desk.submit("j", JOB).await;
    let soon = now() + 4_000;
    push(
        &desk,
        format!(
            "{{\"n\": 1, \"ts\": {}}}\n{{\"n\": 2, \"ts\": {soon}}}",
            now()
        ),
    )
    .await;
    push(
        &desk,
        format!("{{\"n\": 3, \"ts\": {soon}}}\n{{\"n\": \"x\"}}"),
    )
    .await;
    let told = redrive(&desk, json!({"reason": "future", "until": "1999-01-01"}))
        .await
        .json(200);
    assert_eq!(
        (&told["matched"], &told["redriven"]),
        (&json!(0), &json!(0)),
        "{told}"
    );
    while now() < soon {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let one = json!({"where": "CAST(payload AS STRING) LIKE '%2%' AND stage = 'intake' AND \"offset\" = 1"});
    let told = redrive(&desk, one).await.json(200);
    assert_eq!(told["redriven"], 1, "{told}");
    let told = redrive(&desk, json!({"table": "ticks"})).await.json(200);
    let (matched, came, known) = (&told["matched"], &told["redriven"], &told["known"]);
    assert_eq!(
        (matched, came, known),
        (&json!(3), &json!(1), &json!(1)),
        "{told}"
    );
    assert_eq!(told["unreadable"], 1, "{told}");
    assert!(told["epoch"].as_u64() > Some(0), "{told}");
    let told = redrive(&desk, json!({})).await.json(200);
    assert_eq!(
        (&told["redriven"], &told["known"]),
        (&json!(0), &json!(2)),
        "{told}"
    );
    let [arrived, accepted, ..] = counts(&desk).await;
    assert_eq!((arrived, accepted), (6, 3));
    // Also after a stop and a start, which moves them into files.
    desk.ask("POST", "/api/v1/jobs/j/stop", &[], Body::empty())
        .await
        .json(202);
    let refused = loop {
        let answer = redrive(&desk, json!({})).await;
        if answer.status == 409 {
            break answer.problem(409);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(refused.contains("does not run"), "{refused}");
    desk.ask("POST", "/api/v1/jobs/j/start", &[], Body::empty())
        .await
        .json(202);
    let told = redrive(&desk, json!({})).await.json(200);
    assert_eq!(
        (&told["redriven"], &told["known"]),
        (&json!(0), &json!(2)),
        "{told}"
    );
    let told = redrive(&desk, json!({"again": true})).await.json(200);
    assert_eq!(
        (&told["redriven"], &told["known"]),
        (&json!(2), &json!(0)),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wishes_are_refused() {
    let desk = Desk::new(|_| {}).await;
    desk.submit("j", super::ingest::JOB).await;
    for (wish, part) in [
        (json!({"table": "ticks", "where": "nothing = 1"}), "nothing"),
        (json!({"table": "ticks", "until": "soon"}), "instant"),
        (json!({"tables": "ticks"}), "tables"),
        (json!({}), "say which 'table'"),
    ] {
        let answer = redrive(&desk, wish).await;
        assert!(answer.text.contains(part), "{}", answer.text);
        answer.problem(400);
    }
    let unknown = redrive(&desk, json!({"table": "none"})).await.problem(404);
    assert!(unknown.contains("reads no table 'none'"), "{unknown}");
}
