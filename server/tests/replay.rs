//! Replays and queries of recordings: what is damaged, missing, cut off or out of bounds is told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::support::Place;

/// A bounded market, recorded.
const JOB: &str = "
CREATE TABLE trades (
    symbol STRING NOT NULL, price DOUBLE NOT NULL, volume BIGINT, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rows' = '5000', 'rate' = 'max', 'archive' = 'recording');
CREATE TABLE signals (symbol STRING, ts TIMESTAMP(9), price DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'out');
INSERT INTO signals SELECT symbol, ts, price FROM trades;
";
const REPLAY: [&str; 4] = ["replay", "job.sql", "--source", "trades=recording"];

/// Where the job ran.
fn recorded() -> Place {
    let place = Place::new();
    place.write("job.sql", JOB);
    let ran = place.run(&["run", "job.sql"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    place
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_recording_is_refused_wherever_it_is_damaged() {
    let place = recorded();
    let file = place.files("recording", ".parquet").remove(0);
    let length = fs::metadata(&file).unwrap().len() as usize;
    let name = file.file_name().unwrap().to_str().unwrap();
    for at in [0, length / 3, length / 2, length - 500, length - 6] {
        flip(&file, at);
        let said = place.run(&REPLAY).failed(1);
        assert!(
            said.contains(name) && said.contains("is damaged") && said.contains("put a copy"),
            "byte {at}: {said}"
        );
        flip(&file, at);
    }
    place.run(&REPLAY).well();
    // A query looks at footers alone, and tells damage by the same code.
    let query = ["query", "SELECT count(*) FROM 'recording'"];
    for at in [length - 500, length - 6] {
        flip(&file, at);
        let said = place.run(&query).failed(1);
        assert!(
            said.contains(name) && said.contains("is damaged"),
            "byte {at}: {said}"
        );
        assert!(said.contains("query:1:22"), "{said}");
        flip(&file, at);
    }
    place.run(&query).well();
}

#[test]
fn files_without_a_needed_column_are_refused_and_dead_rows_have_a_reason() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let write = |select: &str| {
        let _ = fs::remove_file(place.path("ticks.parquet"));
        place
            .run(&["query", select, "--output", "ticks.parquet"])
            .well();
    };
    let replay = ["replay", "job.sql", "--source", "trades=ticks.parquet"];
    write("SELECT 'A' AS symbol, to_timestamp_nanos('2024-01-02T00:00:00Z') AS ts");
    let said = place.run(&replay).failed(2);
    assert!(
        said.contains("has no column 'price', which the table declares NOT NULL"),
        "{said}"
    );
    write(
        "SELECT 'A' AS symbol, CAST(NULL AS DOUBLE) AS price, \
         to_timestamp_nanos('2024-01-02T00:00:00Z') AS ts",
    );
    let told = place.run(&replay).well();
    assert!(
        told.contains("dead 1") && told.contains("dead trades: the first by intake: "),
        "{told}"
    );
    let reason = told.lines().find(|line| line.starts_with("dead trades"));
    assert!(reason.is_some_and(|line| line.contains("price")), "{told}");
}

#[test]
fn every_folder_of_a_recording_can_be_queried() {
    let place = recorded();
    let dates = "recording/trades/job=*/shard=0/date=*/*.parquet";
    for path in [
        "recording",
        "recording/trades",
        dates,
        "recording/**/*.parquet",
        "rec*",
    ] {
        let count = format!("SELECT count(*) FROM '{path}' WHERE _kind = 0");
        assert_eq!(place.value(&count), "5000", "{path}");
    }
    let none = "SELECT count(*) FROM 'recording/trades/job=*/shard=7/*/*.parquet'";
    let said = place.run(&["query", none]).failed(2);
    assert!(said.contains("no file that can be read matches"), "{said}");
    let help = place.run(&["query", "--help"]).well();
    assert!(help.contains("_kind = 0"), "{help}");
}

#[test]
fn jobs_that_recorded_nothing_are_passed_over() {
    let place = recorded();
    for job in ["job=a", "job=z/shard=0"] {
        fs::create_dir_all(place.path("recording/trades").join(job)).unwrap();
    }
    place.run(&REPLAY).well();
}

#[test]
fn bounds_that_hold_nothing_are_bad_input() {
    let place = recorded();
    let bounded = |bounds: &[&str]| place.run(&[&REPLAY, bounds].concat());
    let said = bounded(&["--from", "2026-01-02", "--to", "2026-01-01"]).failed(2);
    assert!(said.contains("--from is not before --to"), "{said}");
    let said = bounded(&["--from", "2200-01-01"]).failed(2);
    let first = place.value("SELECT min(_arrived_at) FROM 'recording'");
    let day = first.split('T').next().unwrap();
    assert!(
        said.contains("its rows are from ") && said.contains(day),
        "{said}"
    );
    bounded(&["--from", day]).well();
}

#[test]
fn nothing_is_written_into_the_recording_that_is_read() {
    let place = recorded();
    for output in [
        "recording",
        "recording/trades/new",
        "recording/../recording/new",
    ] {
        let said = place.run(&[&REPLAY[..], &["--output", output]].concat());
        assert!(
            said.failed(2).contains("choose a folder outside"),
            "{output}"
        );
    }
    assert!(place.files("recording", "columns.parquet").is_empty());
    place
        .run(&[&REPLAY[..], &["--output", "recording-2"]].concat())
        .well();
}

#[test]
fn a_replay_that_is_cut_off_says_so() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let ran = place.run(&["run", "job.sql", "--option", "trades.rate=1000"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let slow = [&REPLAY[..], &["--speed", "0.1x", "--output", "again"]].concat();
    let mut replay = place.start(&slow, "said.txt");
    replay.wait_until("it runs", |_| place.path("again/signals").exists());
    sleep(Duration::from_millis(500));
    let (code, said) = replay.stop("-INT");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped before the end"), "{said}");
    assert!(!said.contains("after a last commit"), "{said}");
}

#[test]
fn a_demo_that_is_cut_off_finds_no_difference() {
    let place = Place::new();
    let mut demo = place.start(&["demo", "--data", "demo"], "said.txt");
    demo.wait_until("rows come", |demo| demo.said().contains("rows/s"));
    demo.signal("-INT");
    sleep(Duration::from_millis(20));
    demo.signal("-INT");
    let (code, said) = demo.end();
    assert!(!said.contains("DIFFERENT"), "{said}");
    // Where the second signal comes after all is done, the runs were compared as a whole.
    let compared = said.lines().any(|line| line == "equal");
    assert_eq!(code, Some(i32::from(!compared)), "{said}");
    assert_eq!(said.contains("digest"), compared, "{said}");
}

#[test]
fn what_a_short_demo_says_to_type_next_works() {
    let place = Place::new();
    let told = place
        .run(&["demo", "--duration", "500ms", "--data", "demo"])
        .well();
    let next = told.lines().find(|line| line.contains(" query ")).unwrap();
    assert!(next.trim().starts_with('/'), "as it was started: {next}");
    let ran = Command::new("sh")
        .args(["-c", next])
        .current_dir(place.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{next}\n{said}");
    assert_eq!(place.value("SELECT count(*) FROM 'demo/bars'"), "0");
}
