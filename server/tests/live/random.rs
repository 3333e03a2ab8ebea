//! Whatever frames a client sends, each is answered, and the connection and the server stay.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;

use futures::SinkExt;

use super::server::Server;

const WORDS: [&str; 22] = [
    "n",
    "symbol",
    "text",
    "AND",
    "OR",
    "NOT",
    "IN",
    "(",
    ")",
    ",",
    "=",
    ">",
    "'AAPL'",
    "1",
    "-1",
    "LIKE",
    "IS NULL",
    "CASE",
    "CAST(n AS BIGINT)",
    "/ 0",
    "9223372036854775807",
    "'",
];

const KINDS: [&str; 5] = ["subscribe", "unsubscribe", "ping", "auth", "snapshot"];
const FIELDS: [&str; 8] = [
    "id", "stream", "where", "columns", "from", "mode", "token", "nine",
];

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        vec(select(&WORDS[..]), 0..10).prop_map(|words| Value::from(words.join(" "))),
        ".{0,30}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        vec(".{0,8}", 0..4).prop_map(Value::from),
        Just(json!(["n", "symbol"])),
        select(
            &[
                "1-0-0", "1-1-1", "0-0-0", "9-9-9", "rows", "changes", "quotes"
            ][..]
        )
        .prop_map(Value::from),
    ]
}

/// A frame with some of the fields that there are, and any values.
fn frame() -> impl Strategy<Value = String> {
    let fields = vec((select(&FIELDS[..]), text()), 0..6);
    let framed = (select(&KINDS[..]), fields, any::<bool>());
    let framed = framed.prop_map(|(kind, fields, right)| {
        let mut frame = json!({"type": kind});
        if right {
            frame["id"] = json!("a");
            frame["stream"] = json!("quotes");
        }
        for (name, value) in fields {
            frame[name] = value;
        }
        frame.to_string()
    });
    prop_oneof![4 => framed, 1 => ".{0,80}"]
}

#[test]
fn no_frame_breaks_a_connection() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(150)
    };
    let frames = vec(frame(), 1..8);
    let checked = TestRunner::new(config).run(&frames, |frames| {
        runtime.block_on(async {
            let mut client = server.client().await;
            for (number, frame) in frames.into_iter().enumerate() {
                server.publish(1, &[("AAPL", number as i64)]);
                client.stream.send(Message::text(frame)).await.unwrap();
            }
            client.say(json!({"type": "ping"})).await;
            // Frames before it that were pings themselves are answered by one each.
            loop {
                let answer = client.next().await;
                prop_assert!(answer.is_some(), "the connection has ended");
                let answer = answer.unwrap_or_default();
                prop_assert!(answer["code"] != "internal", "{answer}");
                if answer["type"] == "pong" {
                    return Ok(());
                }
            }
        })
    });
    checked.unwrap();
    runtime.block_on(async {
        let mut client = server.client().await;
        client.subscribe().await;
    });
}
