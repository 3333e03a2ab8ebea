//! The life of keys and tickets.

use serde_json::{Value, json};
use server::auth::Mode;

use super::Desk;

async fn guarded() -> Desk {
    let mut desk = Desk::new(|config| config.auth = Mode::Required).await;
    desk.key = Some(desk.make_key(&["admin"]));
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_used_listed_and_revoked() {
    let mut desk = guarded().await;
    let made = json!({"name": "feed handler", "scopes": ["write", "read", "read"]});
    let answer = desk.post("/api/v1/keys", &made).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let place = answer.header("location").to_owned();
    let made = answer.json(201);
    assert_eq!(made["scopes"], json!(["read", "write"]));
    let key = made["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("ms_") && key.len() == 46, "{key}");
    assert_eq!(
        place,
        format!("/api/v1/keys/{}", made["id"].as_str().unwrap())
    );

    // It is good, in either header.
    let ask = async |name: &str, value: &str| {
        let request = axum::http::Request::get("/api/v1/jobs").header(name, value);
        desk.send(request.body(axum::body::Body::empty()).unwrap())
            .await
    };
    ask("authorization", &format!("Bearer {key}"))
        .await
        .json(200);
    ask("authorization", &format!("bearer  {key}"))
        .await
        .json(200);
    ask("x-api-key", &key).await.json(200);
    for (name, value) in [
        ("authorization", format!("Basic {key}")),
        ("authorization", key.clone()),
        ("authorization", "Bearer".to_owned()),
        ("authorization", "Bearer ms_nonsense".to_owned()),
        ("x-api-key", format!("{key}x")),
        ("x-api-key", key.to_lowercase()),
        ("x-api-key", String::new()),
    ] {
        let refused = ask(name, &value).await;
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        refused.problem(401);
    }

    // The list has it without its text, and that it was used.
    let listed = desk.get("/api/v1/keys").await;
    assert!(!listed.text.contains(&key[3..]), "{}", listed.text);
    let listed = listed.json(200);
    let items = listed["items"].as_array().unwrap();
    let of = |id: &Value| {
        items
            .iter()
            .find(|item| item["id"] == *id)
            .cloned()
            .unwrap()
    };
    let found = of(&made["id"]);
    assert!(
        found["used_at"].is_string() && found["revoked_at"].is_null(),
        "{found}"
    );
    assert_eq!(items.len(), 2);

    desk.delete(&place).await.json(204);
    desk.delete(&place).await.json(204);
    ask("x-api-key", &key).await.problem(401);
    desk.delete("/api/v1/keys/none").await.problem(404);
    desk.key = None;
    desk.get("/api/v1/keys").await.problem(401);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_and_revokes_beside_the_server() {
    let desk = guarded().await;
    let data = desk.place.path("data").display().to_string();
    let keys = |arguments: &[&str]| {
        let mut all = vec!["keys"];
        all.extend(arguments);
        all.extend(["--data", &data]);
        desk.place.run(&all)
    };
    desk.get("/api/v1/jobs").await.json(200);
    let listed = keys(&["list"]).well();
    let id = listed
        .lines()
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(
        listed.contains("admin") && !listed.contains("ms_"),
        "{listed}"
    );
    keys(&["revoke", &id]).well();
    assert!(keys(&["list"]).well().contains("(revoked "));
    let since = std::time::Instant::now();
    while desk.get("/api/v1/jobs").await.status != 401 {
        assert!(
            since.elapsed() < crate::support::PATIENCE,
            "it is still good"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said = keys(&["revoke", "none"]).failed(2);
    assert!(said.contains("there is no key 'none'"), "{said}");
    let said = desk
        .place
        .run(&["keys", "list", "--data", "nowhere"])
        .failed(2);
    assert!(said.contains("there is no store"), "{said}");
    let said = keys(&["create", "--name", " ", "--scope", "read"]).failed(2);
    assert!(said.contains("1 to 100 letters"), "{said}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_to_be_are_told() {
    let desk = guarded().await;
    for body in [
        json!({}),
        json!({"name": "x"}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": ["sudo"]}),
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "a\nb", "scopes": ["read"]}),
        json!({"name": "x".repeat(101), "scopes": ["read"]}),
        json!({"name": "x", "scopes": ["read"], "more": 1}),
        json!(null),
    ] {
        desk.post("/api/v1/keys", &body).await.problem(400);
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_nothing_but_what_streams() {
    let mut desk = guarded().await;
    let answer = desk.post("/api/v1/tickets", &Value::Null).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let ticket = answer.json(201);
    assert_eq!(ticket["expires_in"], 30);
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    desk.key = None;
    desk.get(&format!("/api/v1/jobs?ticket={ticket}"))
        .await
        .problem(401);
    desk.get(&format!("/api/v1/jobs?ticket={ticket}&limit=1"))
        .await
        .problem(401);
    desk.close().await;
}
