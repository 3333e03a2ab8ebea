//! The live page and the TypeScript client: their own tests, whether what is committed is what the
//! sources give, and the page of the real program in a real browser. They need node from 20.19 on
//! and Chromium; without them these tests fail and say what to install.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Place};

/// What the browser is called, where it is not named by `CHROMIUM`.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// One of the two node packages of the server.
fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a command to its end and gives what it printed; a failure shows all of it.
#[track_caller]
pub(crate) fn run(command: &mut Command, remedy: &str) -> String {
    let output = command.stdin(Stdio::null()).output();
    assert!(output.is_ok(), "{command:?}: {output:?}; {remedy}");
    let output = output.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{command:?} failed\n{out}\n{err}");
    out
}

#[track_caller]
fn npm(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(folder);
    run(
        &mut command,
        "install node from 20.19 on (https://nodejs.org)",
    )
}

/// Installs what a package needs, unless that was done since its lock file last changed.
fn install(folder: &Path) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = |name: &str| fs::metadata(folder.join(name)).and_then(|file| file.modified());
    let wanted = changed("package-lock.json").unwrap();
    if changed("node_modules/.package-lock.json").is_ok_and(|installed| installed >= wanted) {
        return;
    }
    npm(folder, &["ci", "--no-audit", "--no-fund"]);
}

fn browser() -> String {
    let wished = std::env::var("CHROMIUM").ok();
    let names = wished.into_iter().chain(BROWSERS.map(str::to_owned));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found = names.flat_map(|name| {
        let folders = std::env::split_paths(&paths).collect::<Vec<_>>();
        folders.into_iter().map(move |folder| folder.join(&name))
    });
    let path = found.find(|path| path.is_file());
    let remedy = "there is no Chromium: apt-get install chromium, or name one by CHROMIUM=/path";
    assert!(path.is_some(), "{remedy}");
    path.unwrap().to_string_lossy().into_owned()
}

/// The client, compiled and tested; what its tests printed. Done once, for the tests that use it.
fn tested_client() -> &'static str {
    static SAID: OnceLock<String> = OnceLock::new();
    SAID.get_or_init(|| {
        let client = package("client");
        install(&client);
        npm(&client, &["test"])
    })
}

#[test]
fn the_client_keeps_its_promises() {
    let said = tested_client();
    assert!(said.contains("# fail 0"), "{said}");
    npm(&package("client"), &["run", "build"]);
}

#[test]
fn the_built_page_is_that_of_the_sources() {
    let dashboard = package("dashboard");
    install(&dashboard);
    let said = npm(&dashboard, &["test"]);
    assert!(said.contains("# fail 0"), "{said}");
    let said = npm(&dashboard, &["run", "verify"]);
    assert!(said.contains("dist is up to date"), "{said}");
}

#[test]
fn lock_files_name_no_host() {
    for name in ["client", "dashboard"] {
        let lock = fs::read_to_string(package(name).join("package-lock.json")).unwrap();
        let resolved = lock.lines().find(|line| line.contains("\"resolved\""));
        assert_eq!(
            resolved, None,
            "{name}: npm install --omit-lockfile-registry-resolved"
        );
    }
}

#[test]
fn the_page_works_in_a_browser() {
    let browser = browser();
    let dashboard = package("dashboard");
    install(&dashboard);
    let place = Place::new();
    let arguments = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    let mut server = place.start(&arguments, "log");
    let mut address = None;
    server.wait_until("the server listens", |server| {
        address = listening(&server.said());
        address.is_some()
    });
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&pictures).unwrap();
    let mut command = Command::new("node");
    command.arg("test/browser.mjs").arg(address.unwrap());
    command.arg(browser).arg(&pictures).current_dir(&dashboard);
    let said = run(
        &mut command,
        "install node from 20.19 on (https://nodejs.org)",
    );
    println!("{said}\npictures are in {}", pictures.display());
    let (code, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{}", tail(&log));
}

/// The end of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The address that the server has said it listens at.
pub(crate) fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening at ")?;
    let end =
        rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ":/.".contains(letter)))?;
    Some(rest[..end].to_owned())
}

#[test]
fn a_client_has_each_committed_row_once_across_kills() {
    tested_client();
    let place = Place::new();
    place.write("job.sql", NUMBERED);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let serve = |log: &str| {
        let mut server = place.start(&["serve", "--data", "data", "--listen", &address], log);
        server.wait_until("the server listens", |server| {
            listening(&server.said()).is_some()
        });
        server
    };
    let mut server = serve("log-0");
    let said = fs::File::create(place.path("said")).unwrap();
    let mut follow = Command::new("node")
        .args([
            "--no-warnings",
            "--experimental-websocket",
            "build/test/follow.js",
        ])
        .arg(format!("http://{address}"))
        .arg(place.path(""))
        .current_dir(package("client"))
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .unwrap();
    for (start, life) in [1_700, 900, 2_300, 1_300].into_iter().enumerate() {
        sleep(Duration::from_millis(life));
        server.kill();
        server = serve(&format!("log-{}", start + 1));
    }
    sleep(Duration::from_secs(1));
    place.write("finish", "");
    let since = Instant::now();
    let status = loop {
        if let Some(status) = follow.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > PATIENCE {
            follow.kill().unwrap();
        }
        sleep(Duration::from_millis(20));
    };
    let out = fs::read_to_string(place.path("said")).unwrap();
    assert!(status.success(), "{out}\n{}", tail(&server.said()));
    server.stop("-TERM");
    println!("{out}");

    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let query = "SELECT symbol, n, volume FROM 'numbered'";
    let published = place.run(&["query", query, "--format", "csv"]).well();
    let published = published.split_once('\n').unwrap().1;
    let followed = fs::read_to_string(place.path("rows.csv")).unwrap();
    assert!(
        sorted(published).len() > 500,
        "{} rows",
        sorted(published).len()
    );
    assert_eq!(sorted(&followed), sorted(published));
    assert!(out.contains("\"connections\":5"), "{out}");
}

/// Every row has a number of its own, so that one too few or too many is seen.
const NUMBERED: &str = "
CREATE TABLE trades (
    symbol STRING NOT NULL, price DOUBLE NOT NULL, volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL, WATERMARK FOR ts AS ts
) WITH ('connector' = 'market', 'rate' = '300', 'seed' = '7');
CREATE TABLE numbered (symbol STRING, n BIGINT, volume BIGINT)
WITH ('connector' = 'parquet', 'path' = 'numbered');
INSERT INTO numbered
SELECT symbol, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY ts), volume FROM trades;
";
