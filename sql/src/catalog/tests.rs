use super::*;
use crate::statement::{self, StatementKind};

fn declare(text: &str, overrides: &[&str]) -> Result<Table> {
    let mut catalog = Catalog::new(Overrides::parse(overrides).unwrap());
    let StatementKind::CreateTable(table) = statement::parse(text)?.remove(0).kind else {
        panic!("not a table: {text}")
    };
    catalog.declare(&table)?;
    catalog.check_overrides()?;
    Ok(catalog.tables.remove("t").unwrap())
}

fn errors(text: &str, overrides: &[&str]) -> Vec<String> {
    declare(text, overrides)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn types_and_origins() {
    let table = declare(
        "CREATE TABLE t (symbol STRING NOT NULL, p DOUBLE, f FLOAT, r REAL, i INT, b BIGINT,
         y TINYINT, n DECIMAL(20, 4), ts TIMESTAMP(3), z TIMESTAMP_LTZ(9), d DATE, x VARBINARY,
         ok BOOLEAN, v VARCHAR(10), \"Odd\" CHAR(3), at AS PROCTIME(), twice AS p * 2,
         off BIGINT METADATA FROM 'offset', WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
         WITH ('connector' = 'kafka', 'topic' = 'x', 'key' = 'SYMBOL, odd', 'archive' = '/a',
         'watermark.idle-timeout' = 'none', 'watermark.max-future-skew' = '1 minute',
         'watermark.silence' = 'advance', 'shards' = '1', 'dead-letter' = 'table',
         'emit' = 'after-commit')",
        &[],
    )
    .unwrap();
    assert_eq!(table.emit, engine::Emit::AfterCommit);
    let types: Vec<String> = table
        .columns
        .iter()
        .map(|c| data_type::sql(c.field.data_type()))
        .collect();
    assert_eq!(
        types.join(" "),
        "STRING DOUBLE FLOAT FLOAT INT BIGINT TINYINT DECIMAL(20, 4) TIMESTAMP(9) TIMESTAMP(9) \
         DATE BYTES BOOLEAN STRING STRING TIMESTAMP(9) Null BIGINT"
    );
    assert!(!table.schema().field(0).is_nullable());
    assert_eq!(table.stream.schema.fields().len(), 15);
    assert_eq!(table.stream.metadata[0].key, "offset");
    assert_eq!(table.stream.key, ["symbol", "Odd"]);
    assert_eq!(table.stream.options.keys().collect::<Vec<_>>(), ["topic"]);
    assert_eq!(table.archive.as_deref(), Some("/a"));
    let watermark = Watermark {
        column: "ts".to_owned(),
        delay: Duration::from_mins(1),
    };
    assert_eq!(table.watermark, Some(watermark));
    let timing = Timing {
        idle_timeout: None,
        max_future_skew: Some(Duration::from_mins(1)),
        advance_in_silence: true,
    };
    assert_eq!(table.timing, timing);
}

#[test]
fn overrides_replace_options() {
    let text = "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 'x', 'key' = 'a')";
    let table = declare(
        text,
        &["t.topic=y=z", "t.scan.startup.mode=earliest-offset"],
    )
    .unwrap();
    let options: Vec<_> = table
        .stream
        .options
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(options, ["scan.startup.mode=earliest-offset", "topic=y=z"]);
    let table = declare(text, &["t.connector=memory"]).unwrap();
    assert_eq!(table.stream.connector, "memory");
    assert!(table.stream.options.is_empty());
    assert_eq!(table.stream.key, ["a"]);
    assert_eq!(
        errors(text, &["tt.topic=y"]),
        ["option tt.topic: no table is called 'tt'; known: t"]
    );
    let wrong = Overrides::parse(&["topic=y", "t.=y"]).unwrap_err();
    assert_eq!(wrong.len(), 2);
}

#[test]
fn all_wrong_options_at_once() {
    let found = errors(
        "CREATE TABLE t (a INT, ts STRING, WATERMARK FOR ts AS ts)\nWITH ('key' = 'b',\n\
         'watermark.idle-timout' = '5 s', 'watermark.silence' = 'shout', 'shards' = '4',\n\
         'watermark.max-future-skew' = '5', 'dead-letter' = 'fail', 'a' = '1', 'a' = '2')",
        &[],
    );
    let heads: Vec<&str> = found
        .iter()
        .map(|error| error.split("; ").next().unwrap())
        .collect();
    assert_eq!(
        heads,
        [
            "line 1, column 49: the event time ts is not a TIMESTAMP",
            "line 4, column 71: option 'a' is set twice",
            "line 4, column 52: option 'dead-letter' cannot be 'fail'",
            "line 2, column 15: no stored column is called 'b'",
            "line 3, column 76: option 'shards' cannot be '4'",
            "line 3, column 1: no option is called 'watermark.idle-timout'",
            "line 4, column 31: option 'watermark.max-future-skew' cannot be '5'",
            "line 3, column 56: option 'watermark.silence' cannot be 'shout'",
            "line 1, column 14: table t has no connector",
        ]
    );
}

#[test]
fn wrong_columns() {
    let with = "WITH ('connector' = 'memory')";
    for (columns, what) in [
        ("a INT, A INT", "column a is declared twice"),
        ("_late INT", "_late is the name of a system column"),
        (
            "a STRNG",
            "no type is called 'STRNG'; did you mean 'STRING'?",
        ),
        ("a DECIMAL(50, 2)", "there is no DECIMAL(50, 2)"),
        ("a TIMESTAMP(12)", "at most 9 digits"),
        ("a TIME", "columns of type TIME are not available"),
        (
            "a INT UNSIGNED",
            "columns of type INT UNSIGNED are not available",
        ),
        (
            "a INT METADATA FROM 'ofset'",
            "no metadata is called 'ofset'; did you mean 'offset'?",
        ),
        ("a INT, WATERMARK FOR b AS b", "no column is called 'b'"),
        (
            "a AS PROCTIME(), WATERMARK FOR a AS a",
            "PROCTIME() needs no watermark",
        ),
        (
            "a TIMESTAMP, WATERMARK FOR a AS a + INTERVAL '1' DAY",
            "neither a nor a minus",
        ),
        (
            "a TIMESTAMP, b TIMESTAMP, WATERMARK FOR a AS b",
            "neither a nor a minus",
        ),
        (
            "a TIMESTAMP, WATERMARK FOR a AS a - INTERVAL '1' MONTH",
            "neither a nor a minus",
        ),
    ] {
        let found = errors(&format!("CREATE TABLE t ({columns}) {with}"), &[]);
        assert!(found[0].contains(what), "{columns}: {found:?}");
    }
}

#[test]
fn a_connectors_error_gets_its_place() {
    let table = declare(
        "CREATE TABLE t (a INT) WITH ('connector' = 'kafak',\n 'topik' = 'x')",
        &[],
    )
    .unwrap();
    let place = |message: &str| table.place(&engine::Error::not_found(message)).to_string();
    let unknown = place("no option is called 'topik'");
    assert_eq!(unknown, "line 2, column 2: no option is called 'topik'");
    assert!(place("no connector is called 'kafak'").starts_with("line 1, column 44: "));
    assert!(place("it rains").starts_with("line 1, column 14: "));
}

#[test]
fn an_error_of_an_override_names_it() {
    let text = "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 'x')";
    let table = declare(text, &["t.topic=y", "t.topik=z"]).unwrap();
    let place = |message: &str| table.place(&engine::Error::not_found(message)).to_string();
    let unknown = "no option is called 'topik'; did you mean 'topic'?";
    assert_eq!(place(unknown), format!("option t.topik: {unknown}"));
    assert!(place("option 'topic' is 'y'").starts_with("option t.topic: "));
    assert!(place("no connector is called 'kafka'").starts_with("line 1, column 44: "));
    let shared = errors(text, &["t.watermark.silence=shout"]);
    assert!(
        shared[0].starts_with("option t.watermark.silence: option 'watermark.silence' cannot"),
        "{shared:?}"
    );
    let unknown = errors(text, &["tt.topic=y"]);
    let expected = "option tt.topic: no table is called 'tt'; known: t";
    assert_eq!(unknown, [expected]);
}

#[test]
fn names_are_declared_once() {
    let text = "CREATE TABLE t (a INT) WITH ('connector' = 'memory')";
    let StatementKind::CreateTable(mut table) = statement::parse(text).unwrap().remove(0).kind
    else {
        panic!()
    };
    let mut catalog = Catalog::default();
    catalog.declare(&table).unwrap();
    assert!(
        catalog.declare(&table).unwrap_err()[0]
            .message
            .contains("declared twice")
    );
    table.if_not_exists = true;
    catalog.declare(&table).unwrap();
    table.name = ast::Ident::new("t$late");
    assert!(
        catalog.declare(&table).unwrap_err()[0]
            .message
            .contains("system tables")
    );
}
