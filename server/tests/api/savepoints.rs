//! States that are kept by name, and starts from them.

use serde_json::{Value, json};

use super::Api;

const JOB: &str = "
CREATE TABLE trades (symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
                     WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'market', 'rate' = '2000');
CREATE TABLE means (symbol STRING, mean DOUBLE) WITH ('connector' = 'blackhole');
SET 'commit.interval' = '50 ms';
INSERT INTO means SELECT symbol, AVG(price) OVER (PARTITION BY symbol ORDER BY ts ROWS 9 PRECEDING)
FROM trades;
";

fn arrived(job: &Value) -> u64 {
    job["tables"][0]["arrived"].as_u64().unwrap()
}

fn detail(problem: &Value) -> String {
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_kept_while_it_runs_and_starts_from_there_with_another_text() {
    let api = Api::new().await;
    let id = api.submit("means", JOB).await;
    let place = format!("/api/v1/jobs/{id}");
    let (keep, kept) = (format!("{place}/savepoint"), format!("{place}/savepoints"));
    let running = api.wait(&id, |job| arrived(job) > 1_000).await;
    let savepoint = api.post(&keep, &json!({"name": "one"})).await.json(201);
    assert_eq!(savepoint["name"], "one");
    assert!(savepoint["epoch"].as_u64() >= running["committed_epoch"].as_u64());
    assert!(savepoint["bytes"].as_u64() > Some(0));
    let again = api.post(&keep, &json!({"name": "one"})).await.problem(409);
    assert!(detail(&again).contains("already"), "{again}");
    api.post(&keep, &json!({"name": "../one"}))
        .await
        .problem(400);
    api.post(&keep, &json!({})).await.problem(400);
    let listed = api.get(&kept).await.json(200);
    assert_eq!(listed["items"][0]["name"], "one");
    assert!(
        listed["items"][0]["stored_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );

    api.post(&format!("{place}/stop"), &Value::Null)
        .await
        .json(202);
    let stopped = api.wait(&id, |job| job["state"] == "stopped").await;
    api.post(&keep, &json!({"name": "two"})).await.json(201);
    assert_eq!(
        api.get(&kept).await.json(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // What cannot be is told, and the job stays as it is.
    let start = format!("{place}/start");
    let wider = JOB.replace("ROWS 9", "ROWS 19");
    let more = JOB.replace("FROM trades;", "FROM trades WHERE price > 0;");
    let wrong = [
        (
            json!({"from": {"savepoint": "three"}}),
            404,
            "the job has one, two",
        ),
        (
            json!({"from": {"savepoint": "one"}, "sql": wider}),
            400,
            "rows 19 preceding",
        ),
        (
            json!({"from": {"savepoint": "one"}, "sql": more}),
            400,
            "Order: ts",
        ),
        (
            json!({"from": {"savepoint": "one"}, "sql": "SELECT"}),
            400,
            "",
        ),
        (json!({"from": "state", "sql": wider}), 400, "savepoint"),
        (
            json!({"from": {"savepoint": "one"}, "options": {}}),
            400,
            "'sql'",
        ),
        (json!({"allow_dropped_state": true}), 400, "savepoint"),
    ];
    for (body, status, part) in wrong {
        let problem = api.post(&start, &body).await.problem(status);
        assert!(detail(&problem).contains(part), "{body}: {problem}");
        let job = api.get(&place).await.json(200);
        let sql = job["sql"].as_str().unwrap();
        assert_eq!((&job["state"], sql.trim()), (&json!("stopped"), JOB.trim()));
    }

    // Another step more, and a table that is written by it; the old ones go on as if never stopped.
    let changed = format!(
        "{JOB}CREATE TABLE dear (symbol STRING) WITH ('connector' = 'blackhole');
         INSERT INTO dear SELECT symbol FROM trades WHERE price > 0;"
    );
    let body = json!({"from": {"savepoint": "one"}, "sql": changed});
    api.post(&start, &body).await.json(202);
    let before = arrived(&stopped);
    let on = api
        .wait(&id, |job| {
            job["state"] == "running" && arrived(job) > before
        })
        .await;
    assert_eq!(on["sql"].as_str().unwrap().trim(), changed.trim());
    let outputs = on["outputs"].as_array().unwrap();
    let rows = |name: &str| {
        let output = outputs
            .iter()
            .find(|output| output["name"] == name)
            .unwrap();
        output["rows"].as_u64().unwrap()
    };
    assert!(rows("dear") > 0 && rows("dear") < arrived(&on), "{on}");
    assert!(rows("means") > rows("dear"), "{on}");

    // A state may be given up.
    api.post(&format!("{place}/stop"), &Value::Null)
        .await
        .json(202);
    api.wait(&id, |job| job["state"] == "stopped").await;
    let body = json!({"from": {"savepoint": "one"}, "sql": wider, "allow_dropped_state": true});
    api.post(&start, &body).await.json(202);
    api.wait(&id, |job| job["state"] == "running").await;

    assert_eq!(api.delete(&format!("{kept}/two")).await.status, 204);
    api.delete(&format!("{kept}/two")).await.problem(404);
    api.close().await;
}
