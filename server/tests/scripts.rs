//! What scripts may say of their tables, and what is only explained.

use crate::cli::JOB;
use crate::support::{Place, digests};

#[test]
fn tables_that_would_mix_their_files_are_refused() {
    let place = Place::new();
    let script = "\
CREATE TABLE trades (symbol STRING, price DOUBLE) WITH ('connector' = 'market', 'rows' = '9',
    'archive' = 'rec');
CREATE TABLE one (symbol STRING) WITH ('connector' = 'parquet', 'path' = 'out');
CREATE TABLE two (price DOUBLE) WITH ('connector' = 'parquet',
    'path' = './x/../out/');
INSERT INTO one SELECT symbol FROM trades;
INSERT INTO two SELECT price FROM trades;
";
    place.write("mix.sql", script);
    let said = place.run(&["run", "mix.sql"]).failed(2);
    let expected = "table 'two' is written to './x/../out/', and table 'one' is written to 'out'";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("mix.sql:5:5"), "{said}");
    assert!(!place.path("out").exists());
    for (path, expected) in [
        ("out/two", "and table 'one' is written to 'out'"),
        ("rec", "and table 'trades' is recorded in 'rec'"),
        ("rec/trades", "and table 'trades' is recorded in 'rec'"),
    ] {
        let option = format!("two.path={path}");
        let arguments = ["check", "mix.sql", "--option", &option];
        let said = place.run(&arguments).failed(2);
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("--> --option two.path"), "{said}");
    }
    let beside = ["run", "mix.sql", "--option", "two.path=outer"];
    assert_eq!(place.run(&beside).code, Some(0));
    let own = [
        "run",
        "mix.sql",
        "--option",
        "trades.connector=parquet",
        "--option",
    ];
    let own = [&own[..], &["trades.path=out", "--option", "two.path=outer"]].concat();
    let said = place.run(&own).failed(2);
    assert!(said.contains("table 'trades' is read from 'out'"), "{said}");
}

#[test]
fn explain_runs_nothing() {
    let place = Place::new();
    let tables = "\
CREATE TABLE trades (symbol STRING) WITH ('connector' = 'market', 'rows' = '9', 'rate' = 'max');
CREATE TABLE sink (symbol STRING) WITH ('connector' = 'parquet', 'path' = 'out');
CREATE TABLE other (symbol STRING) WITH ('connector' = 'parquet', 'path' = 'other');
";
    let insert = "INSERT INTO sink SELECT symbol FROM trades;\n";
    let explain = "EXPLAIN INSERT INTO other SELECT symbol FROM trades;\n";
    place.write(
        "both.sql",
        &format!("{tables}{insert}EXPLAIN {insert}{explain}"),
    );
    assert_eq!(place.run(&["run", "both.sql"]).code, Some(0));
    assert_eq!(place.value("SELECT count(*) FROM 'out'"), "9");
    assert!(!place.path("other").exists());
    let told = place.run(&["check", "both.sql"]).well();
    let expected = "writes sink (parquet)\nonly explains what would write sink (parquet)\n\
                    only explains what would write other (parquet)\n";
    assert!(told.ends_with(expected), "{told}");
    let steps = place.run(&["explain", "both.sql"]).well();
    assert_eq!(steps.matches("sink").count(), 2, "{steps}");
    assert_eq!(steps.matches("other").count(), 1, "{steps}");

    place.write("only.sql", &format!("{tables}{explain}"));
    for command in ["run", "replay"] {
        let source = ["--source", "trades=out"];
        let source = if command == "run" { &[][..] } else { &source };
        let said = place
            .run(&[&[command, "only.sql"], source].concat())
            .failed(2);
        assert!(said.contains("only explains and inserts nothing"), "{said}");
    }
    assert!(place.run(&["explain", "only.sql"]).well().contains("other"));
    let wrong = explain.replace("symbol", "symbl");
    place.write("wrong.sql", &format!("{tables}{insert}{wrong}"));
    assert!(
        place
            .run(&["check", "wrong.sql"])
            .failed(2)
            .contains("'symbl'")
    );
}

