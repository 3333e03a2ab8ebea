//! The server as a program: killed, stopped and started, its jobs go on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::ENDLESS;
use crate::support::{Place, Running};

/// Asks the server; the status and the body, unless it dies of it.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A server that has said where it listens.
pub(crate) struct Serving {
    pub(crate) running: Running,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(place: &Place, said: &str) -> Self {
        Self::start_with(place, said, &[])
    }

    pub(crate) fn start_with(place: &Place, said: &str, more: &[&str]) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
        let mut running = place.start(&[&arguments, more].concat(), said);
        let mut address = String::new();
        running.wait_until("the server listens", |running| {
            let said = running.said();
            let found = said
                .split_once("http://")
                .and_then(|(_, rest)| rest.split_once('"'));
            address = found
                .map(|(address, _)| address.to_owned())
                .unwrap_or_default();
            !address.is_empty()
        });
        Self { running, address }
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, text) = ask(&self.address, method, path, &body.to_string()).unwrap();
        assert!(status < 300, "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) fn job(&self, name: &str) -> Value {
        self.json("GET", &format!("/api/v1/jobs/{name}"), &Value::Null)
    }

    pub(crate) fn wait(&mut self, name: &str, done: impl Fn(&Value) -> bool) -> Value {
        let address = self.address.clone();
        let mut job = Value::Null;
        self.running.wait_until("the job is as it should be", |_| {
            let answer = ask(&address, "GET", &format!("/api/v1/jobs/{name}"), "");
            job = serde_json::from_str(&answer.unwrap().1).unwrap();
            done(&job)
        });
        job
    }
}

fn arrived(job: &Value) -> u64 {
    job["tables"][0]["arrived"].as_u64().unwrap_or_default()
}

#[test]
fn jobs_come_back_with_their_state() {
    let place = Place::new();
    let mut server = Serving::start(&place, "first");
    for name in ["goes-on", "rests"] {
        server.json(
            "POST",
            "/api/v1/jobs",
            &json!({"name": name, "sql": ENDLESS}),
        );
    }
    server.json("POST", "/api/v1/jobs/rests/stop", &Value::Null);
    let rests = server.wait("rests", |job| job["state"] == "stopped");
    let before = server.wait("goes-on", |job| {
        job["state"] == "running" && arrived(job) > 3_000
    });
    server.running.kill();

    // Killed, it goes on from its log: what was committed is counted.
    let mut server = Serving::start(&place, "second");
    let after = server.wait("goes-on", |job| job["state"] == "running");
    assert_eq!(after["id"], before["id"]);
    assert!(arrived(&after) >= arrived(&before) / 2, "{before}\n{after}");
    assert!(after["committed_epoch"].as_u64() >= before["committed_epoch"].as_u64());
    let more = arrived(&after);
    server.wait("goes-on", |job| arrived(job) > more);
    let still = server.job("rests");
    assert_eq!(
        (&still["state"], &still["tables"]),
        (&json!("stopped"), &rests["tables"])
    );

    // Stopped, it is gone within ten seconds, with a last commit, and runs again after that.
    let since = Instant::now();
    let (code, said) = server.running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    let mut server = Serving::start(&place, "third");
    let again = server.wait("goes-on", |job| job["state"] == "running");
    assert!(arrived(&again) > more, "{again}");
    assert_eq!(server.job("rests")["state"], "stopped");
    let (code, _) = server.running.stop("-INT");
    assert_eq!(code, Some(0));
}

/// What comes in is recorded, and its state is the last price of each symbol.
const RECORDED: &str = "
CREATE TABLE ticks (symbol STRING, price DOUBLE, at AS PROCTIME())
WITH ('connector' = 'http', 'mode' = 'push', 'archive' = 'recordings');
CREATE TABLE moves (symbol STRING, price DOUBLE, before DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'moves');
SET 'commit.interval' = '20 ms';
INSERT INTO moves
SELECT symbol, price, LAG(price) OVER (PARTITION BY symbol ORDER BY at) FROM ticks;
";

