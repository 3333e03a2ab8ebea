use datafusion::sql::sqlparser::ast::SetExpr;

use super::*;

fn errors(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn error(text: &str) -> String {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn table(text: &str) -> CreateTable {
    match parse(text).unwrap().remove(0).kind {
        StatementKind::CreateTable(table) => table,
        other => panic!("{other:?}"),
    }
}

/// The query as sqlparser prints what it understood.
fn query(text: &str) -> String {
    match parse(text).unwrap().remove(0).kind {
        StatementKind::Query(query) => query.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_every_form_of_column() {
    let table = table(
        "CREATE TEMPORARY TABLE IF NOT EXISTS t (
           symbol STRING NOT NULL COMMENT 'ticker', timestamp TIMESTAMP(9), open DOUBLE NULL,
           change DECIMAL(10, 2), key BYTES,
           offset BIGINT METADATA VIRTUAL, p INT METADATA FROM 'partition',
           notional AS open * 2, at AS PROCTIME() COMMENT 'arrival',
           seen TIMESTAMP(3) WITH LOCAL TIME ZONE,
           WATERMARK FOR timestamp AS timestamp - INTERVAL '2' SECOND
         ) COMMENT 'trades' WITH ('connector' = 'market', rate = 1000, properties.group.id = 'x')",
    );
    assert!(table.if_not_exists);
    let kinds: Vec<String> = table
        .columns
        .iter()
        .map(|c| {
            let name = &c.name.value;
            match &c.kind {
                ColumnKind::Stored {
                    data_type,
                    not_null: true,
                } => format!("{name} {data_type}!"),
                ColumnKind::Stored { data_type, .. } => format!("{name} {data_type}"),
                ColumnKind::Metadata { data_type, key } => {
                    format!("{name} {data_type} {}", key.text)
                }
                ColumnKind::Computed(expr) => format!("{name} = {expr}"),
                ColumnKind::ProcTime => format!("{name} = now"),
            }
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "symbol STRING!",
            "timestamp TIMESTAMP(9)",
            "open DOUBLE",
            "change DECIMAL(10,2)",
            "key BYTES",
            "offset BIGINT offset",
            "p INT partition",
            "notional = open * 2",
            "at = now",
            "seen TIMESTAMP(3) WITH TIME ZONE",
        ]
    );
    let watermark = table.watermark.unwrap();
    assert_eq!(
        watermark.expression.to_string(),
        "timestamp - INTERVAL '2' SECOND"
    );
    let options: Vec<String> = table
        .options
        .iter()
        .map(|(k, v)| format!("{}={}", k.text, v.text))
        .collect();
    assert_eq!(
        options,
        ["connector=market", "rate=1000", "properties.group.id=x"]
    );
}

#[test]
fn keywords_are_columns() {
    let text = "SELECT symbol, timestamp, price, open, change, offset, partition, key, date \
                FROM t ORDER BY timestamp";
    assert_eq!(query(text), text);
    assert_eq!(
        query("SELECT timestamp - lag FROM t"),
        "SELECT timestamp - lag FROM t"
    );
}

#[test]
fn window_functions_in_both_spellings() {
    let plain = "SELECT * FROM TUMBLE(t, ts, INTERVAL '1' MINUTE)";
    assert_eq!(
        query("SELECT * FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)"),
        plain
    );
    let nested = "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    assert_eq!(query(nested), plain);
    assert_eq!(query(&format!("{plain} EMIT ON WINDOW CLOSE")), plain);
    let hop = "SELECT * FROM HOP((SELECT * FROM t), ts, INTERVAL '1' SECOND, INTERVAL '5' SECOND)";
    assert_eq!(query(hop), hop);
    assert_eq!(
        query("SELECT tumble, emit FROM t"),
        "SELECT tumble, emit FROM t"
    );
}

#[test]
fn the_place_survives_the_rewriting() {
    let text = "SELECT *\nFROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\nWHERE )";
    assert!(
        error(text).starts_with("line 3, column 7: "),
        "{}",
        error(text)
    );
    let StatementKind::Query(query) = parse("SELECT 1\nFROM t").unwrap().remove(0).kind else {
        panic!()
    };
    let SetExpr::Select(select) = *query.body else {
        panic!()
    };
    let sqlparser_span = datafusion::sql::sqlparser::ast::Spanned::span(&select.from[0]);
    assert_eq!(
        (sqlparser_span.start.line, sqlparser_span.start.column),
        (2, 6)
    );
}

#[test]
fn named_windows_are_written_out() {
    let over = |text: &str| query(text).split_once(" OVER ").unwrap().1.to_owned();
    let w = "WINDOW w AS (PARTITION BY s ORDER BY ts)";
    let full = "(PARTITION BY s ORDER BY ts";
    assert_eq!(
        over(&format!("SELECT AVG(x) OVER w FROM t {w}")),
        format!("{full}) FROM t")
    );
    assert_eq!(
        over(&format!(
            "SELECT AVG(x) OVER (w ROWS 19 PRECEDING) FROM t {w}"
        )),
        format!("{full} ROWS 19 PRECEDING) FROM t")
    );
    assert_eq!(
        over("SELECT AVG(x) OVER w2 FROM t WINDOW w AS (PARTITION BY s), w2 AS (W ORDER BY ts)"),
        format!("{full}) FROM t")
    );
    let inner = query(&format!(
        "SELECT * FROM (SELECT SUM(x) OVER w AS y FROM t {w}) WHERE y > 1"
    ));
    assert!(
        inner.contains("OVER (PARTITION BY s ORDER BY ts)"),
        "{inner}"
    );
}

#[test]
fn wrong_named_windows() {
    let with = |over: &str, w: &str| error(&format!("SELECT AVG(x) OVER {over} FROM t WINDOW {w}"));
    assert_eq!(
        with("wnd", "wind AS (ORDER BY ts)"),
        "line 1, column 20: no window is called 'wnd'; did you mean 'wind'?"
    );
    let framed = "w AS (ORDER BY ts ROWS 5 PRECEDING)";
    assert!(with("(w ROWS 3 PRECEDING)", framed).contains("has a frame"));
    assert!(with("(w ORDER BY x)", "w AS (ORDER BY ts)").contains("has an ORDER BY already"));
    assert!(with("(w PARTITION BY x)", "w AS (ORDER BY ts)").contains("PARTITION BY from it"));
    assert!(with("w", "w AS (ORDER BY ts), w AS (ORDER BY x)").contains("defined twice"));
    // A window is known only inside its own SELECT.
    let outer = "SELECT (SELECT AVG(x) OVER w FROM u) FROM t WINDOW w AS (ORDER BY ts)";
    assert!(error(outer).contains("no window is called 'w'"));
}

#[test]
fn all_errors_at_once() {
    let found = errors(
        "CREATE TABLE t (a INT b INT);\nDELETE FROM t;\nSELECT 1;\nINSERT INTO t SELEC 1;\n\
         UPDTE t; SELECT a FROM t EMIT CHANGES;",
    );
    let heads: Vec<&str> = found
        .iter()
        .map(|error| error.split("; ").next().unwrap())
        .collect();
    assert_eq!(
        heads,
        [
            "line 1, column 23: expected a comma or ) after the column, found b",
            "line 2, column 1: DELETE is not available",
            "line 4, column 15: expected SELECT, WITH or VALUES, found SELEC",
            "line 5, column 1: no statement begins with UPDTE",
            "line 5, column 26: EMIT takes ON WINDOW CLOSE alone: results are final rows, and none \
         is ever taken back",
        ]
    );
}

#[test]
fn unterminated_string() {
    let found = errors("SELECT 1; DROP TABLE t; SELECT 'abc");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].starts_with("line 1, column 32: unterminated string"),
        "{found:?}"
    );
}

#[test]
fn statement_sets() {
    let kinds = |text: &str| parse(text).unwrap().len();
    assert_eq!(
        kinds("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;"),
        2
    );
    assert_eq!(
        kinds("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;"),
        1
    );
    assert!(error("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;").contains("does not end"));
    assert!(errors("EXECUTE STATEMENT SET BEGIN SELECT 1; END;")[0].contains("INSERTs alone"));
}

#[test]
fn inserts_and_settings() {
    let statements = parse(
        "INSERT INTO sink (a, b) SELECT 1, 2; INSERT INTO sink (SELECT 1); \
         EXPLAIN INSERT INTO sink VALUES (1); SET 'commit.interval' = '5 s'; \
         SET execution.checkpointing.interval = 10 s;",
    )
    .unwrap();
    let texts: Vec<String> = statements
        .iter()
        .map(|s| match &s.kind {
            StatementKind::Insert(insert) => format!("{} {}", insert.columns.len(), insert.query),
            StatementKind::Explain(insert) => format!("explain {}", insert.query),
            StatementKind::Set { key, value } => format!("{} = {}", key.text, value.text),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "2 SELECT 1, 2",
            "0 (SELECT 1)",
            "explain VALUES (1)",
            "commit.interval = 5 s",
            "execution.checkpointing.interval = 10 s",
        ]
    );
    let from_flink = table("CREATE TABLE `T` (`timestamp` STRING) WITH (`a-b` = 'c')");
    assert_eq!(
        (
            from_flink.name.value.as_str(),
            from_flink.options[0].0.text.as_str()
        ),
        ("T", "a-b")
    );
}

#[test]
fn what_repeats_in_an_insert_gets_a_name() {
    let text = "INSERT INTO t SELECT a, A, b AS c, c, SUM(x), SUM(x) FROM u UNION ALL SELECT 1, 1";
    let StatementKind::Insert(insert) = parse(text).unwrap().remove(0).kind else {
        panic!()
    };
    let expected = "SELECT a, A AS _column_2, b AS c, c AS _column_4, SUM(x), SUM(x) AS _column_6 \
                    FROM u UNION ALL SELECT 1 AS _column_1, 1 AS _column_2";
    assert_eq!(insert.query.to_string(), expected);
}

#[test]
fn refused_forms() {
    for (text, what) in [
        (
            "CREATE TABLE t (a INT, PRIMARY KEY (a) NOT ENFORCED)",
            "PRIMARY KEY is not available",
        ),
        (
            "CREATE TABLE t (a INT PRIMARY KEY)",
            "PRIMARY KEY is not available",
        ),
        (
            "CREATE TABLE t (a ROW<b INT>)",
            "ROW columns are not available",
        ),
        (
            "CREATE TABLE t (a INT) PARTITIONED BY (a)",
            "PARTITIONED BY",
        ),
        ("CREATE TABLE t AS SELECT 1", "CREATE TABLE … AS"),
        (
            "CREATE TABLE t (a INT DEFAULT 1)",
            "DEFAULT is not available",
        ),
        (
            "CREATE TABLE t (a INT, UNIQUE (a))",
            "UNIQUE is not available",
        ),
        ("CREATE TABLE db.t (a INT)", "no catalogs or databases"),
        (
            "CREATE VIEW v (a) AS SELECT 1",
            "column names from its query",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT 1",
            "MATERIALIZED VIEW is not available",
        ),
        (
            "INSERT OVERWRITE t SELECT 1",
            "INSERT OVERWRITE is not available",
        ),
        ("EXPLAIN SELECT 1", "expected INSERT INTO"),
        (
            "SELECT * FROM SESSION(TABLE t PARTITION BY s, DESCRIPTOR(ts), x)",
            "(SESSION)",
        ),
        (
            "SELECT * FROM TUMBLE(TABLE t, DESCRIPTOR(a, b), x)",
            "more than one column",
        ),
        ("SELECT 1 1", "expected the end of the statement, found 1"),
        ("SELECT", "expected"),
        ("CREATE TABLE t (", "found the end of the statement"),
        ("42", "expected a statement, found 42"),
    ] {
        assert!(error(text).contains(what), "{text}: {}", error(text));
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(
        error(&deep).contains("nested too deeply"),
        "{}",
        error(&deep)
    );
    let long = format!("SELECT 1{}", " + 1".repeat(20_000));
    assert_eq!(parse(&long).unwrap().len(), 1);
}

#[test]
fn any_text_is_read_or_refused() {
    let pieces = [
        "CREATE",
        "TABLE",
        "t",
        "(",
        ")",
        ",",
        ";",
        "WITH",
        "'a'",
        "=",
        "SELECT",
        "OVER",
        "w",
        "TUMBLE",
        "DESCRIPTOR",
        "EMIT",
        "ON",
        "AS",
        "WATERMARK",
        "FOR",
        "1",
        "INSERT",
        "INTO",
        "END",
        "SET",
        "BEGIN",
        ".",
        "é",
        "METADATA",
        "FROM",
        "PARTITION",
        "BY",
        "EXECUTE",
    ];
    let mut state = 7_u64;
    for _ in 0..3_000 {
        let mut words = vec![];
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            words.push(pieces[(state >> 33) as usize % pieces.len()]);
        }
        if let Err(errors) = parse(&words.join(" ")) {
            assert!(errors.iter().all(|error| !error.message.is_empty()));
        }
    }
}
