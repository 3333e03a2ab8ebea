//! Whatever a client sends, it is told what is wrong with it.

use futures::SinkExt;
use serde_json::{Value, json};
use server::live::{Limits, Who};
use tokio_tungstenite::tungstenite::Message;

use super::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_none_are_answered_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for text in [
        "",
        "x",
        "{",
        "[]",
        "null",
        "1",
        "\"subscribe\"",
        "{}",
        "{\"type\":1}",
        "{\"type\":null}",
        "{\"type\":\"nonsense\"}",
        "{\"type\":\"subscribe\"}",
        "{\"type\":\"unsubscribe\"}",
        "{\"type\":\"subscribe\",\"id\":1,\"stream\":\"quotes\"}",
        "{\"type\":\"subscribe\",\"id\":\"a\",\"stream\":[]}",
        "{\"type\":\"subscribe\",\"id\":\"a\",\"stream\":\"quotes\",\"mode\":\"some\"}",
        "{\"type\":\"subscribe\",\"id\":\"a\",\"stream\":\"quotes\",\"columns\":\"n\"}",
        "{\"type\":\"subscribe\",\"id\":\"a\",\"stream\":\"quotes\",\"wehre\":\"n > 1\"}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"ping\"} {}",
        "{\"type\":\"subscribe\",\"id\":\"\\ud800\",\"stream\":\"quotes\"}",
    ] {
        client.stream.send(Message::text(text)).await.unwrap();
        let error = client.expect("error").await;
        assert_eq!(error["code"], "malformed", "{text}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let deep = "[".repeat(20_000);
    client.stream.send(Message::text(deep)).await.unwrap();
    assert_eq!(client.expect("error").await["code"], "malformed");
    client.subscribe().await;
}

async fn fault(changes: Value) -> Value {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut frame = json!({"type": "subscribe", "id": "a", "stream": "quotes"});
    for (name, value) in changes.as_object().unwrap() {
        frame[name] = value.clone();
    }
    client.say(frame).await;
    let error = client.expect("error").await;
    assert_eq!(server.hub.counts(), (0, 0));
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_is_told_with_the_nearest_that_can() {
    let stream = fault(json!({"stream": "quots"})).await;
    assert_eq!(
        (&stream["code"], &stream["id"]),
        (&json!("not-found"), &json!("a"))
    );
    assert_eq!(
        stream["message"],
        "no stream is called 'quots'; did you mean 'quotes'?"
    );
    let column = fault(json!({"columns": ["symbl"]})).await;
    assert_eq!(
        column["message"],
        "no column is called 'symbl'; did you mean 'symbol'?"
    );
    let none = fault(json!({"columns": []})).await;
    assert_eq!(none["code"], "invalid");
    let condition = fault(json!({"where": "n > 1 AND\n  prize = 3"})).await;
    assert_eq!(condition["code"], "invalid");
    assert_eq!(
        (
            &condition["errors"][0]["line"],
            &condition["errors"][0]["column"]
        ),
        (&json!(2), &json!(3))
    );
    for wrong in [
        "n",
        "sum(n) > 1",
        "n >",
        "random() > 0.5",
        "n IN (SELECT 1)",
        ");--",
    ] {
        let error = fault(json!({"where": wrong})).await;
        assert_eq!(error["code"], "invalid", "{wrong}: {error}");
        assert!(!error["errors"].as_array().unwrap().is_empty());
    }
    for wrong in ["1", "a-b-c", "1-2-3-4", "-1-2-3"] {
        assert_eq!(fault(json!({"from": wrong})).await["code"], "invalid");
    }
    assert_eq!(fault(json!({"id": ""})).await["code"], "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_or_too_much_is_refused() {
    let limits = Limits {
        subscriptions: 2,
        connections: 2,
        frame_bytes: 1_000,
        ..Limits::default()
    };
    let server = Server::start_with(limits, Who::Anybody).await;
    let mut client = server.client().await;
    client.subscribe().await;
    client
        .say(json!({"type": "subscribe", "id": "a", "stream": "quotes", "where": "n > 1"}))
        .await;
    assert_eq!(client.expect("error").await["code"], "duplicate");
    client
        .say(json!({"type": "subscribe", "id": "b", "stream": "quotes"}))
        .await;
    let same = client.expect("error").await;
    assert_eq!(same["message"], "'a' shows the same already");
    client
        .say(json!({"type": "subscribe", "id": "b", "stream": "quotes", "where": "n > 1"}))
        .await;
    client.expect("subscribed").await;
    client.expect("snapshot").await;
    client
        .say(json!({"type": "subscribe", "id": "c", "stream": "quotes", "where": "n > 2"}))
        .await;
    assert_eq!(client.expect("error").await["code"], "limit");
    client.say(json!({"type": "unsubscribe", "id": "x"})).await;
    assert_eq!(client.expect("error").await["code"], "not-found");
    let _second = server.client().await;
    while server.hubs.connections() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut third = server.client().await;
    assert_eq!(third.closed().await, Some(1013));
    // A frame that is too big ends the connection, and so do bytes.
    client
        .stream
        .send(Message::text("x".repeat(1_001)))
        .await
        .unwrap();
    assert_eq!(client.closed().await, Some(1009));
    drop((third, client));
    while server.hubs.connections() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut bytes = server.client().await;
    bytes
        .stream
        .send(Message::binary(vec![1, 2, 3]))
        .await
        .unwrap();
    assert_eq!(bytes.closed().await, Some(1003));
}
