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

fn written(job: &Value) -> u64 {
    job["outputs"][0]["rows"].as_u64().unwrap()
}

async fn stop(api: &Api, id: &str) -> Value {
    let path = format!("/api/v1/jobs/{id}/stop");
    api.post(&path, &Value::Null).await.json(202);
    api.wait(id, |job| job["state"] == "stopped").await
}

/// A job of which savepoint `one` was taken while it ran, and its answer; it rests.
async fn kept(api: &Api) -> (String, Value, Value) {
    let id = api.submit("means", JOB).await;
    let running = api.wait(&id, |job| written(job) > 100).await;
    let keep = format!("/api/v1/jobs/{id}/savepoint");
    let savepoint = api.post(&keep, &json!({"name": "one"})).await.json(201);
    assert!(savepoint["epoch"].as_u64() >= running["committed_epoch"].as_u64());
    let stopped = stop(api, &id).await;
    (id, savepoint, stopped)
}

async fn start(api: &Api, id: &str, wish: Value) {
    let path = format!("/api/v1/jobs/{id}/start");
    api.post(&path, &wish).await.json(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_kept_by_name_while_it_runs_and_while_it_rests() {
    let api = Api::new().await;
    let (id, savepoint, _) = kept(&api).await;
    let (keep, kept) = (
        format!("/api/v1/jobs/{id}/savepoint"),
        format!("/api/v1/jobs/{id}/savepoints"),
    );
    assert_eq!(savepoint["name"], "one");
    assert!(savepoint["bytes"].as_u64() > Some(0));
    let again = api.post(&keep, &json!({"name": "one"})).await.problem(409);
    assert!(detail(&again).contains("already"), "{again}");
    for wrong in [json!({"name": "../one"}), json!({"name": ""}), json!({})] {
        api.post(&keep, &wrong).await.problem(400);
    }
    api.post(&keep, &json!({"name": "two"})).await.json(201);
    let listed = api.get(&kept).await.json(200);
    let items = listed["items"].as_array().unwrap();
    let names: Vec<&Value> = items.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(items[0]["stored_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(api.delete(&format!("{kept}/two")).await.status, 204);
    api.delete(&format!("{kept}/two")).await.problem(404);
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_savepoint_has_no_place_for_is_told_and_the_job_stays_as_it_is() {
    let api = Api::new().await;
    let (id, ..) = kept(&api).await;
    let place = format!("/api/v1/jobs/{id}");
    let wider = JOB.replace("ROWS 9", "ROWS 19");
    let fewer = JOB.replace("FROM trades;", "FROM trades WHERE price > 0;");
    let one = json!({"savepoint": "one"});
    let wrong = [
        (
            json!({"from": {"savepoint": "three"}}),
            404,
            "the job has one",
        ),
        (json!({"from": one, "sql": wider}), 400, "rows 19 preceding"),
        (json!({"from": one, "sql": fewer}), 400, "Order: ts"),
        (json!({"from": one, "sql": "SELECT"}), 400, ""),
        (json!({"from": "state", "sql": wider}), 400, "savepoint"),
        (json!({"from": one, "options": {}}), 400, "'sql'"),
        (json!({"allow_dropped_state": true}), 400, "savepoint"),
    ];
    for (body, status, part) in wrong {
        let answer = api.post(&format!("{place}/start"), &body).await;
        let problem = answer.problem(status);
        assert!(detail(&problem).contains(part), "{body}: {problem}");
        let job = api.get(&place).await.json(200);
        let sql = job["sql"].as_str().unwrap();
        assert_eq!((&job["state"], sql.trim()), (&json!("stopped"), JOB.trim()));
    }
    // A state may be given up.
    let wish = json!({"from": one, "sql": wider, "allow_dropped_state": true});
    start(&api, &id, wish).await;
    api.wait(&id, |job| job["state"] == "running").await;
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_starts_from_a_savepoint_with_another_text() {
    let api = Api::new().await;
    let (id, _, stopped) = kept(&api).await;
    let one = json!({"savepoint": "one"});
    // Another step more, and a table that is written by it; the old ones go on as if never stopped.
    let changed = format!(
        "{JOB}CREATE TABLE dear (symbol STRING) WITH ('connector' = 'blackhole');
         INSERT INTO dear SELECT symbol FROM trades WHERE price > 0;"
    );
    start(&api, &id, json!({"from": one, "sql": changed})).await;
    let goes_on = |job: &Value| job["state"] == "running" && arrived(job) > arrived(&stopped);
    let on = api.wait(&id, goes_on).await;
    assert_eq!(on["sql"].as_str().unwrap().trim(), changed.trim());
    let mut outputs = on["outputs"].as_array().unwrap().iter();
    let dear = outputs.rfind(|output| output["name"] == "dear");
    let dear = dear.unwrap()["rows"].as_u64().unwrap();
    assert!(dear > 0 && dear < arrived(&on), "{on}");
    assert!(written(&on) > 100, "{on}");

    // A function that stays keeps its state, whatever comes beside it.
    stop(&api, &id).await;
    let beside = "LAG(price) OVER (PARTITION BY symbol ORDER BY ts) + AVG(price) OVER";
    let beside = JOB.replace("AVG(price) OVER", beside);
    start(&api, &id, json!({"from": one, "sql": beside})).await;
    api.wait(&id, |job| job["state"] == "running").await;
    api.close().await;
}
