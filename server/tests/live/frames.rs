//! What a client is told.

use engine::{Epoch, Tap};
use serde_json::json;

use super::server::{Server, Word, rows};
use server::live::{Limits, Who};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_then_updates_chained_by_cursor() {
    let server = Server::start().await;
    server.publish(1, &[("AAPL", 1), ("MSFT", 2), ("AAPL", 3)]);
    let mut client = server.client().await;
    client
        .say(json!({"type": "subscribe", "id": "a", "stream": "quotes"}))
        .await;
    let subscribed = client.expect("subscribed").await;
    assert_eq!(subscribed["id"], "a");
    assert_eq!(subscribed["key"], json!(["symbol"]));
    let columns = json!([{"name": "symbol", "type": "STRING"}, {"name": "n", "type": "BIGINT"},
        {"name": "text", "type": "STRING"}]);
    assert_eq!(subscribed["columns"], columns);
    let snapshot = client.expect("snapshot").await;
    let latest = json!([{"symbol": "AAPL", "n": 3, "text": "text"},
        {"symbol": "MSFT", "n": 2, "text": "text"}]);
    assert_eq!(
        (&snapshot["rows"], &snapshot["cursor"]),
        (&latest, &json!("1-1-3"))
    );
    assert_eq!(snapshot["channel"], subscribed["channel"]);
    server.publish(1, &[("MSFT", 4)]);
    server.hub.committed(Epoch(1));
    let update = client.expect("update").await;
    assert_eq!(update["after"], snapshot["cursor"]);
    assert_eq!(
        update["rows"],
        json!([{"symbol": "MSFT", "n": 4, "text": "text"}])
    );
    server.publish(2, &[("MSFT", 5)]);
    let next = client.expect("update").await;
    assert_eq!(
        (&next["after"], &next["cursor"]),
        (&update["cursor"], &json!("1-2-1"))
    );
    client.say(json!({"type": "ping"})).await;
    client.expect("pong").await;
    client.say(json!({"type": "unsubscribe", "id": "a"})).await;
    assert_eq!(client.expect("unsubscribed").await["id"], "a");
    assert_eq!(server.hub.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_columns_and_changes() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client
        .say(
            json!({"type": "subscribe", "id": "some", "stream": "quotes",
            "where": "symbol IN ('AAPL') AND n > 1", "columns": ["n"]}),
        )
        .await;
    let some = client.expect("subscribed").await["channel"].clone();
    client.expect("snapshot").await;
    client
        .say(json!({"type": "subscribe", "id": "less", "stream": "job.quotes", "mode": "changes"}))
        .await;
    let less = client.expect("subscribed").await["channel"].clone();
    client.expect("snapshot").await;
    server.publish(1, &[("AAPL", 1), ("AAPL", 2), ("MSFT", 3)]);
    let mut told = [client.expect("update").await, client.expect("update").await];
    told.sort_by_key(|frame| frame["channel"] != some);
    assert_eq!(told[0]["rows"], json!([{"n": 2}]));
    let changes = json!([{"symbol": "AAPL", "n": 1, "text": "text"}, {"symbol": "AAPL", "n": 2},
        {"symbol": "MSFT", "n": 3, "text": "text"}]);
    assert_eq!((&told[1]["rows"], &told[1]["channel"]), (&changes, &less));
    server.hub.rows(Epoch(1), &rows(&[("MSFT", 3)], "other"));
    let update = client.expect("update").await;
    assert_eq!(update["rows"], json!([{"symbol": "MSFT", "text": "other"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_resumes_behind_the_row_that_it_has() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe().await;
    server.publish(1, &[("AAPL", 1), ("MSFT", 2)]);
    let cursor = client.expect("update").await["cursor"].clone();
    drop(client);
    server.publish(2, &[("AAPL", 3)]);
    let mut again = server.client().await;
    let resume = json!({"type": "subscribe", "id": "b", "stream": "quotes", "from": cursor});
    again.say(resume).await;
    again.expect("subscribed").await;
    let update = again.expect("update").await;
    assert_eq!(update["after"], cursor);
    assert_eq!(
        update["rows"],
        json!([{"symbol": "AAPL", "n": 3, "text": "text"}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_history_is_answered_by_a_reset_and_a_snapshot() {
    let server = Server::start().await;
    server.publish(1, &[("AAPL", 1)]);
    let mut client = server.client().await;
    for (id, from) in [("future", "9-1-1"), ("beyond", "1-7-1")] {
        client
            .say(json!({"type": "subscribe", "id": id, "stream": "quotes", "from": from}))
            .await;
        client.expect("subscribed").await;
        assert_eq!(client.expect("reset").await["reason"], "unknown");
        let snapshot = client.expect("snapshot").await;
        assert_eq!(
            (&snapshot["cursor"], &snapshot["more"]),
            (&json!("1-1-1"), &json!(false))
        );
        client.say(json!({"type": "unsubscribe", "id": id})).await;
        client.expect("unsubscribed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_are_shown_while_somebody_looks() {
    let server = Server::start().await;
    assert!(!server.hub.wants_forming());
    let mut client = server.client().await;
    client.subscribe().await;
    assert!(server.hub.wants_forming());
    server.hub.forming(&[rows(&[("AAPL", 9)], "open")]);
    let forming = client.expect("forming").await;
    assert_eq!(
        forming["rows"],
        json!([{"symbol": "AAPL", "n": 9, "text": "open"}])
    );
    drop(client);
    while server.hub.wants_forming() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_stops_says_so_and_starts_again_under_its_name() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe().await;
    server.hubs.close("job");
    let gone = client.expect("unsubscribed").await;
    assert_eq!(
        (&gone["id"], &gone["reason"]),
        (&json!("a"), &json!("the job has stopped"))
    );
    client
        .say(json!({"type": "subscribe", "id": "a", "stream": "quotes"}))
        .await;
    assert_eq!(client.expect("error").await["code"], "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_known_a_token_comes_first() {
    let gate = std::sync::Arc::new(Word("sesame"));
    let server = Server::start_with(Limits::default(), Who::Unknown(gate)).await;
    let mut client = server.client().await;
    client
        .say(json!({"type": "subscribe", "id": "a", "stream": "quotes"}))
        .await;
    assert_eq!(client.expect("error").await["code"], "unauthorized");
    client.say(json!({"type": "auth", "token": "sesame"})).await;
    client.subscribe().await;
    let mut stranger = server.client().await;
    stranger
        .say(json!({"type": "auth", "token": "guess"}))
        .await;
    assert_eq!(stranger.expect("error").await["code"], "unauthorized");
    assert_eq!(stranger.closed().await, Some(1008));
}
