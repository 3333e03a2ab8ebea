//! Replays of what jobs recorded.

use serde_json::{Value, json};
use server::auth::Mode;

use super::Desk;

const PATH: &str = "/api/v1/replays";

fn job(archive: &str) -> String {
    format!(
        "CREATE TABLE ticks (symbol STRING, n BIGINT) WITH ('connector' = 'http', 'mode' = 'push',
                             'archive' = '{archive}');
         CREATE TABLE sums (symbol STRING, n BIGINT) WITH ('connector' = 'blackhole');
         SET 'commit.interval' = '20 ms';
         INSERT INTO sums SELECT symbol, n + 1 FROM ticks WHERE n > 0;"
    )
}

/// A stopped job with a recording of some seconds.
async fn recorded(desk: &Desk) -> String {
    let archive = desk.place.path("archive");
    let sql = job(archive.to_str().unwrap());
    desk.submit("j", &sql).await;
    for n in 0..3 {
        let rows = json!([{"symbol": "A", "n": n}, {"symbol": "B", "n": n}, {"n": "x"}]);
        desk.post("/api/v1/ingest/ticks?wait=committed", &rows)
            .await
            .json(200);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    desk.post("/api/v1/jobs/j/stop", &Value::Null)
        .await
        .json(202);
    desk.wait("j", |job| job["state"] == "stopped").await;
    sql
}

async fn run(desk: &Desk, body: &Value) -> Value {
    let answer = desk.post(PATH, body).await;
    let place = answer.header("location").to_owned();
    answer.json(201);
    desk.wait_for(&place, |replay| replay["state"] != "running")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_replayed_from_what_it_recorded() {
    let desk = Desk::new(|_| {}).await;
    let sql = recorded(&desk).await;
    let one = run(&desk, &json!({"job": "j"})).await;
    assert_eq!(
        (&one["state"], &one["job"]),
        (&json!("finished"), &json!("j")),
        "{one}"
    );
    let table = &one["report"]["tables"][0];
    assert_eq!(
        (&table["arrived"], &table["accepted"], &table["dead"]),
        (&json!(9), &json!(6), &json!(3)),
        "{one}"
    );
    let output = &one["report"]["outputs"][0];
    assert_eq!(
        (&output["name"], &output["rows"]),
        (&json!("sums"), &json!(4)),
        "{one}"
    );
    assert_eq!(output["digest"].as_str().unwrap().len(), 32, "{one}");
    assert!(
        one["ended_at"].is_string() && one["eta_s"].is_null(),
        "{one}"
    );
    assert_eq!(one["by_event_time"], json!([]));

    // The same text from the same rows gives the same digest; other rows another.
    let recording = desk.place.path("archive").display().to_string();
    let sources = json!({"ticks": {"path": recording}});
    let two = run(&desk, &json!({"sql": sql, "sources": sources})).await;
    assert_eq!(
        two["report"]["outputs"][0]["digest"], output["digest"],
        "{two}"
    );
    let other = sql.replace("n + 1", "n + 2");
    let three = run(&desk, &json!({"sql": other, "sources": sources})).await;
    assert_ne!(
        three["report"]["outputs"][0]["digest"], output["digest"],
        "{three}"
    );
    let items = desk.get(PATH).await.json(200);
    assert_eq!(items["items"].as_array().unwrap().len(), 3);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_tells_how_far_it_is_and_is_cancelled() {
    let desk = Desk::new(|config| config.max_replays = 1).await;
    recorded(&desk).await;
    let slow = json!({"job": "j", "speed": "0.001x"});
    let answer = desk.post(PATH, &slow).await;
    let place = answer.header("location").to_owned();
    answer.json(201);
    let replay = desk
        .wait_for(&place, |replay| replay["rows"].as_u64() > Some(0))
        .await;
    assert_eq!(replay["state"], "running");
    assert!(
        replay["total"].as_u64() >= replay["rows"].as_u64(),
        "{replay}"
    );
    let busy = desk.post(PATH, &slow).await;
    assert_eq!(busy.header("retry-after"), "5");
    busy.problem(429);
    desk.delete(&place).await.json(204);
    desk.get(&place).await.problem(404);
    desk.delete(&place).await.problem(404);
    let since = std::time::Instant::now();
    while desk.post(PATH, &slow).await.status != 201 {
        assert!(
            since.elapsed() < crate::support::PATIENCE,
            "its place stays taken"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_are_for_admins() {
    let mut desk = Desk::new(|config| config.auth = Mode::Required).await;
    let (admin, writer) = (desk.make_key(&["admin"]), desk.make_key(&["read", "write"]));
    desk.key = Some(admin.clone());
    let sql = recorded(&desk).await;
    let below = desk.place.path("archive/ticks").display().to_string();
    let beside = desk.place.path("elsewhere").display().to_string();
    let around = format!("{below}/../../elsewhere");
    let body = |path: &str| json!({"sql": sql, "sources": {"ticks": {"path": path}}});
    desk.key = Some(writer);
    assert_eq!(run(&desk, &body(&below)).await["state"], "finished");
    for path in [
        beside.as_str(),
        "/etc/passwd",
        "/",
        &around,
        "archive/ticks",
    ] {
        desk.post(PATH, &body(path)).await.problem(403);
    }
    desk.key = Some(admin);
    for path in [beside.as_str(), "/etc/passwd"] {
        let told = desk.post(PATH, &body(path)).await;
        assert!([400, 404].contains(&told.status), "{}", told.text);
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_replays_are_told() {
    let desk = Desk::new(|_| {}).await;
    let plain = job("unused").replace("'archive' = 'unused'", "'queue' = '1 MB'");
    desk.submit("plain", &plain).await;
    let told = desk.post(PATH, &json!({"job": "plain"})).await.problem(400);
    assert!(told.contains("has no 'archive'"), "{told}");
    desk.post(PATH, &json!({"job": "none"})).await.problem(404);
    for body in [
        json!({}),
        json!({"job": "plain", "sql": plain}),
        json!({"sql": "nonsense"}),
        json!({"sql": plain}),
        json!({"sql": plain, "sources": {"ticks": {}}}),
        json!({"job": "plain", "speed": "fast"}),
        json!({"job": "plain", "speed": "-1x"}),
        json!({"job": "plain", "from": "soon"}),
        json!({"job": "plain", "from": "2024-01-02", "to": "2024-01-02"}),
        json!({"job": "plain", "end": "never"}),
        json!({"job": "plain", "options": {"ticks.nine": "1"}}),
        json!({"job": "plain", "more": 1}),
    ] {
        desk.post(PATH, &body).await.problem(400);
    }
    let sources = json!({"nine": {"path": "x"}});
    desk.post(PATH, &json!({"job": "plain", "sources": sources}))
        .await
        .problem(404);
    desk.get("/api/v1/replays/none").await.problem(404);
    desk.get("/api/v1/replays?limit=0").await.problem(400);
    desk.close().await;
}
