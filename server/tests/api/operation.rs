//! Health and metrics.

use serde_json::json;

use super::{Api, ENDLESS};

#[tokio::test(flavor = "multi_thread")]
async fn health_says_who_does_not_answer() {
    let api = Api::new().await;
    let well = json!({"status": "ok", "checks": []});
    assert_eq!(api.get("/health/live").await.json(200), well);
    assert_eq!(api.get("/health/ready").await.json(200), well);
    let sql = ENDLESS.replace(
        "'connector' = 'blackhole'",
        "'connector' = 'kafka', 'topic' = 't', 'format' = 'json',
         'properties.bootstrap.servers' = 'localhost:1'",
    );
    let id = api.submit("waits", &sql).await;
    api.wait(&id, |job| job["waiting"] != json!({})).await;
    let ready = api.get("/health/ready").await.json(503);
    assert_eq!(ready["status"], "unavailable");
    let check = &ready["checks"][0];
    assert!(
        check["name"].as_str().unwrap().starts_with("job waits: "),
        "{ready}"
    );
    assert_eq!(api.get("/health/live").await.json(200), well);
    api.delete("/api/v1/jobs/waits").await;
    assert_eq!(api.get("/health/ready").await.json(200), well);
    api.close().await;
}

/// What entered is what the first step received, and what it made of it is known.
fn step_rows_add_up(value: &dyn Fn(&str) -> f64, table: &str) {
    let step = |rows: &str| {
        let of = "millstream_step_rows_total{job=\"prices\",step=\"0\",operator=\"filter\"";
        value(&format!("{of},rows=\"{rows}\"}}"))
    };
    let outcome = |outcome: &str| {
        let of = format!("millstream_table_rows_total{{{table},outcome=\"{outcome}\"}}");
        value(&of)
    };
    let entered = outcome("accepted") + outcome("late");
    assert!((step("in") + step("missed") - entered).abs() < 0.5);
    let passed = step("out") + step("left-out") + step("dead");
    assert!((step("in") - passed).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_jobs_and_requests() {
    let api = Api::new().await;
    let sql = ENDLESS.replace(
        "price FROM trades",
        "price * 2 FROM trades WHERE volume > 1",
    );
    let id = api.submit("prices", &sql).await;
    // A sink that takes rows at once has an epoch out before it is committed.
    let committed = |job: &serde_json::Value| job["committed_epoch"].as_u64();
    api.wait(&id, |job| committed(job) > Some(3)).await;
    api.get("/nine/%7B").await.problem(404);
    let answer = api.get("/metrics").await;
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert_eq!(answer.status, 200);
    let text = answer.text;
    let value = |figure: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(figure));
        assert!(line.is_some(), "{figure} is missing in\n{text}");
        line.unwrap().trim().parse().unwrap()
    };
    assert!(value("millstream_job_state{job=\"prices\",state=\"running\"}") > 0.5);
    assert!(value("millstream_job_state{job=\"prices\",state=\"failed\"}") < 0.5);
    let table = "job=\"prices\",table=\"trades\"";
    let arrived = value(&format!("millstream_table_rows_arrived_total{{{table}}}"));
    let outcomes: f64 = ["accepted", "late", "future", "dead"]
        .map(|outcome| {
            value(&format!(
                "millstream_table_rows_total{{{table},outcome=\"{outcome}\"}}"
            ))
        })
        .iter()
        .sum();
    assert!(arrived > 0.0 && (arrived - outcomes).abs() < 0.5);
    assert!(value("millstream_job_committed_epoch{job=\"prices\"}") > 3.0);
    assert!(value("millstream_job_latency_seconds{job=\"prices\",quantile=\"0.99\"}") > 0.0);
    assert!(value("millstream_output_rows_total{job=\"prices\",table=\"prices\"}") > 0.0);
    assert!(value("millstream_live_streams") > 0.5);
    assert!(value("millstream_live_connections") < 0.5);
    assert!(value("millstream_live_subscriptions{job=\"prices\",table=\"prices\"}") < 0.5);
    assert!(value(&format!("millstream_table_bytes_total{{{table}}}")) > arrived);
    assert!(
        value(&format!(
            "millstream_table_blocked_seconds_total{{{table}}}"
        )) >= 0.0
    );
    assert!(value("millstream_job_commits_total{job=\"prices\"}") > 0.5);
    assert!(value("millstream_job_commit_bytes_total{job=\"prices\"}") > 0.5);
    assert!(value("millstream_job_commit_seconds{job=\"prices\",quantile=\"0.99\"}") > 0.0);
    assert!(value("millstream_job_snapshots_total{job=\"prices\"}") >= 0.0);
    let steps = text
        .lines()
        .filter(|line| line.starts_with("millstream_step_busy_seconds_total{"));
    assert!(steps.count() > 0, "{text}");
    step_rows_add_up(&value, table);
    let route = "method=\"POST\",route=\"/api/v1/jobs\"";
    assert!(
        value(&format!(
            "millstream_http_requests_total{{{route},status=\"201\"}}"
        )) > 0.5
    );
    assert!(
        value(&format!(
            "millstream_http_request_duration_seconds_count{{{route}}}"
        )) > 0.5
    );
    // What was asked for that is not there is one label, whatever clients send.
    let none = "method=\"GET\",route=\"none\"";
    assert!(
        value(&format!(
            "millstream_http_requests_total{{{none},status=\"404\"}}"
        )) > 0.5
    );
    assert!(text.ends_with("# EOF\n"));
    api.close().await;
}
