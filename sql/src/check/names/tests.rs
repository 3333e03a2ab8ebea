use crate::Script;
use crate::catalog::Overrides;

const TABLES: &str = "CREATE TABLE t (symbol STRING, price DOUBLE, \"Odd Name\" INT, \
    ts TIMESTAMP(9), WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');\n\
    CREATE TABLE o (a STRING, b DOUBLE) WITH ('connector' = 'memory');\n";

/// All errors of a script behind the tables.
fn errors(text: &str) -> Vec<String> {
    let text = format!("{TABLES}{text}");
    let (script, mut errors) = Script::read(&text, &Overrides::default());
    if let Err(more) = crate::compile(&script.catalog, &script.inserts) {
        errors.extend(more);
    }
    errors.sort_by_key(|error| error.span.start);
    let told = errors.iter().map(|error| {
        let (line, column) = (error.span.start.line - 2, error.span.start.column);
        let hint = error.hint.as_deref().unwrap_or_default();
        format!("{line}:{column} {}; {hint}", error.message)
    });
    told.collect()
}

#[test]
fn every_unknown_name_of_a_query_is_told() {
    let found = errors(
        "INSERT INTO o SELECT symbl, rsii(price, 14) OVER (PARTITION BY symblo ORDER BY tss)\n\
         FROM t WHERE foo(pric) > x.price AND t.vol > 3 GROUP BY nme",
    );
    let expected = [
        "1:22 no column is called 'symbl'; did you mean 'symbol'?",
        "1:29 no function is called 'rsii'; did you mean 'rsi'?",
        "1:64 no column is called 'symblo'; did you mean 'symbol'?",
        "1:80 no column is called 'tss'; did you mean 'ts'?",
        "2:14 no function is called 'foo'; ",
        "2:18 no column is called 'pric'; did you mean 'price'?",
        "2:26 no table is called 'x'; known: t",
        "2:40 no column is called 'vol'; known: symbol, price, Odd Name, ts",
        "2:57 no column is called 'nme'; known: symbol, price, Odd Name, ts",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn errors_of_all_parts_are_told_together() {
    let found = errors(
        "INSERT INTO oo SELECT symbol, rsii(price) OVER w FROM tt WINDOW w AS (ORDER BY any);\n\
         INSERT INTO o SELECT symbol, rsi(price, 0) OVER w FROM t\n\
         WINDOW w AS (PARTITION BY symblo ORDER BY ts)",
    );
    let expected = [
        "1:13 no table is called 'oo'",
        "1:31 no function is called 'rsii'",
        "1:55 no table is called 'tt'",
        "2:41 ",
        "3:27 no column is called 'symblo'",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn a_wrong_view_or_table_is_told_once_used_or_not() {
    let found = errors(
        "CREATE VIEW v AS SELECT nope FROM t;\n\
         CREATE VIEW w AS SELECT upper(price, 1, 2) AS p FROM t;\n\
         CREATE TABLE b (x STRNG, y DUBLE, WATERMARK FOR z AS z) WITH ('connector' = 'memory');\n\
         INSERT INTO o SELECT x, pp FROM b;\n\
         INSERT INTO b SELECT nope FROM v",
    );
    let expected = [
        "1:25 no column is called 'nope'",
        "2:25 function 'upper'",
        "3:17 ",
        "3:26 ",
        "3:49 no column is called 'z'",
        "4:25 no column is called 'pp'",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn what_can_be_named_is_no_error() {
    let well = [
        "INSERT INTO o SELECT T.Symbol, (price) FROM t",
        "INSERT INTO o SELECT x.symbol, x.price FROM t AS x",
        "INSERT INTO o SELECT a, b FROM (SELECT symbol AS a, price AS b FROM t) AS q",
        "INSERT INTO o SELECT a, b FROM (SELECT symbol, price FROM t) AS q (a, b)",
        "INSERT INTO o WITH c AS (SELECT symbol, price p FROM t), d AS (SELECT * FROM c)
         SELECT d.symbol, p FROM d",
        "INSERT INTO o SELECT symbol, CAST(\"Odd Name\" AS DOUBLE) FROM (SELECT t.* FROM t)",
        "INSERT INTO o SELECT symbol, macd(price) OVER (PARTITION BY symbol ORDER BY ts)['hist']
         FROM t",
        "INSERT INTO o SELECT symbol, m['hist'] FROM (SELECT symbol,
         macd(price) OVER (PARTITION BY symbol ORDER BY ts) AS m FROM t)",
        "INSERT INTO o SELECT symbol, avg(price) FROM TUMBLE(TABLE t, DESCRIPTOR(ts),
         INTERVAL '1' MINUTE) AS k GROUP BY k.symbol, window_start, window_end
         HAVING count(*) > 1",
        "INSERT INTO o SELECT up, sum(price) FROM (SELECT upper(symbol) AS up, price, window_start,
         window_end FROM HOP(t, ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND))
         GROUP BY up, window_start, window_end",
        "INSERT INTO o SELECT upper(symbol) AS big, max(price) AS high FROM TUMBLE(TABLE t,
         DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY big, window_start, window_end
         HAVING high > 1",
        "INSERT INTO o SELECT symbol, EXTRACT(HOUR FROM ts) + extract(second from now()) FROM t",
        "INSERT INTO o SELECT symbol, price FROM t UNION ALL SELECT coalesce(symbol, ''), 1 FROM t",
        "INSERT INTO o SELECT symbol, \"abs(t.price)\" FROM (SELECT symbol, abs(price) FROM t)",
        "CREATE VIEW v AS SELECT symbol AS a, price AS b FROM t; CREATE VIEW a AS SELECT * FROM v;
         INSERT INTO o SELECT a.a, b FROM a",
    ];
    for text in well {
        assert_eq!(errors(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_field_has_its_own_place() {
    let found = errors(
        "INSERT INTO o SELECT symbol, macd(price) OVER (PARTITION BY symbol ORDER BY ts)['histo']\n\
         FROM t",
    );
    let expected = "1:81 no field of macd is called 'histo'; did you mean 'hist'?";
    assert_eq!(found, [expected]);
}

#[test]
fn after_a_statement_that_cannot_be_read_any_table_may_be_meant() {
    let found = errors("CREATE TABLE u (a INT b); INSERT INTO o SELECT a, foo(b) FROM u");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[1].contains("'foo'"), "{found:#?}");
}

#[test]
fn every_name_of_a_computed_column_is_told() {
    let found = errors(
        "CREATE TABLE c (p DOUBLE, q AS pp + flor(p), r AS qq) WITH ('connector' = 'memory')",
    );
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn a_view_that_reads_itself_ends() {
    let found = errors("CREATE VIEW v AS WITH v AS (SELECT * FROM v) SELECT symbol FROM v");
    assert_eq!(found.len(), 1, "{found:#?}");
}
