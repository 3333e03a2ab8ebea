//! Killed at any moment, a job goes on as if nothing had happened.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Place, digests};

pub(crate) const JOB: &str = "
CREATE TABLE trades (
    symbol STRING NOT NULL, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'market', 'rows' = '60000', 'rate' = '15000', 'late.ratio' = '0.01',
        'duplicate.ratio' = '0.01', 'archive' = 'recording');
CREATE TABLE bars (symbol STRING, window_end TIMESTAMP(9), trades BIGINT, vwap DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'bars', 'rolling.interval' = '1 s');
CREATE TABLE signals (symbol STRING, ts TIMESTAMP(9), price DOUBLE, rsi DOUBLE, mean DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'signals', 'rolling.interval' = '300 ms');
SET 'commit.interval' = '50 ms';
INSERT INTO bars
SELECT symbol, window_end, COUNT(*), SUM(price * volume) / SUM(volume)
FROM HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '100' MILLISECOND, INTERVAL '300' MILLISECOND)
GROUP BY symbol, window_start, window_end;
INSERT INTO signals
SELECT symbol, ts, price, rsi(price, 14) OVER w,
       AVG(price) OVER (w ROWS BETWEEN 59 PRECEDING AND CURRENT ROW)
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
";

/// The number of the last epoch in the log.
pub(crate) fn epoch(place: &Place) -> u64 {
    let records = place.files("data/job/log", ".record");
    let number = |path: &PathBuf| {
        let name = path.file_stem()?.to_str()?;
        name.strip_prefix("epoch-")?.parse().ok()
    };
    records.iter().filter_map(number).max().unwrap_or_default()
}

/// The figures of the table that is read: arrived, accepted, late, future, dead.
fn counts(report: &str) -> Vec<u64> {
    let line = report
        .lines()
        .find(|line| line.starts_with("in   trades: "))
        .unwrap();
    let figures = line.replace([',', ':'], "");
    figures
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// How many rows of a table a report says were written.
fn written(report: &str, table: &str) -> u64 {
    let start = format!("out  {table}: ");
    let line = report.lines().find_map(|line| line.strip_prefix(&start));
    let rows = line.unwrap().split(' ').next().unwrap();
    rows.replace(',', "").parse().unwrap()
}

#[test]
fn kills_leave_no_trace() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let job = ["run", "job.sql", "--digest"];
    // Delays that hit commits, rolls of files and snapshots at different moments.
    for (round, delay) in [3_u64, 140, 61, 233, 17, 97].into_iter().enumerate() {
        let before = epoch(&place);
        let mut running = place.start(&job, &format!("said-{round}"));
        running.wait_until("the job goes on", |_| epoch(&place) > before + 1);
        sleep(Duration::from_millis(delay));
        running.kill();
    }
    let disturbed = place.run(&job);
    assert_eq!(disturbed.code, Some(0), "{}", disturbed.err);
    assert!(
        disturbed.err.contains("finished: all inputs"),
        "{}",
        disturbed.err
    );

    let calm = Place::new();
    calm.write("job.sql", JOB);
    let undisturbed = calm.run(&job);
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.err);
    assert_eq!(
        digests(&disturbed.err),
        digests(&undisturbed.err),
        "{}",
        disturbed.err
    );
    assert_eq!(counts(&disturbed.err), counts(&undisturbed.err));
    let counts = counts(&disturbed.err);
    assert_eq!(counts.len(), 5, "{}", disturbed.err);
    assert_eq!(counts[0], 60_000);
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>());

    same_rows(&place, &calm);

    let replay = place.run(&[
        "replay",
        "job.sql",
        "--source",
        "trades=recording",
        "--end",
        "close",
    ]);
    assert_eq!(digests(&replay.well()), digests(&undisturbed.err));
}

/// What was published is what was computed: no row is missing, and none is there twice.
#[track_caller]
pub(crate) fn same_rows(place: &Place, calm: &Place) {
    same_outputs(
        place,
        calm,
        &["bars", "signals", "data/job/tables/trades$late"],
    );
}

/// The same of these tables alone.
#[track_caller]
pub(crate) fn same_outputs(place: &Place, calm: &Place, tables: &[&str]) {
    for table in tables {
        let path = |of: &Place| of.path(table).display().to_string();
        let (one, other) = (path(place), path(calm));
        let columns = match *table {
            "bars" => "symbol, window_end, trades, vwap",
            "signals" => "symbol, ts, price, rsi, mean",
            _ => "symbol, ts, price, volume, _offset",
        };
        let counted = |path: &str| {
            format!("SELECT {columns}, count(*) AS n FROM '{path}' GROUP BY {columns}")
        };
        for (a, b) in [(&one, &other), (&other, &one)] {
            let apart = format!(
                "SELECT count(*) FROM ({} EXCEPT {})",
                counted(a),
                counted(b)
            );
            assert_eq!(place.value(&apart), "0", "{table}");
        }
        assert_ne!(
            place.value(&format!("SELECT count(*) FROM '{one}'")),
            "0",
            "{table}"
        );
    }
}

/// The number between these words of a report.
fn figure(report: &str, before: &str, behind: &str) -> u64 {
    let (_, rest) = report.split_once(before).unwrap();
    let (figure, _) = rest.split_once(behind).unwrap();
    figure.replace(',', "").parse().unwrap()
}

