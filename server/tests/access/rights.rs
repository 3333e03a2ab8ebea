//! Every route of the API with every kind of key.

use axum::body::Body;
use serde_json::Value;
use server::auth::Mode;

use super::Desk;

/// The operations of the description: method, path, and the right that they need.
fn operations(description: &Value) -> Vec<(String, String, Option<String>)> {
    let mut all = vec![];
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array();
            assert!(security.is_some(), "{method} {path} states no right");
            let security = security.unwrap();
            let scope = security.first().map(|one| {
                let scopes = one.as_object().unwrap().values().next().unwrap();
                scopes[0].as_str().unwrap().to_owned()
            });
            all.push((method.to_uppercase(), path.clone(), scope));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_through_who_has_its_right_and_nobody_else() {
    let mut desk = Desk::new(|config| config.auth = Mode::Required).await;
    let description = desk.get("/api/v1/openapi.json").await.json(200);
    let operations = operations(&description);
    assert!(operations.len() > 20, "{}", operations.len());
    let holders = [
        (None, vec![]),
        (Some(desk.make_key(&["read"])), vec!["read"]),
        (Some(desk.make_key(&["write"])), vec!["write"]),
        (
            Some(desk.make_key(&["admin"])),
            vec!["read", "write", "admin"],
        ),
    ];
    let mut refused = 0;
    for (key, rights) in holders {
        desk.key.clone_from(&key);
        for (method, path, needs) in &operations {
            let uri = path.replace("{id}", "none").replace("{name}", "none");
            let uri = uri.replace("{table}", "none").replace("{stream}", "none");
            let answer = desk.ask(method, &uri, &[], Body::empty()).await;
            let told = format!("{method} {path} with {rights:?}: {}", answer.text);
            let may = needs
                .as_ref()
                .is_none_or(|needs| rights.contains(&needs.as_str()));
            match (may, &key) {
                (true, _) => assert!(![401, 403].contains(&answer.status), "{told}"),
                // What the first frame of a connection may say still is told there.
                (false, None) if path.ends_with("/live") => {}
                (false, None) => assert_eq!(answer.status, 401, "{told}"),
                (false, Some(_)) => assert_eq!(answer.status, 403, "{told}"),
            }
            assert!(answer.status < 500 || path.starts_with("/health"), "{told}");
            refused += usize::from(!may);
        }
    }
    assert!(refused > 30, "{refused}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_for_all_needs_no_key() {
    let desk = Desk::new(|config| config.auth = Mode::Required).await;
    desk.get("/api/v1/nine").await.problem(404);
    desk.get("/health/live").await.json(200);
    desk.get("/api/v1/openapi.json").await.json(200);
    desk.get("/metrics").await.problem(401);
    desk.ask("PUT", "/api/v1/jobs", &[], Body::empty())
        .await
        .problem(405);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_again() {
    let mut desk = Desk::new(|config| {
        config.auth = Mode::Required;
        config.rate_limit = 1;
        config.rate_burst = 3;
    })
    .await;
    let other = desk.make_key(&["read"]);
    desk.key = Some(desk.make_key(&["read"]));
    for remaining in ["2", "1", "0"] {
        let answer = desk.get("/api/v1/jobs").await;
        assert_eq!(answer.header("ratelimit-limit"), "3");
        assert_eq!(answer.header("ratelimit-remaining"), remaining);
        answer.json(200);
    }
    let refused = desk.get("/api/v1/jobs").await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(429);
    desk.key = Some(other);
    desk.get("/api/v1/jobs").await.json(200);
    // Whoever guesses keys is slowed down as well.
    desk.key = Some("ms_nonsense".to_owned());
    let mut told = vec![];
    for _ in 0..6 {
        told.push(desk.get("/api/v1/jobs").await.status);
    }
    assert_eq!(told[0], 401);
    assert!(told.contains(&429), "{told:?}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_elsewhere_change_nothing_and_are_told_nothing() {
    let desk = Desk::new(|config| config.origins = "https://desk.example.com".to_owned()).await;
    let post = async |host: &str, origin: &str| {
        let headers = [
            ("host", host),
            ("origin", origin),
            ("content-type", "application/json"),
        ];
        desk.ask("POST", "/api/v1/jobs/check", &headers, "{\"sql\": \"x\"}")
            .await
    };
    post("127.0.0.1:8080", "http://127.0.0.1:8080")
        .await
        .json(200);
    let allowed = post("127.0.0.1:8080", "https://desk.example.com").await;
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://desk.example.com"
    );
    allowed.json(200);
    post("127.0.0.1:8080", "https://evil.org")
        .await
        .problem(403);
    post("127.0.0.1:8080", "null").await.problem(403);
    // A name that somebody made to point here.
    post("evil.org", "http://evil.org").await.problem(403);
    let headers = [("host", "evil.org:8080")];
    desk.ask("GET", "/api/v1/jobs", &headers, Body::empty())
        .await
        .problem(403);
    // A browser asks before it sends anything.
    let headers = [
        ("origin", "https://desk.example.com"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ];
    let asked = desk
        .ask("OPTIONS", "/api/v1/jobs", &headers, Body::empty())
        .await;
    assert_eq!(asked.status, 200);
    assert!(
        asked
            .header("access-control-allow-headers")
            .contains("authorization")
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_one_are_not_repeated_to_another() {
    let mut desk = Desk::new(|config| config.auth = Mode::Required).await;
    let keys = [desk.make_key(&["write"]), desk.make_key(&["write"])];
    let body = serde_json::json!({"name": "once", "sql": super::ingest::JOB}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let mut told = vec![];
    for key in [&keys[0], &keys[0], &keys[1]] {
        desk.key = Some(key.clone());
        told.push(
            desk.ask("POST", "/api/v1/jobs", &headers, body.clone())
                .await
                .status,
        );
    }
    assert_eq!(told, [201, 201, 409]);
    desk.close().await;
}
