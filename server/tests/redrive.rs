//! Dead rows of a job that `run` ran are given back to it.

use crate::support::Place;

const JOB: &str = "
CREATE TABLE trades (symbol STRING, volume BIGINT)
WITH ('connector' = 'market', 'rate' = '3000');
CREATE TABLE small (symbol STRING, volume TINYINT)
WITH ('connector' = 'parquet', 'path' = 'small');
SET 'commit.interval' = '50 ms';
INSERT INTO small SELECT symbol, CAST(volume AS TINYINT) FROM trades;
";

fn dead(place: &Place) -> u64 {
    let path = place.path("data/job/tables/trades$dead");
    let count = format!("SELECT count(*) FROM '{}'", path.display());
    place.value(&count).parse().unwrap()
}

/// The number in front of these words.
fn figure(said: &str, behind: &str) -> u64 {
    let (before, _) = said.split_once(behind).unwrap();
    let figure = before.rsplit(' ').next().unwrap();
    figure.parse().unwrap()
}

#[test]
fn dead_rows_come_back_to_a_job_that_does_not_run() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let mut running = place.start(&["run", "job.sql"], "said");
    running.wait_until("rows", |_| {
        !place.files("data/job/log", ".record").is_empty()
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let in_use = place.run(&["redrive", "job.sql"]).failed(1);
    assert!(in_use.contains("another process runs this job"), "{in_use}");
    let (code, said) = running.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    let first = dead(&place);
    assert!(first > 0);

    let wrong = place
        .run(&["redrive", "job.sql", "--where", "nothing = 1"])
        .failed(2);
    assert!(wrong.contains("nothing"), "{wrong}");
    let wrong = place
        .run(&["redrive", "job.sql", "--table", "none"])
        .failed(2);
    assert!(wrong.contains("reads no table 'none'"), "{wrong}");
    let nowhere = place
        .run(&["redrive", "job.sql", "--data", "nowhere"])
        .failed(2);
    assert!(nowhere.contains("there is no data folder"), "{nowhere}");

    // They are as they were, so they die again: each once.
    let told = place.run(&["redrive", "job.sql"]).well();
    assert_eq!(figure(&told, " of "), first, "{told}");
    assert_eq!(dead(&place), 2 * first);
    let told = place
        .run(&["redrive", "job.sql", "--until", "1999-01-01"])
        .well();
    assert_eq!(figure(&told, " of "), 0, "{told}");
    let told = place.run(&["redrive", "job.sql"]).well();
    assert_eq!(figure(&told, " of "), first, "{told}");
    assert_eq!(
        figure(&told, " had been given back before"),
        first,
        "{told}"
    );

    // Nothing else came in meanwhile, and the job goes on.
    let mut running = place.start(&["run", "job.sql", "--duration", "1s"], "again");
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(dead(&place) > 3 * first, "{said}");
}
