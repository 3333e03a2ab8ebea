//! The command line as a user meets it.

use std::fs;

use crate::support::{Place, digests};

/// A bounded market into Parquet, recorded.
pub(crate) const JOB: &str = "
CREATE TABLE trades (
    symbol STRING NOT NULL, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rows' = '20000', 'rate' = 'max', 'late.ratio' = '0.01',
        'archive' = 'recording');
CREATE TABLE bars (symbol STRING, window_end TIMESTAMP(9), trades BIGINT, close DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'out/bars');
CREATE TABLE signals (symbol STRING, ts TIMESTAMP(9), price DOUBLE, rsi DOUBLE)
WITH ('connector' = 'parquet', 'path' = 'out/signals');
INSERT INTO bars
SELECT symbol, window_end, COUNT(*), LAST_VALUE(price ORDER BY ts)
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' SECOND)
GROUP BY symbol, window_start, window_end;
INSERT INTO signals
SELECT symbol, ts, price, rsi(price, 14) OVER (PARTITION BY symbol ORDER BY ts) FROM trades;
";

pub(crate) fn place() -> Place {
    let place = Place::new();
    place.write("job.sql", JOB);
    place
}

#[test]
fn a_table_is_written_by_one_insert() {
    let place = Place::new();
    let script = "\
CREATE TABLE trades (symbol STRING) WITH ('connector' = 'market', 'rows' = '9');
CREATE TABLE sink (symbol STRING) WITH ('connector' = 'parquet', 'path' = 'out');
INSERT INTO sink SELECT symbol FROM trades;
INSERT INTO sink SELECT symbol FROM trades;
";
    place.write("twice.sql", script);
    let said = place.run(&["run", "twice.sql"]).failed(2);
    assert!(
        said.contains("a second INSERT writes table 'sink'"),
        "{said}"
    );
    assert!(said.contains("twice.sql:4:13"), "{said}");
    assert!(said.contains("UNION ALL"), "{said}");
}

#[test]
fn check_tells_all_errors_at_once() {
    let place = Place::new();
    let script = "\
CREATE TABLE trades (symbol STRING, price DOUBLE, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rats' = '5');
CREATE TABLE sink (symbol STRING, x DOUBLE) WITH ('connector' = 'blackhole');
CREATE TABLE other (symbol STRING) WITH ('connector' = 'kafk');
INSERT INTO sink SELECT symbol, prise FROM trades;
INSERT INTO sink SELECT symbol, rsi(price, 0) OVER (PARTITION BY symbol ORDER BY ts) FROM trades;
INSERT INTO sink SELECT symbol, 1.0 FROM tradse;
";
    place.write("wrong.sql", script);
    let said = place.run(&["check", "wrong.sql"]).failed(2);
    for expected in [
        "'rats'",
        "'kafk'",
        "'prise'",
        "rsi",
        "'tradse'",
        "a second INSERT",
    ] {
        assert!(said.contains(expected), "no word of {expected}: {said}");
    }
    for expected in [
        "did you mean 'rate'?",
        "did you mean 'kafka'?",
        "'price'",
        "'trades'",
    ] {
        assert!(said.contains(expected), "no hint {expected}: {said}");
    }
    let pointed = " --> wrong.sql:6:33\n  |\n6 | INSERT INTO sink SELECT symbol, prise FROM trades;\n  \
                   |                                 ^^^^^\n";
    assert!(said.contains(pointed), "{said}");
    assert!(
        said.contains(" --> wrong.sql:3:"),
        "the option has a place: {said}"
    );
    assert!(said.trim_end().ends_with("wrong.sql: 7 errors"), "{said}");
    assert_eq!(
        place.run(&["run", "wrong.sql"]).failed(2),
        said,
        "run tells the same"
    );
    assert!(!place.path("data").exists(), "and touches nothing");
}

