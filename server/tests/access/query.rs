//! Queries over what jobs have written.

use serde_json::{Value, json};

use super::Desk;

const PATH: &str = "/api/v1/query";

fn job(folder: &str) -> String {
    format!(
        "CREATE TABLE ticks (symbol STRING, n BIGINT) WITH ('connector' = 'http', 'mode' = 'push');
         CREATE TABLE copies (symbol STRING, n BIGINT, at TIMESTAMP(9))
           WITH ('connector' = 'parquet', 'path' = '{folder}', 'rolling.interval' = '100 ms');
         CREATE TABLE gone (n BIGINT) WITH ('connector' = 'blackhole');
         SET 'commit.interval' = '20 ms';
         INSERT INTO copies SELECT symbol, n, TIMESTAMP '2024-01-02 03:04:05.000000006' FROM ticks;
         INSERT INTO gone SELECT n FROM ticks;"
    )
}

async fn pushed() -> Desk {
    let desk = Desk::new(|config| config.query_memory = 16 << 20).await;
    let folder = desk.place.path("copies");
    desk.submit("j", &job(folder.to_str().unwrap())).await;
    let rows = json!([{"symbol": "A", "n": 1}, {"symbol": "B", "n": 2}, {"symbol": null, "n": 3}]);
    desk.post("/api/v1/ingest/ticks?wait=committed", &rows)
        .await
        .json(200);
    let bad = json!([{"n": "x"}]);
    desk.post("/api/v1/ingest/ticks?wait=committed", &bad)
        .await
        .json(200);
    desk
}

/// Asks until the rows are published.
async fn until(desk: &Desk, sql: &str, done: impl Fn(&Value) -> bool) -> Value {
    let since = std::time::Instant::now();
    loop {
        let found = desk.post(PATH, &json!({"sql": sql})).await.json(200);
        if done(&found) {
            return found;
        }
        assert!(
            since.elapsed() < crate::support::PATIENCE,
            "it takes too long: {found}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_jobs_are_read_running_and_stopped() {
    let desk = pushed().await;
    let sql = "SELECT symbol, n, at FROM copies ORDER BY n";
    let three = |found: &Value| found["rows"].as_array().unwrap().len() == 3;
    let found = until(&desk, sql, three).await;
    let columns = json!([
        {"name": "symbol", "type": "STRING"},
        {"name": "n", "type": "BIGINT"},
        {"name": "at", "type": "TIMESTAMP(9)"},
    ]);
    assert_eq!(found["columns"], columns);
    let at = "2024-01-02T03:04:05.000000006Z";
    assert_eq!(found["rows"][0], json!({"symbol": "A", "n": 1, "at": at}));
    assert_eq!(found["rows"][2]["symbol"], Value::Null);
    assert_eq!(found["truncated"], false);
    assert!(found["cut"]["copies"].as_u64() > Some(0), "{found}");
    let one = json!({"sql": sql, "limit": 1});
    let found = desk.post(PATH, &one).await.json(200);
    assert_eq!(found["rows"].as_array().unwrap().len(), 1);
    assert_eq!(found["truncated"], true);

    desk.post("/api/v1/jobs/j/stop", &Value::Null)
        .await
        .json(202);
    desk.wait("j", |job| job["state"] == "stopped").await;
    let sql = "SELECT (SELECT count(*) FROM copies) AS c, count(*) AS d, min(reason) AS why \
               FROM \"ticks$dead\"";
    let found = desk.post(PATH, &json!({"sql": sql})).await.json(200);
    let row = &found["rows"][0];
    assert_eq!((&row["c"], &row["d"]), (&json!(3), &json!(1)), "{found}");
    assert!(row["why"].as_str().unwrap().contains('n'), "{found}");
    assert_eq!(found["cut"].as_object().unwrap().len(), 2, "{found}");
    let late = desk
        .post(PATH, &json!({"sql": "SELECT * FROM \"ticks$late\""}))
        .await;
    assert_eq!(late.json(200)["rows"], json!([]));
    let none = desk
        .post(PATH, &json!({"sql": "SELECT 1 AS one"}))
        .await
        .json(200);
    assert_eq!(
        (&none["rows"], &none["cut"]),
        (&json!([{"one": 1}]), &json!({}))
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_queries_are_told_and_nothing_else_is_in_reach() {
    let desk = pushed().await;
    let refused = async |sql: &str| desk.post(PATH, &json!({"sql": sql})).await.problem(400);
    for sql in [
        "",
        ";",
        "nonsense",
        "SELECT",
        "SELECT 1; SELECT 2",
        "SELECT * FROM",
        "SELECT nine FROM copies",
        "SELECT nine(n) FROM copies",
        "SELECT n, n AS n FROM copies",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "SELECT * FROM information_schema.tables",
        "SELECT * INTO x FROM copies",
        "INSERT INTO copies VALUES ('x', 1, NULL)",
        "CREATE TABLE x (a INT)",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY copies TO '/tmp/x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "DROP TABLE copies",
        "SELECT 1 / 0",
        "SELECT CAST('x' AS INT)",
        "\u{0}",
    ] {
        refused(sql).await;
    }
    let near = refused("SELECT * FROM copiez").await;
    assert!(near.contains("no table is called 'copiez'"), "{near}");
    // What goes elsewhere is there while its job runs: the newest rows.
    let gone = json!({"sql": "SELECT count(*) AS n FROM gone"});
    let live = desk.post(PATH, &gone).await.json(200);
    assert_eq!(live["rows"], json!([{"n": 3}]), "{live}");
    for body in [
        json!({}),
        json!({"sql": 1}),
        json!({"sql": "SELECT 1", "limit": 0}),
        json!({"sql": "SELECT 1", "limit": 100_001}),
        json!({"sql": "SELECT 1", "limit": -1}),
        json!({"sql": "SELECT 1", "timeout_ms": 0}),
        json!({"sql": "SELECT 1", "timeout_ms": 300_001}),
        json!({"sql": "SELECT 1", "more": 1}),
    ] {
        desk.post(PATH, &body).await.problem(400);
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_much_is_ended() {
    let desk = pushed().await;
    let sql = "SELECT count(*) AS n FROM generate_series(1, 1000000000) a, \
               generate_series(1, 1000000000) b WHERE a.value % 7 = b.value % 11";
    let told = desk
        .post(PATH, &json!({"sql": sql, "timeout_ms": 200}))
        .await
        .problem(422);
    assert!(
        told.contains("longer than 200 ms") || told.contains("memory"),
        "{told}"
    );
    let sql = "SELECT value, count(*) AS n FROM generate_series(1, 5000000) GROUP BY value \
               ORDER BY n, value";
    let told = desk
        .post(PATH, &json!({"sql": sql, "timeout_ms": 300_000}))
        .await
        .problem(422);
    assert!(told.contains("more than 16 MB"), "{told}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_jobs_have_is_told_apart() {
    let desk = pushed().await;
    let folder = desk.place.path("others");
    desk.submit("k", &job(folder.to_str().unwrap())).await;
    let told = desk
        .post(PATH, &json!({"sql": "SELECT * FROM copies"}))
        .await
        .problem(400);
    assert!(told.contains("\"j.copies\" or \"k.copies\""), "{told}");
    let sql = "SELECT count(*) AS n FROM \"k.copies\"";
    let found = desk.post(PATH, &json!({"sql": sql})).await.json(200);
    assert_eq!(found["rows"], json!([{"n": 0}]));
    let sql = "SELECT count(*) AS n FROM \"j.copies\"";
    until(&desk, sql, |found| found["rows"][0]["n"] == 3).await;
    desk.close().await;
}
