//! Whatever is sent, nothing breaks: random paths, headers, JSON and SQL, and such that are nearly
//! right. An answer may be anything but the server's fault, and each refusal is a problem.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Api, ENDLESS};

const PATHS: [&str; 14] = [
    "jobs",
    "jobs/check",
    "jobs/there",
    "jobs/{}",
    "jobs/{}/start",
    "tables",
    "tables/{}",
    "indicators/{}",
    "query",
    "replays",
    "replays/{}",
    "ingest/{}",
    "keys",
    "streams/{}",
];
const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "PUT", "HEAD"];
const HEADERS: [&str; 12] = [
    "content-type",
    "content-encoding",
    "content-length",
    "idempotency-key",
    "if-none-match",
    "authorization",
    "x-api-key",
    "x-request-id",
    "last-event-id",
    "origin",
    "host",
    "upgrade",
];
const VALUES: [&str; 8] = [
    "application/json",
    "application/x-ndjson",
    "gzip",
    "Bearer ms_0",
    "websocket",
    "localhost",
    "*",
    "W/\"",
];
const FIELDS: [&str; 14] = [
    "name",
    "sql",
    "options",
    "job",
    "sources",
    "from",
    "to",
    "speed",
    "end",
    "limit",
    "timeout_ms",
    "scopes",
    "path",
    "trades.rate",
];
const WORDS: [&str; 48] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "OVER",
    "WINDOW",
    "PARTITION BY",
    "ROWS",
    "RANGE",
    "BETWEEN",
    "PRECEDING",
    "CURRENT ROW",
    "INTERVAL",
    "'1' MINUTE",
    "CREATE TABLE",
    "CREATE VIEW",
    "INSERT INTO",
    "WITH",
    "AS",
    "WATERMARK FOR",
    "UNION ALL",
    "TUMBLE",
    "HOP",
    "DESCRIPTOR",
    "TABLE",
    "LIMIT",
    "CAST",
    "CASE",
    "WHEN",
    "NULL",
    "(",
    ")",
    ",",
    ";",
    "*",
    "=",
    "<",
    "-",
    "'",
    "\"",
    "trades",
    "prices",
    "price",
    "rsi",
    "lag",
    "9223372036854775808",
    "1e400",
];

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(&[0, 1, -1, i64::MAX][..]).prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        ".{0,20}".prop_map(Value::from),
        sql().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(field(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&FIELDS[..]).prop_map(str::to_owned), 1 => ".{0,8}"]
}

/// Words in any order; or the job with a piece of it gone, twice there or replaced.
fn sql() -> impl Strategy<Value = String> {
    let words = vec(select(&WORDS[..]), 0..24).prop_map(|words| words.join(" "));
    let letters = ENDLESS.chars().count();
    let broken = (0..letters, 0..60_usize, 0..3_u8, select(&WORDS[..]));
    let broken = broken.prop_map(|(at, length, how, word)| {
        let (head, rest): (String, String) = (
            ENDLESS.chars().take(at).collect(),
            ENDLESS.chars().skip(at).collect(),
        );
        let piece: String = rest.chars().take(length).collect();
        let tail: String = rest.chars().skip(length).collect();
        match how {
            0 => head + &tail,
            1 => head + &piece + &piece + &tail,
            _ => head + word + &tail,
        }
    });
    prop_oneof![words, broken, ".{0,60}"]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        select(
            &[
                "there", "trades", "prices", "rsi", "..", "%00", "%ff", "a%2fb"
            ][..]
        )
        .prop_map(str::to_owned),
        "[A-Za-z0-9%._~$-]{1,20}",
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let known = select(&VALUES[..]).prop_map(|value| value.as_bytes().to_vec());
    let any = vec(0x20_u8..=0xff, 0..40);
    vec((select(&HEADERS[..]), prop_oneof![known, any]), 0..5)
}

/// A request of these parts, if they make one.
fn request(
    method: &str,
    path: &str,
    headers: Vec<(&str, Vec<u8>)>,
    body: Vec<u8>,
) -> Option<Request<Body>> {
    let mut request = Request::builder().method(method).uri(path);
    let typed = headers.iter().any(|(name, _)| *name == "content-type");
    if !typed {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(name, HeaderValue::from_bytes(&value).ok()?);
    }
    request.body(Body::from(body)).ok()
}

/// Sends it; the answer is nobody's fault but the client's.
fn answered(runtime: &Runtime, api: &Api, request: Request<Body>) -> Result<(), TestCaseError> {
    let told = format!(
        "{} {} {:?}",
        request.method(),
        request.uri(),
        request.headers()
    );
    let answer = runtime.block_on(api.ask(request));
    let (status, text) = (answer.status.as_u16(), &answer.text);
    // A job that has just ended takes no rows, which is no fault.
    prop_assert!(status < 500 || status == 503, "{told}: {status} {text}");
    if status >= 400 && !told.starts_with("HEAD") {
        let problem: Value = serde_json::from_str(text).unwrap_or_default();
        prop_assert_eq!(&problem["status"], &json!(status), "{}: {}", told, text);
    }
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    })
}

/// Runs `check` with a server that has a job.
fn with_server(check: impl FnOnce(&Runtime, &Api)) {
    let runtime = Runtime::new().unwrap();
    let api = runtime.block_on(async {
        let api = Api::new().await;
        api.submit("there", ENDLESS).await;
        api
    });
    check(&runtime, &api);
    runtime.block_on(api.close());
}

#[test]
fn no_request_breaks_the_server() {
    let query = "([a-z_]{1,8}=[A-Za-z0-9%._-]{0,12}&?){0,3}";
    let parts = (
        select(&METHODS[..]),
        select(&PATHS[..]),
        segment(),
        query,
        headers(),
        body(),
    );
    with_server(|runtime, api| {
        let checked = runner(600).run(&parts, |(method, path, segment, query, headers, body)| {
            let path = format!("/api/v1/{}?{query}", path.replace("{}", &segment));
            match request(method, &path, headers, body) {
                Some(request) => answered(runtime, api, request),
                None => Ok(()),
            }
        });
        checked.unwrap();
    });
}

#[test]
fn no_text_breaks_the_planner() {
    let parts = (sql(), select(&["jobs/check", "query"][..]));
    with_server(|runtime, api| {
        let checked = runner(400).run(&parts, |(sql, path)| {
            let body = json!({"sql": sql}).to_string().into_bytes();
            let request = request("POST", &format!("/api/v1/{path}"), vec![], body);
            answered(runtime, api, request.unwrap())
        });
        checked.unwrap();
    });
}
