//! Bad input: a problem that helps, and never a defect.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::Api;

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_told_with_their_place() {
    let api = Api::new().await;
    let post = |path: &str, kind: &str, body: &str| {
        let request = Request::post(path).header("content-type", kind);
        api.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let json = "application/json";
    let paths = ["/api/v1/jobs", "/api/v1/jobs/check"];
    let deep = "[".repeat(10_000);
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{}",
        "{\"sql\":1}",
        "{\"sql\":null}",
        "{\"sql\":\"x\",\"options\":[]}",
        "{\"sql\":\"x\",\"options\":{\"a\":1}}",
        "{\"sql\":\"x\",\"more\":1}",
        "{\"sql\":\"x\",\"name\":7}",
        "{\"sql\":\"\\ud800\"}",
        "\u{0}",
        &deep,
    ];
    for path in paths {
        for body in bodies {
            let problem = post(path, json, body).await.problem(400);
            assert!(
                problem["errors"][0]["line"].is_u64() || body.is_empty(),
                "{problem}"
            );
        }
        let large = format!("{{\"sql\":\"{}\"}}", "x".repeat(200_000));
        assert_eq!(
            post(path, json, &large).await.problem(413)["type"],
            "urn:millstream:too-large"
        );
        for kind in ["text/plain", "application/xml", "json", ""] {
            post(path, kind, "{\"sql\":\"x\"}").await.problem(415);
        }
        post(path, "application/json; charset=utf-8", "{")
            .await
            .problem(400);
    }
    let request = Request::post("/api/v1/jobs").header("content-type", json);
    let bytes = Body::from(vec![b'{', 0xff, 0xfe]);
    api.send(request.body(bytes).unwrap()).await.problem(400);
    // Too large under a key as well.
    let large = json!({"name": "x", "sql": "x".repeat(200_000)});
    let key = [("idempotency-key", "k")];
    api.post_as("/api/v1/jobs", &large, &key).await.problem(413);
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sql_is_a_fault_of_the_text() {
    let api = Api::new().await;
    let nested = format!(
        "INSERT INTO t SELECT {}1{}",
        "(".repeat(5_000),
        ")".repeat(5_000)
    );
    let texts = [
        "nonsense",
        "SELECT 1",
        "INSERT INTO",
        "CREATE TABLE",
        "DROP TABLE x",
        "\u{0}",
        "'",
        "\"",
        "/*",
        "SET",
        "INSERT INTO t SELECT * FROM u",
        "CREATE TABLE t (a INT)",
        "ä€𝄞",
        "$$",
        "SET 'commit.interval' = '-1 s'",
        "EXPLAIN",
        "INSERT INTO t VALUES (1)",
        &nested,
    ];
    for sql in texts {
        let body = json!({"name": "x", "sql": sql});
        let problem = api.post("/api/v1/jobs", &body).await.problem(400);
        let faults = problem["errors"].as_array().unwrap();
        assert!(!faults.is_empty(), "{sql}: {problem}");
        let checked = api.post("/api/v1/jobs/check", &body).await.json(200);
        assert_eq!(checked["errors"], problem["errors"], "{sql}");
    }
    assert_eq!(api.get("/api/v1/jobs").await.json(200)["items"], json!([]));
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let api = Api::new().await;
    for path in [
        "/api/v1/jobs/nine",
        "/api/v1/jobs/%00",
        "/api/v1/jobs/%2e%2e",
        "/api/v1/tables/nine",
        "/api/v1/indicators/nine",
        "/api/v1/nine",
        "/api/v2/jobs",
        "/nine",
        "/api/v1/jobs/",
        "/api/v1/jobs/a/nine",
        "//",
        "/health",
    ] {
        api.get(path).await.problem(404);
    }
    for path in ["/api/v1/jobs/nine/stop", "/api/v1/jobs/nine/start"] {
        api.post(path, &json!({})).await.problem(404);
    }
    let near = api.get("/api/v1/indicators/rsii").await.problem(404);
    assert!(
        near["detail"]
            .as_str()
            .unwrap()
            .contains("did you mean 'rsi'?"),
        "{near}"
    );
    api.get("/api/v1/jobs/%ff").await.problem(400);
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_queries_are_checked() {
    let api = Api::new().await;
    for (method, path) in [
        ("PUT", "/api/v1/jobs"),
        ("DELETE", "/api/v1/jobs"),
        ("POST", "/api/v1/tables"),
        ("GET", "/api/v1/jobs/x/stop"),
        ("PATCH", "/health/live"),
        ("BREW", "/api/v1/jobs"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert!(!answer.header("allow").is_empty(), "{method} {path}");
        let problem = answer.problem(405);
        assert_eq!(problem["type"], "urn:millstream:method");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "cursor=%25",
        "cursor=_w",
        "limit=99999999999999999999",
        "nine=1",
        "limit=1&limit=2",
        "cursor=%ff",
    ] {
        for path in ["/api/v1/jobs", "/api/v1/tables", "/api/v1/indicators"] {
            api.get(&format!("{path}?{query}")).await.problem(400);
        }
    }
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_a_plain_id_and_gets_one_otherwise() {
    let api = Api::new().await;
    let asked = |id: &str| {
        let request = Request::get("/nine").header("x-request-id", id);
        api.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(asked("mine-1").await.problem(404)["instance"], "mine-1");
    let long = "x".repeat(200);
    for id in ["", "a b", "<x>", long.as_str()] {
        let given = asked(id).await;
        assert_eq!(given.header("x-request-id").len(), 36, "{id}");
    }
    api.close().await;
}