/// Damages the state that a job would start with; the job then fails, and says so.
fn damage(place: &Place) {
    let mut records = place.files("data/server/jobs", ".record");
    let newest = records.pop().unwrap().with_extension("snapshot");
    for snapshot in place.files("data/server/jobs", ".snapshot") {
        std::fs::write(snapshot, "gone").unwrap();
    }
    std::fs::write(newest, "gone").unwrap();
}

#[test]
fn a_state_that_is_lost_comes_back_from_the_recording() {
    let place = Place::new();
    let mut server = Serving::start(&place, "first");
    let job = json!({"name": "moves", "sql": RECORDED});
    server.json("POST", "/api/v1/jobs", &job);
    let runs = |job: &Value| job["state"] == "running";
    let push = |server: &mut Serving, price: f64| {
        server.wait("moves", runs);
        let rows = json!([{"symbol": "AAPL", "price": price}, {"symbol": "MSFT", "price": -price}]);
        server.json("POST", "/api/v1/ingest/ticks?wait=committed", &rows);
    };
    let from = json!({"from": "recording"});
    push(&mut server, 1.0);
    push(&mut server, 2.0);
    server.running.kill();

    // What came is in the log and in no file yet.
    assert!(place.files("recordings", ".parquet").is_empty());
    damage(&place);
    let mut server = Serving::start(&place, "second");
    let failed = server.wait("moves", |job| job["state"] == "failed");
    assert!(failed["reason"].to_string().contains("damaged"), "{failed}");
    server.json("POST", "/api/v1/jobs/moves/start", &from);
    push(&mut server, 3.0);
    server.json("POST", "/api/v1/jobs/moves/stop", &Value::Null);
    server.wait("moves", |job| job["state"] == "stopped");

    // Now it is in files.
    assert!(!place.files("recordings", ".parquet").is_empty());
    damage(&place);
    server.json("POST", "/api/v1/jobs/moves/start", &json!({}));
    server.wait("moves", |job| job["state"] == "failed");
    server.json("POST", "/api/v1/jobs/moves/start", &from);
    push(&mut server, 4.0);
    let query =
        json!({"sql": "SELECT symbol, price, before FROM moves ORDER BY symbol, abs(price)"});
    let rows = server.json("POST", "/api/v1/query", &query)["rows"].clone();
    let expected: Vec<Value> = [("AAPL", 1.0), ("MSFT", -1.0)]
        .into_iter()
        .flat_map(|(symbol, sign)| {
            [None, Some(1.0), Some(2.0), Some(3.0)].map(|before| {
                let price = sign * (before.unwrap_or(0.0) + 1.0);
                let before = before.map(|before| sign * before);
                json!({"symbol": symbol, "price": price, "before": before})
            })
        })
        .collect();
    assert_eq!(rows, Value::from(expected));
    let job = server.job("moves");
    assert_eq!(job["tables"][0]["arrived"], 8, "{job}");
    let (code, said) = server.running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn log_lines_have_the_ids_of_request_and_job() {
    let place = Place::new();
    let server = Serving::start(&place, "said");
    let id = server.json(
        "POST",
        "/api/v1/jobs",
        &json!({"name": "j", "sql": ENDLESS}),
    )["id"]
        .clone();
    server.json("DELETE", "/api/v1/jobs/j", &Value::Null);
    let (_, said) = server.running.stop("-TERM");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let spans = |line: &Value| line["spans"].as_array().cloned().unwrap_or_default();
    let of_job = lines
        .iter()
        .flat_map(spans)
        .find(|span| span["name"] == "job");
    assert_eq!(of_job.unwrap()["id"], id, "{said}");
    let request = lines
        .iter()
        .flat_map(spans)
        .find(|span| span["name"] == "request");
    assert_eq!(
        request.unwrap()["request"].as_str().unwrap().len(),
        36,
        "{said}"
    );
}

#[test]
fn a_data_folder_has_one_server_and_other_machines_none() {
    let place = Place::new();
    let server = Serving::start(&place, "first");
    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(2), "{}", second.err);
    assert!(
        second.err.contains("stop the server that uses it"),
        "{}",
        second.err
    );
    let taken = ["serve", "--data", "other", "--listen", &server.address];
    let taken = place.run(&taken);
    assert_eq!(taken.code, Some(2), "{}", taken.err);
    assert!(
        taken.err.contains("choose another address or port"),
        "{}",
        taken.err
    );
    let open = [
        "serve",
        "--data",
        "open",
        "--listen",
        "0.0.0.0:0",
        "--auth",
        "off",
    ];
    let open = place.run(&open);
    assert_eq!(open.code, Some(2), "{}", open.err);
    assert!(open.err.contains("say it twice"), "{}", open.err);
}

