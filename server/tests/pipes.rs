//! Outputs that are full, closed or wrongly named.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Output, Stdio};

use crate::cli::JOB;
use crate::support::Place;

const ROWS: &str = "SELECT value AS a, value * 2 AS b FROM range(200000)";

fn program(place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).current_dir(place.path("."));
    command.stderr(Stdio::piped());
    command
}

/// What is left of a run whose reader has seen a little.
fn read_a_little(place: &Place, arguments: &[&str]) -> Output {
    let mut child = program(place, arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut few = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut few).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new();
    for format in ["table", "json", "csv", "parquet"] {
        let ended = read_a_little(&place, &["query", ROWS, "--format", format]);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (ended.status.code(), said.as_ref()),
            (Some(0), ""),
            "{format}"
        );
    }
    place.write("job.sql", JOB);
    let mut run = vec!["run", "job.sql"];
    for option in ["bars.connector=stdout", "signals.connector=stdout"] {
        run.extend(["--option", option]);
    }
    let ended = read_a_little(&place, &run);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_full_disk_is_named_with_the_output_and_a_remedy() {
    let place = Place::new();
    for format in ["table", "json", "csv", "parquet"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = program(&place, &["query", ROWS, "--format", format]);
        let ended = command.stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        let expected = "error: the standard output cannot be written; the disk is full: free some";
        assert!(said.starts_with(expected), "{format}: {said}");
        assert_eq!(ended.status.code(), Some(1), "{format}");
    }
}

#[test]
fn a_file_is_not_given_the_name_of_another_format() {
    let place = Place::new();
    let query = ["query", "SELECT 1 AS a", "--output"];
    let wrong = [&query[..], &["x.parquet", "--format", "csv"]].concat();
    assert!(
        place
            .run(&wrong)
            .failed(2)
            .contains("'x.parquet' is a name for another format")
    );
    assert!(!place.path("x.parquet").exists());
    for well in [
        &["x.csv", "--format", "csv"][..],
        &["x.txt", "--format", "csv"],
    ] {
        place.run(&[&query[..], well].concat()).well();
    }
}

#[test]
fn every_damage_of_a_file_ends_alike() {
    let place = Place::new();
    place.write("job.sql", JOB);
    assert_eq!(place.run(&["run", "job.sql"]).code, Some(0));
    let file = place.files("recording", ".parquet").remove(0);
    let whole = std::fs::read(&file).unwrap();
    for at in [100, whole.len() - 20] {
        let mut damaged = whole.clone();
        damaged[at..at + 16].fill(0xff);
        std::fs::write(&file, damaged).unwrap();
        let said = place
            .run(&["replay", "job.sql", "--source", "trades=recording"])
            .failed(1);
        assert!(said.contains(".parquet' is damaged"), "{at}: {said}");
    }
}