#[test]
fn the_summary_after_a_kill_is_that_of_the_whole_job() {
    let place = Place::new();
    let job = "
CREATE TABLE trades (symbol STRING, volume BIGINT)
WITH ('connector' = 'market', 'rows' = '6000', 'rate' = '3000');
CREATE TABLE small (symbol STRING, volume TINYINT)
WITH ('connector' = 'parquet', 'path' = 'small');
SET 'commit.interval' = '50 ms';
INSERT INTO small SELECT symbol, CAST(volume AS TINYINT) FROM trades;
";
    place.write("job.sql", job);
    let mut running = place.start(&["run", "job.sql"], "said");
    running.wait_until("some commits", |_| epoch(&place) > 4);
    running.kill();
    let ran = place.run(&["run", "job.sql"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let rejected = figure(&ran.err, "dead 0; rejected by the query ", "\n");
    assert!(rejected > 0, "{}", ran.err);
    let dead = place.value("SELECT count(*) FROM \"trades$dead\"");
    assert_eq!(dead, rejected.to_string());
    let out = figure(&ran.err, "out  small: ", " rows\n");
    assert_eq!(out + rejected, 6_000, "{}", ran.err);
    assert_eq!(place.value("SELECT count(*) FROM 'small'"), out.to_string());
}

#[test]
fn rows_that_are_read_again_do_not_wait_for_their_time() {
    let place = Place::new();
    // Without a recording the rows of a simulated market are read again from the source.
    let job = JOB.replace(", 'archive' = 'recording'", "");
    place.write("job.sql", &job.replace("'15000'", "'100'"));
    let since = Instant::now();
    let mut running = place.start(&["run", "job.sql"], "first");
    let long = Duration::from_secs(8);
    running.wait_until("the job has run for long", |_| {
        since.elapsed() > long && epoch(&place) > 20
    });
    running.kill();
    let before = epoch(&place);
    let since = Instant::now();
    let mut again = place.start(&["run", "job.sql"], "again");
    again.wait_until("the job goes on", |_| epoch(&place) > before);
    let took = since.elapsed();
    assert!(took < long / 2, "{took:?} to recover what came in {long:?}");
}

#[test]
fn jobs_of_one_name_share_outputs_and_no_file() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let endless = [
        "run",
        "job.sql",
        "--option",
        "trades.rows=100000000",
        "--option",
        "bars.rolling.interval=5 min",
        "--option",
        "signals.rolling.interval=5 min",
    ];
    let mut long = place.start(&endless, "long");
    long.wait_until("the job has rows", |_| epoch(&place) > 3);
    let short = place.run(&["run", "job.sql", "--data", "data/other"]);
    assert_eq!(short.code, Some(0), "{}", short.err);
    let (code, said) = long.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    for table in ["bars", "signals"] {
        let rows = place.value(&format!("SELECT count(*) FROM '{table}'"));
        let both = written(&said, table) + written(&short.err, table);
        assert_eq!(rows, both.to_string(), "{table}");
    }
    let left = place.files(".", ".tmp");
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn starting_empty_tidies_what_the_run_before_left() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let mut running = place.start(&["run", "job.sql"], "said");
    running.wait_until("files grow", |_| !place.files("signals", ".tmp").is_empty());
    running.kill();
    let before = place.files("signals", ".parquet");
    let fresh = place.run(&["run", "job.sql", "--fresh"]);
    assert_eq!(fresh.code, Some(0), "{}", fresh.err);
    let after = place.files("signals", ".parquet");
    assert!(before.iter().all(|file| after.contains(file)));
    assert_eq!(place.files(".", ".tmp"), Vec::<PathBuf>::new());
}

#[test]
fn a_process_that_sleeps_through_its_replacement_changes_nothing() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let mut sleeper = place.start(&["run", "job.sql"], "sleeper");
    sleeper.wait_until("files grow", |_| {
        epoch(&place) > 5 && !place.files("signals", ".tmp").is_empty()
    });
    sleeper.signal("-STOP");
    // On another machine the lock would not be in the way.
    fs::remove_file(place.path("data/job/lock")).unwrap();
    let successor = place.run(&["run", "job.sql"]);
    assert_eq!(successor.code, Some(0), "{}", successor.err);
    let figures = |table: &str| {
        let rows = place.value(&format!("SELECT count(*) FROM '{table}'"));
        (rows, place.files(table, ""))
    };
    let tables = ["bars", "signals", "recording"];
    let before = tables.map(figures);
    sleeper.signal("-CONT");
    let (code, said) = sleeper.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("another process has taken over this job"),
        "{said}"
    );
    assert_eq!(tables.map(figures), before);
    for (table, (rows, _)) in tables.iter().zip(&before).take(2) {
        assert_eq!(*rows, written(&successor.err, table).to_string(), "{table}");
        let names = fs::read_dir(place.path(table)).unwrap().flatten();
        let hidden = names.filter(|entry| entry.file_name().as_encoded_bytes()[0] == b'.');
        assert_eq!(hidden.count(), 0, "{table}");
    }
    assert_eq!(place.files(".", ".tmp"), Vec::<PathBuf>::new());
}