#[test]
fn settings_are_shown_merged() {
    let place = Place::new();
    place.write("a.yaml", "max_body: 5\nlisten: 127.0.0.1:7\n");
    let shown = place
        .run(&["config", "--config", "a.yaml", "--listen", "127.0.0.1:8"])
        .well();
    assert!(shown.contains("listen: \"127.0.0.1:8\"\n"), "{shown}");
    assert!(shown.contains("max_body: 5\n"), "{shown}");
    place.write("b.yaml", "max_bdy: 5\n");
    let refused = place.run(&["config", "--config", "b.yaml"]).failed(2);
    assert!(refused.contains("did you mean 'max_body'?"), "{refused}");
    let wrong = place.run(&["serve", "--log-level", "=/="]).failed(2);
    assert!(wrong.contains("log_level"), "{wrong}");
}

#[test]
fn the_demo_can_be_looked_at() {
    let place = Place::new();
    let mut running = place.start(&["demo", "--data", "demo"], "said");
    let mut address = String::new();
    running.wait_until("the demo serves", |running| {
        let said = running.said();
        let found = said
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once('\n'));
        address = found
            .map(|(address, _)| address.to_owned())
            .unwrap_or_default();
        !address.is_empty()
    });
    let mut demo = Serving { running, address };
    let job = demo.wait("demo", |job| {
        job["state"] == "running" && arrived(job) > 1_000
    });
    let streams = job["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| &output["stream"]);
    assert_eq!(
        streams.collect::<Vec<_>>(),
        ["indicators", "bars", "alerts"]
    );
    // It is the demo's: it ends with it, and not before.
    let (status, _) = ask(&demo.address, "POST", "/api/v1/jobs/demo/stop", "").unwrap();
    assert_eq!(status, 409);
    // Another can run beside it.
    demo.json(
        "POST",
        "/api/v1/jobs",
        &json!({"name": "mine", "sql": ENDLESS}),
    );
    demo.wait("mine", |job| job["state"] == "running");
    let (code, said) = demo.running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\nequal\n"), "{said}");
}

#[test]
fn the_command_line_gives_dead_rows_back() {
    let place = Place::new();
    let serving = Serving::start(&place, "said");
    let sql = "CREATE TABLE t (n BIGINT NOT NULL) WITH ('connector' = 'http', 'mode' = 'push');
               CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');
               SET 'commit.interval' = '20 ms'; INSERT INTO o SELECT n FROM t;";
    serving.json("POST", "/api/v1/jobs", &json!({"name": "j", "sql": sql}));
    let path = "/api/v1/ingest/t?wait=committed";
    serving.json("POST", path, &json!([{"n": 1}, {"n": "x"}]));
    let url = format!("http://{}", serving.address);
    let told = place.run(&["redrive", "j", "--url", &url]).well();
    assert_eq!(
        told,
        "0 of 1 dead rows came in again; 1 still cannot be read\n"
    );
    let json = place
        .run(&["redrive", "j", "--url", &url, "--reason", "none", "--json"])
        .well();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["matched"], 0);
    let said = place.run(&["redrive", "none", "--url", &url]).failed(2);
    assert!(
        said.contains("404") && said.contains("no job 'none'"),
        "{said}"
    );
    let said = place
        .run(&["redrive", "j", "--url", "http://127.0.0.1:1"])
        .failed(1);
    assert!(said.contains("does not answer"), "{said}");
}
