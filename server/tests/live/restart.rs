//! The program itself, killed and started again: a client that resumes has the committed rows,
//! none missing and none twice.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::server::PATIENCE;
use crate::support::{Place, Running};

const JOB: &str = "
CREATE TABLE trades (symbol STRING, price DOUBLE, trade_id BIGINT, ts TIMESTAMP(9),
                     WATERMARK FOR ts AS ts)
WITH ('connector' = 'market', 'symbols' = '5', 'rate' = '3000', 'rows' = '20000');
CREATE TABLE prices (symbol STRING, trade_id BIGINT, price DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'prices', 'rolling.interval' = '200 ms', 'key' = 'symbol');
SET 'commit.interval' = '100 ms';
INSERT INTO prices SELECT symbol, trade_id, price FROM trades;
";

/// A client of the stream `prices`, through all its connections, and the rows that it has.
#[derive(Default)]
pub(super) struct Reader {
    cursor: Option<String>,
    /// The cursor before a reset, until a snapshot follows.
    anchor: Option<String>,
    /// Rows with the epoch and the number of the frame's end, in order.
    rows: Vec<(Place2, i64)>,
    resets: usize,
}

/// Epoch and number.
type Place2 = (u64, u64);

fn place(cursor: &Value) -> Place2 {
    let mut parts = cursor.as_str().unwrap().split('-').skip(1);
    let mut number = || parts.next().unwrap().parse().unwrap();
    (number(), number())
}

impl Reader {
    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "update" => {
                assert_eq!(frame["after"].as_str(), self.cursor.as_deref(), "{frame}");
                assert!(frame.get("conflated").is_none());
                let end = place(&frame["cursor"]);
                let ids = frame["rows"].as_array().unwrap().iter();
                self.rows
                    .extend(ids.map(|row| (end, row["trade_id"].as_i64().unwrap())));
            }
            "snapshot" => self.anchor = None,
            "reset" => {
                assert_eq!(frame["reason"], "withdrawn", "{frame}");
                self.resets += 1;
                self.anchor = self.anchor.take().or(self.cursor.take());
                let to = place(&frame["cursor"]);
                self.rows.retain(|(end, _)| *end <= to);
            }
            "subscribed" | "heartbeat" => return,
            other => panic!("{other}: {frame}"),
        }
        self.cursor = Some(frame["cursor"].as_str().unwrap().to_owned());
    }

    /// The numbers of its rows, ascending; none of them came twice.
    pub(super) fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.rows.iter().map(|(_, id)| *id).collect();
        numbers.sort_unstable();
        let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "a row came twice: {twice:?}");
        numbers
    }

    /// Follows the stream until the connection ends; says whether the job has stopped.
    pub(super) async fn follow(&mut self, address: &str) -> bool {
        let Ok((mut stream, _)) = connect_async(format!("ws://{address}/api/v1/live")).await else {
            return false;
        };
        let from = self.anchor.as_ref().or(self.cursor.as_ref());
        let from = from.map_or("1-0-0", String::as_str);
        let frame = json!({"type": "subscribe", "id": "a", "stream": "prices", "from": from});
        self.cursor = Some(from.to_owned());
        if stream.send(Message::text(frame.to_string())).await.is_err() {
            return false;
        }
        loop {
            match timeout(PATIENCE, stream.next()).await.expect("in time") {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    match frame["type"].as_str() {
                        Some("unsubscribed") => return true,
                        // The job is not up yet.
                        Some("error") => return false,
                        _ => self.take(&frame),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    }
}

/// A server in the folder, and where it listens.
pub(super) fn start(place: &Place, round: usize) -> (Running, String) {
    let flags = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    let mut running = place.start(&flags, &format!("said-{round}"));
    let mut address = None;
    running.wait_until("it listens", |running| {
        let said = running.said();
        let at = said.split("http://").nth(1);
        address = at.map(|at| {
            at.chars()
                .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
                .collect()
        });
        address.is_some()
    });
    (running, address.unwrap())
}

fn client() -> reqwest::Client {
    // It is set already where another test came first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What a `GET` is answered with.
pub(super) async fn get(address: &str, path: &str) -> String {
    let sent = client().get(format!("http://{address}{path}")).send();
    sent.await.unwrap().text().await.unwrap()
}

/// Posts JSON; the status and the answer, `None` where nobody answers.
pub(super) async fn post(address: &str, path: &str, body: &Value) -> Option<(u16, String)> {
    let sent = client()
        .post(format!("http://{address}/api/v1/{path}"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send();
    let answer = sent.await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

pub(super) async fn submit(address: &str, sql: &str) {
    let job = json!({"name": "prices", "sql": sql});
    let (status, text) = post(address, "jobs", &job).await.unwrap();
    assert_eq!(status, 201, "{text}");
}

/// The numbers of the rows that are committed, ascending.
pub(super) fn committed(place: &Place) -> Vec<i64> {
    let query = "SELECT trade_id FROM 'prices' ORDER BY trade_id";
    let out = place.run(&["query", query, "--format", "csv"]).well();
    let lines = out.lines().skip(1);
    lines.map(|line| line.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resumes_after_kills_has_the_committed_rows_once() {
    let folder = Place::new();
    let mut reader = Reader::default();
    for round in 0..5 {
        let (running, address) = start(&folder, round);
        if round == 0 {
            submit(&address, JOB).await;
        }
        let killed = round < 4;
        let delay = Duration::from_millis([700, 300, 450, 1_100, 0][round]);
        let deadline = tokio::time::Instant::now() + delay;
        let following = async {
            // Until the job is up, it is asked again.
            while !reader.follow(&address).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if killed {
            let _ = tokio::time::timeout_at(deadline, following).await;
            running.kill();
        } else {
            timeout(PATIENCE, following).await.expect("the job ends");
            running.stop("-TERM");
        }
    }
    let committed = committed(&folder);
    assert_eq!(committed.len(), 20_000);
    assert_eq!(reader.numbers(), committed);
}