#[test]
fn check_and_explain_of_what_is_well() {
    let place = place();
    let told = place.run(&["check", "job.sql"]).well();
    let expected = "job.sql is well\nreads  trades (market), event time ts, recorded in \
                    'recording'\nwrites bars (parquet)\nwrites signals (parquet)\n";
    assert_eq!(told, expected);
    let steps = place.run(&["explain", "job.sql"]).well();
    for expected in [
        "Sink: bars (parquet)",
        "Source: trades (market), watermark ts - 2s",
        "rsi[14]",
    ] {
        assert!(steps.contains(expected), "{steps}");
    }
    assert!(!place.path("out").exists() && !place.path("recording").exists());
}

#[test]
fn bad_arguments_are_bad_input() {
    let place = place();
    let failed = |arguments: &[&str]| place.run(arguments).failed(2);
    assert!(failed(&["ruin", "job.sql"]).contains("run"));
    assert!(failed(&["run", "nothing.sql"]).contains("cannot read 'nothing.sql'"));
    assert!(failed(&["check", "job.sql", "--option", "rate"]).contains("table.key=value"));
    let said = failed(&["check", "job.sql", "--option", "trade.rate=5"]);
    assert!(
        said.contains(" --> --option trade.rate\nhelp: did you mean 'trades'?"),
        "{said}"
    );
    let said = failed(&["check", "job.sql", "--option", "trades.rows=many"]);
    let expected = "option 'rows' is 'many', expected a whole number\n --> --option trades.rows\n";
    assert!(said.contains(expected), "{said}");
    let said = failed(&["check", "job.sql", "--option", "trades.rats=5"]);
    let expected = " --> --option trades.rats\nhelp: did you mean 'rate'?";
    assert!(said.contains(expected), "{said}");
    let said = failed(&[
        "check",
        "job.sql",
        "--option",
        "trades.watermark.silence=loud",
    ]);
    assert!(
        said.contains(" --> --option trades.watermark.silence\n"),
        "{said}"
    );
    assert!(failed(&["run", "job.sql", "--duration", "soon"]).contains("20s"));
    assert!(failed(&["replay", "job.sql", "--source", "x=out"]).contains("reads no table 'x'"));
    assert!(failed(&["replay", "job.sql", "--source", "trades=gone"]).contains("'gone'"));
    assert!(failed(&["indicators", "rsy"]).contains("did you mean 'rsi'?"));
    fs::write(place.path("latin.sql"), b"SELECT '\xe4'").unwrap();
    assert!(failed(&["check", "latin.sql"]).contains("no UTF-8 text from byte 8"));
    place.write("empty.sql", "-- nothing\n");
    assert!(failed(&["run", "empty.sql"]).contains("inserts nothing"));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let place = Place::new();
    assert!(
        place
            .run(&["--help"])
            .well()
            .contains("Exit codes: 0 all went well")
    );
    for command in [
        "run",
        "check",
        "explain",
        "query",
        "replay",
        "indicators",
        "demo",
    ] {
        let help = place.run(&[command, "--help"]).well();
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(
            help.contains(&format!("millstream {command}")),
            "{command}: {help}"
        );
        assert!(help.contains("Exit codes"), "{command}: {help}");
    }
}

#[test]
fn indicators_are_listed_and_described() {
    let place = Place::new();
    let list = place.run(&["indicators"]).well();
    for name in [
        "sma(",
        "ema(",
        "rsi(close, 14)",
        "macd(",
        "ta_stddev(",
        "volume_zscore(",
    ] {
        assert!(list.contains(name), "{name}: {list}");
    }
    let macd = place.run(&["indicators", "ta_macd"]).well();
    assert!(
        macd.contains("['macd']") && macd.contains("whole number from"),
        "{macd}"
    );
}

