//! The API is as its description says: schemathesis asks a running server everything that the
//! description allows and much that it does not. It comes from `PyPI` into a folder of its own, once;
//! without Python this test fails and says what to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::browser::{listening, run, tail};
use crate::support::Place;

/// Names another schemathesis than that of `contract/requirements.txt`.
const NAMED: &str = "SCHEMATHESIS";
const REMEDY: &str = "install Python from 3.10 on with venv (apt-get install python3-venv), or name \
                      the program by SCHEMATHESIS=/path";
/// A job whose table takes rows, and whose rows can be followed and asked for.
const JOB: &str = "
CREATE TABLE ticks (symbol STRING, price DOUBLE, ts TIMESTAMP(9), WATERMARK FOR ts AS ts)
WITH ('connector' = 'http', 'mode' = 'push', 'archive' = 'recordings');
CREATE TABLE prices (symbol STRING, price DOUBLE, ts TIMESTAMP(9))
WITH ('connector' = 'parquet', 'path' = 'prices', 'key' = 'symbol');
SET 'commit.interval' = '10 ms';
INSERT INTO prices SELECT symbol, price, ts FROM ticks;
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract")
}

/// The program, installed where it is not yet: whole, or the next run does it again.
fn schemathesis() -> PathBuf {
    if let Some(named) = std::env::var_os(NAMED) {
        return named.into();
    }
    let wanted = fs::read_to_string(folder().join("requirements.txt")).unwrap();
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let whole = environment.join("whole.txt");
    if fs::read_to_string(&whole).ok().as_ref() != Some(&wanted) {
        let mut create = Command::new("python3");
        run(
            create.args(["-m", "venv", "--clear"]).arg(&environment),
            REMEDY,
        );
        let mut install = Command::new(environment.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", "-r"]);
        run(install.arg(folder().join("requirements.txt")), REMEDY);
        fs::write(&whole, wanted).unwrap();
    }
    environment.join("bin/schemathesis")
}

async fn submit(address: &str, key: &str, body: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client
        .post(format!("{address}/api/v1/jobs"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send();
    let answer = sent.await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 201, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_does_what_its_description_says() {
    let program = schemathesis();
    let place = Place::new();
    let key = [
        "keys", "create", "--name", "contract", "--data", "data", "--scope", "read", "--scope",
        "write", "--scope", "admin",
    ];
    let key = place.run(&key).well().trim().to_owned();
    let mut server = place.start(
        &[
            "serve",
            "--data",
            "data",
            "--listen",
            "127.0.0.1:0",
            "--auth",
            "required",
            "--rate-limit",
            "1000000",
            "--rate-burst",
            "1000000",
        ],
        "log",
    );
    let mut address = None;
    server.wait_until("the server listens", |server| {
        address = listening(&server.said());
        address.is_some()
    });
    let address = address.unwrap();
    let body = serde_json::json!({"name": "contract", "sql": JOB}).to_string();
    submit(&address, &key, &body).await;

    let mut test = Command::new(program);
    test.arg("--config-file")
        .arg(folder().join("schemathesis.toml"));
    test.arg("run")
        .arg(format!("{address}/api/v1/openapi.json"));
    let authorization = format!("Authorization: Bearer {key}");
    test.args(["--header", &authorization, "--checks", "all"]);
    // What a text means is not in a schema: SQL that is a string and no SQL is refused.
    test.args(["--exclude-checks", "positive_data_acceptance"]);
    // The same requests every time.
    test.args(["--generation-deterministic", "--max-examples", "15"]);
    test.args(["--suppress-health-check", "all", "--no-color"]);
    let said = run(test.current_dir(place.path("")), REMEDY);
    assert!(said.contains("Test cases:"), "{said}");
    let (code, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{}", tail(&log));
    assert!(!log.contains("a defect"), "{}", tail(&log));
}
