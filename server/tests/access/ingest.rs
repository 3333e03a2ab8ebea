//! Rows that are pushed over HTTP.

use std::io::Write;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::Desk;

/// A job that is pushed rows, and one that is not.
pub(crate) const JOB: &str = "
CREATE TABLE ticks (symbol STRING, n BIGINT NOT NULL) WITH ('connector' = 'http', 'mode' = 'push');
CREATE TABLE other (symbol STRING) WITH ('connector' = 'market', 'rate' = '10');
CREATE TABLE seen (symbol STRING, n BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE others (symbol STRING) WITH ('connector' = 'blackhole');
SET 'commit.interval' = '20 ms';
INSERT INTO seen SELECT symbol, n FROM ticks;
INSERT INTO others SELECT symbol FROM other;
";

const PATH: &str = "/api/v1/ingest/ticks";
const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn rows(numbers: std::ops::Range<u64>) -> String {
    let lines = numbers.map(|n| format!("{{\"symbol\": \"A\", \"n\": {n}}}\n"));
    lines.collect()
}

fn table<'a>(job: &'a Value, name: &str) -> &'a Value {
    let mut tables = job["tables"].as_array().unwrap().iter();
    tables.find(|table| table["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_every_form_and_are_counted() {
    let desk = Desk::new(|_| {}).await;
    desk.submit("j", JOB).await;
    let push = async |path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        desk.ask("POST", path, headers, Body::from(body)).await
    };
    // Nothing is committed as soon as it has come.
    let committed = format!("{PATH}?wait=committed");
    let nothing = push(&committed, &[JSON], b"[]".to_vec()).await.json(200);
    assert_eq!(nothing["accepted"], 0, "{nothing}");
    assert!(nothing["epoch"].is_u64(), "{nothing}");
    let array = b"[{\"n\": 1}, {\"n\": 2}]".to_vec();
    let taken = push(PATH, &[JSON], array).await.json(202);
    assert_eq!(taken, json!({"accepted": 2, "rejected": 0}));
    push(PATH, &[], b"{\"n\": 3}".to_vec()).await.json(202);
    push(PATH, &[LINES], rows(4..6).into_bytes())
        .await
        .json(202);
    push(PATH, &[LINES, GZIP], gzip(&rows(6..1_000)))
        .await
        .json(202);
    push(
        "/api/v1/ingest/j.ticks",
        &[LINES],
        rows(1_000..1_001).into_bytes(),
    )
    .await
    .json(202);
    push(PATH, &[JSON], b"[]".to_vec()).await.json(202);
    let body = b"{\"n\": 1001}\n{\"n\": \"x\"}\n\n{\"symbol\": \"A\"}\nnonsense".to_vec();
    let told = push(&format!("{PATH}?wait=committed"), &[LINES], body)
        .await
        .json(200);
    assert_eq!(
        (&told["accepted"], &told["rejected"]),
        (&json!(1), &json!(3))
    );
    let first = told["errors"][0]["message"].as_str().unwrap();
    assert!(
        first.starts_with("row 1: ") && first.contains('n'),
        "{told}"
    );
    assert!(told["epoch"].as_u64() > Some(0), "{told}");
    // What is committed has arrived.
    let job = desk.get("/api/v1/jobs/j").await.json(200);
    let ticks = table(&job, "ticks");
    assert_eq!(
        (&ticks["arrived"], &ticks["dead"]),
        (&json!(1_004), &json!(3)),
        "{ticks}"
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_as_a_whole() {
    let desk = Desk::new(|config| config.max_body = 10_000).await;
    desk.submit("j", JOB).await;
    let push = async |path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        desk.ask("POST", path, headers, Body::from(body)).await
    };
    let one = || b"{\"n\": 1}".to_vec();
    for body in ["", "[", "[{\"n\": 1}", "[1,]", "nonsense", "\u{0}"] {
        push(PATH, &[JSON], body.as_bytes().to_vec())
            .await
            .problem(400);
    }
    push(PATH, &[JSON], vec![b'['; 9_000]).await.problem(400);
    push(PATH, &[JSON], vec![b' '; 10_001]).await.problem(413);
    push(PATH, &[LINES, GZIP], gzip(&" ".repeat(10_001)))
        .await
        .problem(413);
    push(PATH, &[LINES, GZIP], one()).await.problem(400);
    push(PATH, &[LINES, ("content-encoding", "br")], one())
        .await
        .problem(415);
    push(&format!("{PATH}?wait=forever"), &[JSON], one())
        .await
        .problem(400);
    push(&format!("{PATH}?nine=1"), &[JSON], one())
        .await
        .problem(400);
    let near = push("/api/v1/ingest/tick", &[JSON], one())
        .await
        .problem(404);
    assert!(near.contains("did you mean 'ticks'?"), "{near}");
    let read = push("/api/v1/ingest/other", &[JSON], one())
        .await
        .problem(409);
    assert!(read.contains("the connector 'market'"), "{read}");
    push("/api/v1/ingest/%ff", &[JSON], one())
        .await
        .problem(400);
    desk.submit("k", JOB).await;
    let both = push(PATH, &[JSON], one()).await.problem(409);
    assert!(both.contains("'j.ticks' or 'k.ticks'"), "{both}");
    // Nothing of all that has arrived.
    let job = desk.get("/api/v1/jobs/j").await.json(200);
    assert_eq!(table(&job, "ticks")["arrived"], 0);
    desk.post("/api/v1/jobs/j/stop", &Value::Null)
        .await
        .json(202);
    desk.post("/api/v1/jobs/k/stop", &Value::Null)
        .await
        .json(202);
    for job in ["j", "k"] {
        desk.wait(job, |job| job["state"] == "stopped").await;
    }
    push(PATH, &[JSON], one()).await.problem(404);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_for_a_job_that_is_behind_and_then_are_refused() {
    let desk = Desk::new(|_| {}).await;
    let slow = JOB.replace("'mode' = 'push'", "'mode' = 'push', 'queue' = '1 kB'");
    desk.submit("j", &slow).await;
    let body = rows(0..200);
    let mut told = vec![];
    for _ in 0..50 {
        let answers = (0..8).map(|_| desk.ask("POST", PATH, &[LINES], body.clone()));
        for answer in futures::future::join_all(answers).await {
            assert!([202, 429].contains(&answer.status), "{}", answer.text);
            if answer.status == 429 {
                assert_eq!(answer.header("retry-after"), "1");
            }
            told.push(answer.status);
        }
    }
    let accepted = told.iter().filter(|status| **status == 202).count() as u64;
    desk.wait("j", |job| table(job, "ticks")["arrived"] == accepted * 200)
        .await;
    desk.close().await;
}

#[test]
fn a_run_without_a_server_refuses_a_table_that_is_pushed() {
    let place = crate::support::Place::new();
    place.write("job.sql", JOB);
    place.run(&["check", "job.sql"]).well();
    let said = place.run(&["run", "job.sql"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(
        said.err.contains("submit the job to `millstream serve`"),
        "{}",
        said.err
    );
}
