//! What a log gives back, and what it and its folder refuse.

use std::fs;

use crate::cli::{JOB, place};
use crate::support::{Place, digests};

#[test]
fn a_stopped_job_goes_on() {
    let place = place();
    let slow = [
        "run",
        "job.sql",
        "--digest",
        "--option",
        "trades.rate=20000",
    ];
    let mut running = place.start(&slow, "said");
    running.wait_until("an epoch is committed", |_| {
        !place.files("data/job/log", ".record").is_empty()
    });
    let second = place.run(&slow).failed(1);
    assert!(second.contains("another process runs this job"), "{second}");
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    let stopped = said.contains("stopped: the same command goes on");
    assert!(stopped || said.contains("finished"), "{said}");
    let rest = place.run(&slow);
    assert_eq!(rest.code, Some(0), "{}", rest.err);
    let whole = Place::new();
    whole.write("job.sql", JOB);
    let undisturbed = whole.run(&[
        "run",
        "job.sql",
        "--digest",
        "--option",
        "trades.rate=20000",
    ]);
    if stopped {
        assert_eq!(
            digests(&rest.err),
            digests(&undisturbed.err),
            "{}",
            rest.err
        );
    }
}

#[test]
fn a_damaged_log_is_refused_and_left_alone() {
    let place = place();
    let mut running = place.start(&["run", "job.sql", "--option", "trades.rate=5000"], "said");
    running.wait_until("three epochs are committed", |_| {
        place.files("data/job/log", ".record").len() >= 3
    });
    running.kill();
    let records = place.files("data/job/log", ".record");
    let mut bytes = fs::read(&records[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&records[1], &bytes).unwrap();
    let before = place.files(".", "");
    let said = place
        .run(&["run", "job.sql", "--option", "trades.rate=5000"])
        .failed(1);
    assert!(
        said.contains("damaged") && said.contains("--fresh"),
        "{said}"
    );
    assert!(said.contains("data/job"), "{said}");
    assert_eq!(fs::read(&records[1]).unwrap(), bytes);
    let after = place.files(".", "");
    assert!(
        before
            .iter()
            .filter(|f| !f.ends_with("said"))
            .all(|file| after.contains(file))
    );
}

#[test]
fn a_log_is_shown_and_checked() {
    let place = place();
    let mut running = place.start(&["run", "job.sql", "--option", "trades.rate=5000"], "said");
    running.wait_until("three epochs are committed", |_| {
        place.files("data/job/log", ".record").len() >= 3
    });
    running.kill();
    let records = place.files("data/job/log", ".record");
    let shown = place.run(&["log", "show", "data/job"]).well();
    assert!(shown.contains("reads    trades"), "{shown}");
    assert!(shown.contains("the fence of a start"), "{shown}");
    assert!(shown.contains("arrived    trades"), "{shown}");
    let sound = place.run(&["log", "verify", "data/job"]).well();
    assert!(sound.contains("sound"), "{sound}");
    let json = place.run(&["log", "show", "data/job/log", "--json"]).well();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["records"].as_array().unwrap().len(), records.len());
    assert_eq!(
        (&json["records"][0]["is_fence"], &json["fences"]),
        (&true.into(), &serde_json::json!([1]))
    );
    let first = &json["records"][1];
    assert_eq!(first["epoch"], 2);
    let (arrived, read) = (
        &first["arrived"]["trades"][0],
        &first["positions"]["trades"],
    );
    assert!(arrived.as_u64() > Some(0) && read.is_object(), "{first}");
    assert_eq!(json["faults"], serde_json::json!([]));
    // What is damaged and what is missing, and that a start says the same.
    let whole = fs::read(&records[1]).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&records[1], &bytes).unwrap();
    let damaged = place.run(&["log", "verify", "data/job"]);
    assert_eq!(damaged.code, Some(1), "{}", damaged.out);
    let named = damaged.out.contains("epoch-00000000000000000002.record: ");
    assert!(named && damaged.out.contains("--fresh"), "{}", damaged.out);
    fs::remove_file(&records[1]).unwrap();
    let missing = place.run(&["log", "verify", "data/job", "--json"]);
    assert_eq!(missing.code, Some(1), "{}", missing.out);
    let json: serde_json::Value = serde_json::from_str(&missing.out).unwrap();
    assert_eq!(json["faults"][0]["object"], "the record of epoch 2");
    assert_eq!(json["faults"][0]["stops_recovery"], true);
    fs::write(&records[1], &whole).unwrap();
    place.run(&["log", "verify", "data/job"]).well();
    let nothing = place.run(&["log", "verify", "."]).failed(2);
    assert!(nothing.contains("holds no log"), "{nothing}");
}

#[test]
fn a_damaged_snapshot_can_be_left_out_where_the_records_are_there() {
    let place = place();
    let rows = [
        "run",
        "job.sql",
        "--duration",
        "1s",
        "--option",
        "trades.rate=2000",
    ];
    place.run(&rows).well();
    let snapshots = place.files("data/job/log", ".snapshot");
    let [snapshot] = snapshots.as_slice() else {
        panic!("one snapshot: {snapshots:?}")
    };
    let shown = place.run(&["log", "show", "data/job"]).well();
    assert!(
        shown.contains("snapshot, ") && shown.contains("published when"),
        "{shown}"
    );
    place.run(&["log", "verify", "data/job"]).well();
    let mut bytes = fs::read(snapshot).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(snapshot, &bytes).unwrap();
    let damaged = place.run(&["log", "verify", "data/job"]);
    assert_eq!(damaged.code, Some(1));
    assert!(
        damaged.out.contains("a start would refuse"),
        "{}",
        damaged.out
    );
    let complete = damaged
        .out
        .contains("remove it: the records are complete from epoch 1");
    let first = place.files("data/job/log", "00001.record");
    assert_eq!(complete, !first.is_empty(), "{}", damaged.out);
    let said = place.run(&rows).failed(1);
    assert!(said.contains("damaged"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let place = place();
    place.write("file", "not a folder");
    let said = place
        .run(&["run", "job.sql", "--data", "file/data"])
        .failed(1);
    assert!(
        said.contains("data folder 'file/data' cannot be written"),
        "{said}"
    );
    let blocked = ["run", "job.sql", "--option", "bars.path=file/bars"];
    let said = place.run(&blocked).failed(1);
    assert!(said.contains("file/bars"), "{said}");
    assert_eq!(
        fs::read_to_string(place.path("file")).unwrap(),
        "not a folder"
    );
}

#[test]
fn another_script_does_not_take_over_a_log() {
    let place = place();
    place.run(&["run", "job.sql"]).well();
    place.write(
        "other.sql",
        &JOB.replace("rsi(price, 14)", "rsi(price, 15)"),
    );
    let said = place
        .run(&["run", "other.sql", "--data", "data/job"])
        .failed(1);
    assert!(
        said.contains("of another job") && said.contains("rsi[14]"),
        "{said}"
    );
}
