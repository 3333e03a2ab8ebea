//! Jobs from submission to deletion.

use serde_json::{Value, json};

use super::{Api, ENDLESS};

const JOBS: &str = "/api/v1/jobs";

fn arrived(job: &Value) -> u64 {
    job["tables"][0]["arrived"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_stops_goes_on_and_is_deleted() {
    let api = Api::new().await;
    let body = json!({"name": "prices", "sql": ENDLESS, "options": {"trades.rate": "1000"}});
    let answer = api.post(JOBS, &body).await;
    let place = answer.header("location").to_owned();
    let job = answer.json(201);
    assert_eq!(place, format!("{JOBS}/{}", job["id"].as_str().unwrap()));
    assert_eq!(job["options"], json!({"trades.rate": "1000"}));

    let running = api.wait("prices", |job| {
        job["state"] == "running" && arrived(job) > 100
    });
    let running = running.await;
    assert_eq!(running["id"], job["id"]);
    assert_eq!(running["tables"][0]["name"], "trades");
    assert_eq!(running["outputs"][0]["stream"], "prices");
    assert!(running["plan"].as_str().unwrap().contains("Sink: prices"));
    assert!(
        running["tables"][0]["watermark"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(running["waiting"], json!({}));

    let stopping = api
        .post(&format!("{place}/stop"), &Value::Null)
        .await
        .json(202);
    assert!(["stopping", "stopped"].contains(&stopping["state"].as_str().unwrap()));
    let stopped = api.wait("prices", |job| job["state"] == "stopped").await;
    assert!(arrived(&stopped) >= arrived(&running));
    assert_eq!(stopped["unsettled"], json!([]));
    // Whoever asks again changes nothing.
    api.post(&format!("{place}/stop"), &Value::Null)
        .await
        .json(202);

    // It goes on with the figures it had.
    api.post(&format!("{place}/start"), &json!({}))
        .await
        .json(202);
    let before = arrived(&stopped);
    let on = api
        .wait("prices", |job| {
            job["state"] == "running" && arrived(job) > before
        })
        .await;
    assert!(on["committed_epoch"].as_u64() >= stopped["committed_epoch"].as_u64());
    api.post(&format!("{place}/start"), &json!({}))
        .await
        .problem(409);

    assert_eq!(api.delete(&place).await.status, 204);
    api.get(&place).await.problem(404);
    api.delete(&place).await.problem(404);
    assert_eq!(api.get(JOBS).await.json(200)["items"], json!([]));
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_empty_forgets_and_one_from_no_recording_is_refused() {
    let api = Api::new().await;
    let id = api.submit("prices", ENDLESS).await;
    let place = format!("{JOBS}/{id}");
    api.wait(&id, |job| arrived(job) > 1_000).await;
    api.post(&format!("{place}/stop"), &Value::Null)
        .await
        .json(202);
    let stopped = api.wait(&id, |job| job["state"] == "stopped").await;
    let refused = api
        .post(&format!("{place}/start"), &json!({"from": "recording"}))
        .await;
    assert!(
        refused.problem(400)["detail"]
            .as_str()
            .unwrap()
            .contains("'archive'")
    );
    let job = api.get(&place).await.json(200);
    assert_eq!(job["state"], "stopped", "{job}");
    let other = api
        .post(&format!("{place}/start"), &json!({"from": "nothing"}))
        .await;
    assert!(
        other.problem(400)["detail"]
            .as_str()
            .unwrap()
            .contains("empty")
    );
    api.post(&format!("{place}/start"), &json!({"from": "empty"}))
        .await
        .json(202);
    let empty = api.wait(&id, |job| job["state"] == "running").await;
    assert!(arrived(&empty) < arrived(&stopped), "{empty}");
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_finished_and_what_breaks_keeps_its_reason() {
    let api = Api::new().await;
    let few = ENDLESS.replace("'2000'", "'2000', 'rows' = '500'");
    let id = api.submit("few", &few).await;
    let finished = api.wait(&id, |job| job["state"] == "finished").await;
    assert_eq!(arrived(&finished), 500);
    assert_eq!(finished["outputs"][0]["rows"], 500);
    assert_eq!(finished["tables"][0]["watermark"], "end");
    api.post(&format!("{JOBS}/{id}/stop"), &Value::Null)
        .await
        .problem(409);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("absent.parquet");
    let broken = ENDLESS.replace(
        "'connector' = 'market', 'rate' = '2000'",
        &format!("'connector' = 'parquet', 'path' = '{}'", file.display()),
    );
    let id = api.submit("broken", &broken).await;
    let failed = api.wait(&id, |job| job["state"] == "failed").await;
    assert!(
        failed["reason"]
            .as_str()
            .unwrap()
            .contains("absent.parquet"),
        "{failed}"
    );
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_and_may_come_from_the_text() {
    let api = Api::new().await;
    let named = format!("SET 'pipeline.name' = 'mine';{ENDLESS}");
    let job = api.post(JOBS, &json!({"sql": named})).await.json(201);
    assert_eq!(job["name"], "mine");
    let taken = api
        .post(JOBS, &json!({"name": "mine", "sql": ENDLESS}))
        .await;
    assert!(
        taken.problem(409)["detail"]
            .as_str()
            .unwrap()
            .contains("'mine'")
    );
    let nameless = api.post(JOBS, &json!({"sql": ENDLESS})).await.problem(400);
    assert!(nameless["detail"].as_str().unwrap().contains("name"));
    for name in ["", "a b", "../x", "ä"] {
        api.post(JOBS, &json!({"name": name, "sql": ENDLESS}))
            .await
            .problem(400);
    }
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_one_key_is_done_once() {
    let api = Api::new().await;
    let body = json!({"name": "once", "sql": ENDLESS});
    let key = [("idempotency-key", "k-1")];
    let first = api.post_as(JOBS, &body, &key).await;
    let place = first.header("location").to_owned();
    let first = first.json(201);
    let again = api.post_as(JOBS, &body, &key).await;
    assert_eq!(again.header("location"), place);
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(again.json(201), first);
    let other = json!({"name": "other", "sql": ENDLESS});
    api.post_as(JOBS, &other, &key).await.problem(422);
    // What was refused is refused again.
    let key = [("idempotency-key", "k-2")];
    let wrong = json!({"name": "wrong", "sql": "SELECT"});
    let first = api.post_as(JOBS, &wrong, &key).await.json(400);
    let again = api.post_as(JOBS, &wrong, &key).await;
    assert_eq!(again.header("content-type"), "application/problem+json");
    assert_eq!(again.json(400), first);
    let long = "k".repeat(300);
    api.post_as(JOBS, &body, &[("idempotency-key", &long)])
        .await
        .problem(400);
    assert_eq!(
        api.get(JOBS).await.json(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_job_is_not_sent_again() {
    let api = Api::new().await;
    let few = ENDLESS.replace("'2000'", "'2000', 'rows' = '5'");
    let id = api.submit("few", &few).await;
    api.wait(&id, |job| job["state"] == "finished").await;
    let place = format!("{JOBS}/{id}");
    let answer = api.get(&place).await;
    let tag = answer.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let asked = |known: &str| {
        let request = axum::http::Request::get(&place).header("if-none-match", known);
        api.send(request.body(axum::body::Body::empty()).unwrap())
    };
    let same = asked(&format!("\"x\", W/{tag}")).await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    assert_eq!(same.header("etag"), tag);
    assert_eq!(asked("\"other\"").await.status, 200);
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_shown() {
    let api = Api::new().await;
    let sql = ENDLESS.replace(
        "'connector' = 'market', 'rate' = '2000'",
        "'connector' = 'http', 'format' = 'json', 'headers.X-Key' = 'HUNTER2',
         'url' = 'http://me:HUNTER2@localhost:1/?token=HUNTER2'",
    );
    let options = json!({"trades.headers.X-Other": "HUNTER2"});
    let body = json!({"name": "secret", "sql": sql, "options": options});
    let answer = api.post(JOBS, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    for path in [JOBS, "/api/v1/jobs/secret", "/api/v1/tables"] {
        let answer = api.get(path).await;
        assert!(answer.text.contains("prices"), "{}", answer.text);
        assert!(!answer.text.contains("HUNTER2"), "{}", answer.text);
    }
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_every_fault_and_its_place() {
    let api = Api::new().await;
    let check = format!("{JOBS}/check");
    let well = api.post(&check, &json!({"sql": ENDLESS})).await.json(200);
    assert_eq!((&well["ok"], &well["errors"]), (&json!(true), &json!([])));
    assert!(well["plan"].as_str().unwrap().contains("Sink: prices"));

    let sql = "SET 'comit.interval' = '5 s';\nCREATE TABLE a (x INT) WITH ('connector' = 'nine');";
    let wrong = api.post(&check, &json!({"sql": sql})).await.json(200);
    assert_eq!(
        (&wrong["ok"], &wrong["plan"]),
        (&json!(false), &Value::Null)
    );
    let errors = wrong["errors"].as_array().unwrap();
    let first = errors.iter().find(|error| error["line"] == 1).unwrap();
    assert_eq!(
        (&first["column"], &first["length"]),
        (&json!(5), &json!(16)),
        "{first}"
    );
    assert_eq!(first["help"], "did you mean 'commit.interval'?");
    assert!(errors.iter().any(|error| error["line"] == 2), "{wrong}");

    let options = json!({"trades.rte": "5", "nonsense": "1"});
    let wrong = api
        .post(&check, &json!({"sql": ENDLESS, "options": options}))
        .await
        .json(200);
    assert_eq!(wrong["errors"][0]["option"], "nonsense", "{wrong}");
    let options = json!({"trades.rte": "5"});
    let wrong = api
        .post(&check, &json!({"sql": ENDLESS, "options": options}))
        .await
        .json(200);
    let error = &wrong["errors"][0];
    assert_eq!(
        (&error["table"], &error["option"]),
        (&json!("trades"), &json!("rte")),
        "{wrong}"
    );

    // A submission has the same errors, as a problem.
    let refused = api
        .post(JOBS, &json!({"name": "x", "sql": sql}))
        .await
        .problem(400);
    assert_eq!(refused["type"], "urn:millstream:sql");
    assert_eq!(refused["errors"].as_array().unwrap().len(), errors.len());
    for idle in [
        "",
        ";",
        "-- nothing",
        "EXPLAIN INSERT INTO prices SELECT symbol, price FROM trades",
    ] {
        let only = ENDLESS.split("INSERT INTO").next().unwrap();
        let wrong = api
            .post(&check, &json!({"sql": format!("{only}{idle}")}))
            .await
            .json(200);
        assert_eq!(wrong["ok"], false, "{wrong}");
    }
    api.close().await;
}