#[test]
fn queries_read_files_and_write_every_format() {
    let place = Place::new();
    place.write("bars.csv", "symbol,close\nA,1.5\nB,2.5\nA,3.5\n");
    let sums = "SELECT symbol, sum(close) AS total FROM 'bars.csv' GROUP BY symbol ORDER BY symbol";
    let table = place.run(&["query", sums]).well();
    assert!(table.contains("| A      | 5.0   |"), "{table}");
    let csv = place.run(&["query", sums, "--format", "csv"]).well();
    assert_eq!(csv, "symbol,total\nA,5.0\nB,2.5\n");
    let json = place.run(&["query", sums, "--format", "json"]).well();
    assert_eq!(
        json,
        "{\"symbol\":\"A\",\"total\":5.0}\n{\"symbol\":\"B\",\"total\":2.5}\n"
    );
    place
        .run(&["query", sums, "--output", "sums.parquet"])
        .well();
    assert_eq!(
        place.value("SELECT total FROM 'sums.parquet' WHERE symbol = 'A'"),
        "5.0"
    );
    let none = "SELECT symbol FROM 'bars.csv' WHERE close > 9";
    assert_eq!(
        place.run(&["query", none, "--format", "csv"]).well(),
        "symbol\n"
    );

    let wrong = place
        .run(&["query", "SELECT clos FROM 'bars.csv'"])
        .failed(2);
    assert!(
        wrong.contains("clos") && wrong.contains("query:1:8"),
        "{wrong}"
    );
    assert!(
        place
            .run(&["query", "SELECT 1 FROM 'gone.csv'"])
            .failed(2)
            .contains("gone.csv")
    );
    assert!(
        place
            .run(&["query", "SELECT 1", "--data", "gone"])
            .failed(2)
            .contains("'gone'")
    );
    let unwritable = ["query", sums, "--output", "gone/sums.csv"];
    assert!(
        place
            .run(&unwritable)
            .failed(1)
            .contains("'gone/sums.csv' cannot be written")
    );
    assert_eq!(place.files(".", ".tmp"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_bounded_job_runs_once_and_replays_to_the_same_rows() {
    let place = place();
    let first = place.run(&["run", "job.sql", "--digest"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(
        first.err.contains("finished: all inputs are at their end"),
        "{}",
        first.err
    );
    let live = digests(&first.err);
    assert_eq!(live.len(), 2, "{}", first.err);
    let rows = || place.value("SELECT count(*) FROM 'out/signals'");
    let late = place
        .value("SELECT count(*) FROM \"trades$late\"")
        .parse::<u64>()
        .unwrap();
    assert!(late > 0);
    assert_eq!(rows().parse::<u64>().unwrap() + late, 20_000);
    assert!(place.value("SELECT count(*) FROM \"trades$dead\"") == "0");

    let again = place.run(&["run", "job.sql"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains("has finished before"), "{}", again.err);
    assert_eq!(rows().parse::<u64>().unwrap() + late, 20_000);

    let replay = [
        "replay",
        "job.sql",
        "--source",
        "trades=recording",
        "--output",
        "again",
    ];
    let report = place.run(&replay).well();
    assert_eq!(digests(&report), live, "{report}");
    let apart = "SELECT count(*) FROM (SELECT * FROM 'out/signals' EXCEPT SELECT * FROM \
                 'again/signals')";
    assert_eq!(place.value(apart), "0");
    let refused = place.run(&replay).failed(2);
    assert!(refused.contains("'again/bars' is not empty"), "{refused}");

    let recorded = recordings(&place);
    assert_eq!(recorded.len(), 1);
    let both = ["run", "job.sql", "--take-over", "--fresh"];
    let refused = place.run(&both).failed(2);
    assert!(refused.contains("with --take-over alone"), "{refused}");
    let fresh = place.run(&["run", "job.sql", "--fresh", "--digest"]);
    assert_eq!(fresh.code, Some(0), "{}", fresh.err);
    assert!(
        fresh
            .err
            .contains("removed 'data/job/log' and 'data/job/tables'"),
        "{}",
        fresh.err
    );
    assert_eq!(digests(&fresh.err), live);
    let both = (20_000 - late) * 2;
    assert_eq!(
        rows(),
        both.to_string(),
        "the outputs of the first run stay"
    );
    let two = place
        .run(&["replay", "job.sql", "--source", "trades=recording"])
        .failed(2);
    assert!(two.contains("recordings of 2 jobs"), "{two}");
    let mut new = recordings(&place);
    new.retain(|path| *path != recorded[0]);
    assert_eq!(new.len(), 1);
    let one = format!("trades={}", new[0].display());
    assert_eq!(
        digests(&place.run(&["replay", "job.sql", "--source", &one]).well()),
        live
    );
}

/// The folder of each job's recording.
fn recordings(place: &Place) -> Vec<std::path::PathBuf> {
    let jobs = fs::read_dir(place.path("recording/trades")).unwrap();
    jobs.map(|job| job.unwrap().path()).collect()
}

#[test]
fn late_and_dead_rows_can_be_asked_for_before_there_are_any() {
    let place = place();
    let calm = ["run", "job.sql", "--option", "trades.late.ratio=0"];
    let ran = place.run(&calm);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for (table, columns) in [
        (
            "trades$late",
            "symbol, price, volume, ts, _arrived_at, _split, _offset",
        ),
        ("trades$dead", "arrived_at, reason, payload"),
    ] {
        let rows = place
            .run(&[
                "query",
                &format!("SELECT {columns} FROM \"{table}\""),
                "--format",
                "csv",
            ])
            .well();
        assert_eq!(rows.trim(), columns.replace(", ", ","), "no rows");
        let count = format!("SELECT count(*) FROM 'data/job/tables/{table}'");
        assert_eq!(place.value(&count), "0");
    }
}

#[test]
fn other_parquet_is_replayed_by_event_time() {
    let place = place();
    let ticks = "SELECT symbol, price, volume, to_timestamp_nanos(ts) AS ts FROM 'ticks.csv'";
    place.write(
        "ticks.csv",
        "symbol,price,volume,ts\nA,3.0,1,2024-01-02T00:00:02Z\nA,1.0,1,2024-01-02T00:00:00Z\n\
         A,2.0,1,2024-01-02T00:00:01Z\n",
    );
    place
        .run(&["query", ticks, "--output", "ticks.parquet"])
        .well();
    let replay = [
        "replay",
        "job.sql",
        "--source",
        "trades=ticks.parquet",
        "--output",
        "out",
    ];
    let ran = place.run(&replay);
    assert!(
        ran.err.contains("'trades' is replayed by event time"),
        "{}",
        ran.err
    );
    let report = ran.well();
    assert!(
        report.contains("in   trades: 3 rows: accepted 3, late 0"),
        "{report}"
    );
    let bars = "SELECT string_agg(CAST(close AS STRING), ' ' ORDER BY window_end) FROM 'out/bars'";
    assert_eq!(place.value(bars), "1.0 2.0 3.0", "open windows close");
    let some = [
        "--from",
        "2024-01-02T00:00:01Z",
        "--to",
        "2024-01-02T00:00:02Z",
    ];
    let report = place.run(&[&replay[..4], &some].concat()).well();
    assert!(report.contains("trades: 1 rows"), "{report}");
    let stop = place
        .run(&[&replay[..4], &["--end", "stop"]].concat())
        .well();
    assert!(stop.contains("out  bars: 0 rows"), "{stop}");

    let timeless = JOB.replace(",\n    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND", "");
    let timeless = &timeless[..timeless.find("INSERT INTO bars").unwrap()];
    let script =
        format!("{timeless} INSERT INTO signals SELECT symbol, ts, price, 0.0 FROM trades;");
    place.write("timeless.sql", &script);
    let refused = ["replay", "timeless.sql", "--source", "trades=ticks.parquet"];
    assert!(place.run(&refused).failed(2).contains("has no WATERMARK"));
}

#[test]
fn the_demo_replays_to_the_same_rows() {
    let place = Place::new();
    let demo = [
        "demo",
        "--duration",
        "3s",
        "--rate",
        "2000",
        "--data",
        "demo",
    ];
    let told = place.run(&demo).well();
    assert!(told.lines().any(|line| line == "equal"), "{told}");
    assert!(
        told.contains("p50") && told.contains("first row after"),
        "{told}"
    );
    assert!(
        place
            .value("SELECT count(*) FROM 'demo/indicators'")
            .parse::<u64>()
            .unwrap()
            > 0
    );
    place.write("demo/mine.txt", "kept");
    place.run(&demo).well();
    assert!(
        place.path("demo/mine.txt").exists(),
        "only the demo's own files go"
    );
    place.write("mine.txt", "kept");
    assert!(
        place
            .run(&["demo", "--data", "."])
            .failed(2)
            .contains("other files")
    );
}
