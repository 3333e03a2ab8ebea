//! A job that `run` ran goes on from a savepoint, with a changed script, exactly once.

use crate::recovery::{JOB, epoch, same_rows};
use crate::support::{Place, digests};

/// The same job with a table more, in front of the others.
fn with_more() -> String {
    let more = "
CREATE TABLE volumes (symbol STRING, window_end TIMESTAMP(9), volume BIGINT)
WITH ('connector' = 'parquet', 'path' = 'volumes');
INSERT INTO volumes
SELECT symbol, window_end, SUM(volume)
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '200' MILLISECOND)
GROUP BY symbol, window_start, window_end;
SET 'commit.interval'";
    JOB.replacen("\nSET 'commit.interval'", more, 1)
}

#[test]
fn a_changed_script_goes_on_where_the_job_was_kept() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let create = ["savepoint", "create", "job.sql", "before"];
    let nothing = place.run(&create).failed(2);
    assert!(nothing.contains("there is no data folder"), "{nothing}");
    let mut running = place.start(&["run", "job.sql", "--digest"], "said");
    running.wait_until("some commits", |_| epoch(&place) > 12);
    let in_use = place.run(&create).failed(1);
    assert!(in_use.contains("another process runs this job"), "{in_use}");
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    let kept = place.run(&create).well();
    assert!(kept.starts_with("savepoint 'before' of epoch "), "{kept}");
    let taken = place.run(&create).failed(1);
    assert!(taken.contains("a savepoint 'before' already"), "{taken}");
    let listed = place
        .run(&["savepoint", "list", "job.sql", "--json"])
        .well();
    assert!(listed.contains("\"name\":\"before\""), "{listed}");

    // Another text over this state is refused, and so is a savepoint whose state has no place in it.
    place.write("job.sql", &with_more());
    let other = place.run(&["run", "job.sql"]).failed(1);
    assert!(other.contains("savepoint"), "{other}");
    let from = ["run", "job.sql", "--digest", "--from", "savepoint:before"];
    place.write("job.sql", &JOB.replace("rsi(price, 14)", "rsi(price, 10)"));
    let refused = place.run(&from).failed(2);
    assert!(
        refused.contains("rsi[14]") && refused.contains("rsi[10]"),
        "{refused}"
    );
    let unknown = place.run(&["run", "job.sql", "--from", "savepoint:after"]);
    let unknown = unknown.failed(2);
    assert!(unknown.contains("the job has before"), "{unknown}");

    place.write("job.sql", &with_more());
    let mut running = place.start(&from, "from");
    let before = epoch(&place);
    running.wait_until("it goes on", |_| epoch(&place) > before + 3);
    let said = running.said();
    assert!(said.contains("starting from savepoint 'before'"), "{said}");
    assert!(
        said.contains("Tumble: ts size 200ms begins empty"),
        "{said}"
    );
    running.kill();
    let ended = place.run(&["run", "job.sql", "--digest"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let calm = Place::new();
    calm.write("job.sql", JOB);
    let undisturbed = calm.run(&["run", "job.sql", "--digest"]);
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.err);
    let changed = digests(&ended.err);
    for digest in digests(&undisturbed.err) {
        assert!(changed.contains(&digest), "{digest} is not in {changed:?}");
    }
    same_rows(&place, &calm);
    let volumes = place.path("volumes").display().to_string();
    assert_ne!(
        place.value(&format!("SELECT count(*) FROM '{volumes}'")),
        "0"
    );

    // What was recorded since then is not the whole.
    let recorded = place
        .run(&["run", "job.sql", "--from", "recording"])
        .failed(1);
    assert!(
        recorded.contains("began from savepoint 'before'"),
        "{recorded}"
    );
    place
        .run(&["savepoint", "remove", "job.sql", "before"])
        .well();
    assert_eq!(place.run(&["savepoint", "list", "job.sql"]).well(), "");
}

#[test]
fn a_job_that_was_killed_is_not_kept_as_it_is() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let mut running = place.start(&["run", "job.sql"], "said");
    running.wait_until("some commits", |_| epoch(&place) > 4);
    running.kill();
    let said = place
        .run(&["savepoint", "create", "job.sql", "now"])
        .failed(1);
    assert!(said.contains("start it, and stop it in order"), "{said}");
    let wrong = place
        .run(&["savepoint", "create", "job.sql", "n/o"])
        .failed(2);
    assert!(wrong.contains("name"), "{wrong}");
    // The state can be lost: the recordings give it back.
    for snapshot in place.files("data/job/log", ".snapshot") {
        std::fs::remove_file(snapshot).unwrap();
    }
    let ended = place.run(&["run", "job.sql", "--digest", "--from", "recording"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("60,000"), "{}", ended.err);
}
