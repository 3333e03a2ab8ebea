//! `check` tells all errors of a script at once, and no secret of it.

use crate::support::Place;

/// What `check` says of a script that is wrong.
fn check(script: &str) -> String {
    let place = Place::new();
    place.write("job.sql", script);
    place.run(&["check", "job.sql"]).failed(2)
}

/// The messages alone, in order.
fn messages(script: &str) -> Vec<String> {
    let said = check(script);
    let lines = said.lines().filter_map(|line| line.strip_prefix("error: "));
    lines.map(str::to_owned).collect()
}

fn assert_starts(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found} has no {expected}");
    }
}

const SOURCE: &str = "CREATE TABLE t (symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9),
    WATERMARK FOR ts AS ts) WITH ('connector' = 'market', 'rows' = '9');\n";
const SINK: &str = "CREATE TABLE o (a STRING, b DOUBLE) WITH ('connector' = 'stdout');\n";

#[test]
fn all_wrong_options_and_columns_are_told_at_once() {
    let found = messages(
        "CREATE TABLE a (symbol STRING, price DOUBLE) WITH ('connector' = 'market',
             'raet' = '1', 'seed' = 'abc', 'late.ratio' = '7', 'start' = 'soon');
         CREATE TABLE b (symbol STRNG, price DOUBEL, WATERMARK FOR tss AS tss)
             WITH ('connector' = 'markt');
         CREATE TABLE c (symbol STRING) WITH ('connector' = 'stdout', 'fromat' = 'json');
         CREATE TABLE d (symbol STRNG) WITH ('connector' = 'market', 'raet' = '1');
         INSERT INTO o SELECT symbol, price FROM tt;",
    );
    let expected = [
        "no option is called 'raet'",
        "option 'seed' is 'abc'",
        "option 'late.ratio' is '7'",
        "option 'start' is 'soon'",
        "STRNG",
        "DOUBEL",
        "no column is called 'tss'",
        "no connector is called 'markt'",
        "no option is called 'fromat'",
        "STRNG",
        "no option is called 'raet'",
        "no table is called 'o'",
        "no table is called 'tt'",
    ];
    assert_starts(&found, &expected);
}

#[test]
fn every_statement_and_every_item_tells_what_is_wrong_with_it() {
    let found = messages(&format!(
        "{SOURCE}{SINK}CREATE TABLE other (a STRING, b DOUBLE) WITH ('connector' = 'stdout');
         INSERT INTO o SELECT upper(symbol, 1), rsi(symbol) OVER (PARTITION BY symbol ORDER BY ts)
             FROM t;
         INSERT INTO other SELECT symbol, ema(symbol, 3) OVER (PARTITION BY symbol ORDER BY ts)
             FROM t;"
    ));
    let expected = [
        "function 'upper'",
        "argument close of 'rsi'",
        "argument close of 'ema'",
    ];
    assert_starts(&found, &expected);
}

#[test]
fn what_nothing_uses_is_checked_too() {
    let found = messages(
        "CREATE VIEW v AS SELECT nope FROM t;
         CREATE TABLE t (a INT) WITH ('connector' = 'kafak');",
    );
    assert!(
        found.iter().any(|found| found.contains("'kafak'")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|found| found.contains("'nope'")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|found| found.contains("inserts nothing")),
        "{found:#?}"
    );
    let well = format!("{SOURCE}{SINK}INSERT INTO o SELECT symbol, price FROM t;");
    let unused = format!("{well}CREATE VIEW v AS SELECT symbl FROM t;");
    assert_starts(&messages(&unused), &["no column is called 'symbl'"]);
    let unused = format!("{well}CREATE TABLE u (a INT) WITH ('connector' = 'stdot');");
    assert_starts(&messages(&unused), &["no connector is called 'stdot'"]);
}

#[test]
fn a_table_that_nothing_reads_is_not_said_to_be_read() {
    let found = messages(&format!(
        "{SINK}INSERT INTO o SELECT symbol, price FROM tt;"
    ));
    assert_starts(&found, &["no table is called 'tt'"]);
    let found = messages(&format!("{SINK}INSERT INTO o SELECT a, b FROM o;"));
    assert_starts(&found, &["only writes"]);
}

#[test]
fn secrets_do_not_show_beside_an_error() {
    let said = check(
        "CREATE TABLE t (a INT) WITH ('connector' = 'http', 'url' = 'http://me:HUNTER2@h/x?token=HUNTER2', 'intervall' = '5 s', 'headers.X-Own' = 'HUNTER2');\n\
         CREATE TABLE k (a INT) WITH ('connector' = 'kafka', 'topic' = 'k', 'properties.sasl.password' = 'HUNTER2', 'fromat' = 'json', 'properties.bootstrap.servers' = 'h:1');\n",
    );
    assert!(!said.contains("HUNTER"), "{said}");
    assert!(
        said.contains("http://**********@h/x?token=*******'"),
        "{said}"
    );
    // The carets still stand below what is meant.
    let lines: Vec<&str> = said.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("'intervall'"))
        .unwrap();
    let shown = lines[at..]
        .iter()
        .position(|line| line.contains('^'))
        .unwrap()
        + at;
    let caret = lines[shown].find('^').unwrap();
    assert!(
        lines[shown - 1][caret..].starts_with("'intervall'"),
        "{said}"
    );
}

#[test]
fn a_query_over_a_file_names_the_nearest_indicator() {
    let place = Place::new();
    place.write("x.csv", "rsi_14,price\n1,2\n");
    let said = place
        .run(&["query", "SELECT rsii(rsi_14) FROM 'x.csv'"])
        .failed(2);
    assert!(said.contains("did you mean 'rsi'?"), "{said}");
}