#[test]
fn a_key_that_is_not_on_one_split_ends_the_job_and_names_both() {
    let place = Place::new();
    // Two files are two splits, and both have every symbol.
    let write = "\
CREATE TABLE trades (symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts) WITH ('connector' = 'market', 'symbols' = '2', 'rows' = '50',
    'rate' = 'max');
CREATE TABLE sink (symbol STRING, price DOUBLE, ts TIMESTAMP(9))
    WITH ('connector' = 'parquet', 'path' = 'PART');
INSERT INTO sink SELECT symbol, price, ts FROM trades;
";
    for part in ["first", "second"] {
        place.write(
            "write.sql",
            &write.replace("PART", &format!("parts/{part}")),
        );
        place.run(&["run", "write.sql", "--fresh"]).well();
    }
    let read = "\
CREATE TABLE trades (symbol STRING, price DOUBLE, ts TIMESTAMP(9), WATERMARK FOR ts AS ts)
    WITH ('connector' = 'parquet', 'path' = 'parts', 'key' = 'symbol');
CREATE TABLE sink (symbol STRING, change DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO sink
SELECT symbol, price - LAG(price) OVER (PARTITION BY symbol ORDER BY ts) FROM trades;
";
    place.write("keyed.sql", read);
    let explained = place.run(&["explain", "keyed.sql"]).well();
    assert!(
        explained.contains("Order: ts, each split by its own watermark"),
        "{explained}"
    );
    let said = place.run(&["run", "keyed.sql", "--fresh"]).failed(1);
    for part in [
        "table 'trades': rows of symbol '",
        "split 'first/",
        "split 'second/",
        "remove 'key'",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    place.write("free.sql", &read.replace(", 'key' = 'symbol'", ""));
    place.run(&["run", "free.sql", "--fresh"]).well();
}

#[test]
fn options_and_sources_name_tables_as_queries_do() {
    let place = Place::new();
    let job = JOB.replace("'archive' = 'recording'", "'archive' = 'rec'");
    let job = job
        .replace("trades (", "\"My trades\" (")
        .replace("TABLE trades", "TABLE \"My trades\"");
    let job = job.replace("FROM trades", "FROM \"My trades\"");
    place.write("quoted.sql", &job);
    let ran = place.run(&[
        "run",
        "quoted.sql",
        "--digest",
        "--option",
        "BARS.path=out/new",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(place.path("out/new").is_dir());
    // What is no recording of the table is not read, wherever it lies below the archive.
    place.write("rec/foreign.parquet", "not Parquet");
    let replay = ["replay", "quoted.sql", "--source", "My trades=rec"];
    assert_eq!(digests(&place.run(&replay).well()), digests(&ran.err));
}

#[test]
fn files_side_by_side_in_time_are_warned_of() {
    let place = Place::new();
    std::fs::create_dir(place.path("ticks")).unwrap();
    let write = |file: &str, from: u32| {
        let row = |i: u32| format!("SELECT TIMESTAMP '2024-01-02 00:00:{:02}' AS ts", from + i);
        let rows = (0..9).map(row).collect::<Vec<_>>().join(" UNION ALL ");
        let query = format!("{rows} ORDER BY ts");
        place
            .run(&[
                "query",
                &query,
                "--output",
                &format!("ticks/{file}.parquet"),
            ])
            .well();
    };
    place.write(
        "job.sql",
        "CREATE TABLE ticks (ts TIMESTAMP(9), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
         WITH ('connector' = 'parquet', 'path' = 'ticks');
         CREATE TABLE sink (ts TIMESTAMP(9)) WITH ('connector' = 'blackhole');
         INSERT INTO sink SELECT ts FROM ticks;",
    );
    let warned = || {
        let ran = place.run(&["run", "job.sql", "--fresh"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err
            .lines()
            .find(|line| line.starts_with("warning: "))
            .map(str::to_owned)
    };
    write("1", 10);
    write("2", 17);
    assert_eq!(warned(), None, "they overlap by less than the delay");
    write("3", 12);
    let warning = warned().unwrap();
    let expected = "table 'ticks' reads 'ticks/3.parquet' after 'ticks/2.parquet'";
    assert!(warning.contains(expected), "{warning}");
    assert!(
        warning.contains("`millstream replay` merges files by time"),
        "{warning}"
    );
}
