//! Shapes of graphs and refusals; what the graphs compute is in the golden files.

use super::compile;
use crate::catalog::Overrides;
use crate::script::Script;

const TABLES: &str = "CREATE TABLE t (s STRING, p DOUBLE, v BIGINT, ts TIMESTAMP(9), \
     at AS PROCTIME(), WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');\n\
     CREATE TABLE o (s STRING, x DOUBLE) WITH ('connector' = 'memory'); \
     CREATE TABLE o2 (s STRING, x DOUBLE) WITH ('connector' = 'memory');\n";

fn compiled(inserts: &str) -> Result<String, Vec<String>> {
    let script = Script::parse(&format!("{TABLES}{inserts}"), &Overrides::default());
    let script = script.unwrap();
    let graph = compile(&script.catalog, &script.inserts);
    let texts = |errors: Vec<crate::Error>| errors.iter().map(ToString::to_string).collect();
    graph.map(|graph| graph.to_string()).map_err(texts)
}

fn graph(inserts: &str) -> String {
    compiled(inserts).unwrap()
}

fn refused(inserts: &str) -> String {
    compiled(inserts).unwrap_err().join("\n")
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn proctime_runs_without_order_and_event_time_with_one() {
    let over = |time| {
        let by = format!("(PARTITION BY s ORDER BY {time} ROWS 1 PRECEDING)");
        graph(&format!("INSERT INTO o SELECT s, SUM(p) OVER {by} FROM t"))
    };
    assert_eq!(count(&over("at"), "Order:"), 0);
    assert_eq!(count(&over("ts"), "Order:"), 1);
}

#[test]
fn equal_functions_run_once_and_a_chain_keyed_alike_hashes_once() {
    let text = graph(
        "INSERT INTO o SELECT s, SUM(d) OVER w FROM (SELECT s, ts, p - LAG(p) OVER w + \
         LAG(p) OVER w AS d FROM t WINDOW w AS (PARTITION BY s ORDER BY ts)) \
         WINDOW w AS (PARTITION BY s ORDER BY ts ROWS 3 PRECEDING)",
    );
    assert_eq!(count(&text, "lag[1]"), 1, "{text}");
    assert_eq!(count(&text, "Key:"), 1, "{text}");
    assert_eq!(count(&text, "Order:"), 1, "{text}");
}

#[test]
fn integers_are_averaged_without_a_cast() {
    let text = graph(
        "INSERT INTO o SELECT s, AVG(v) OVER (PARTITION BY s ORDER BY at ROWS 9 PRECEDING) FROM t",
    );
    assert!(text.contains("avg[rows 9 preceding](v)"), "{text}");
}

#[test]
fn a_default_frame_waits_for_peers_in_event_time_alone() {
    let over = |time| {
        graph(&format!(
            "INSERT INTO o SELECT s, SUM(p) OVER (PARTITION BY s ORDER BY {time}) FROM t"
        ))
    };
    assert!(over("at").contains("at once"));
    assert!(!over("ts").contains("at once"));
}

#[test]
fn time_is_lost_by_a_computation_and_kept_by_an_alias() {
    let over = "(PARTITION BY s ORDER BY z ROWS 1 PRECEDING)";
    let select = |z| {
        compiled(&format!(
            "INSERT INTO o SELECT s, SUM(p) OVER {over} FROM (SELECT s, p, {z} AS z FROM t)"
        ))
    };
    assert!(select("ts").is_ok());
    let wrong = select("ts + INTERVAL '1' SECOND").unwrap_err().join("\n");
    assert!(
        wrong.starts_with("line 3, column ") && wrong.contains("not the time"),
        "{wrong}"
    );
}

#[test]
fn what_is_refused_says_where_and_what_instead() {
    let cases = [
        ("SELECT s, SUM(p) FROM t GROUP BY s", "TUMBLE"),
        (
            "SELECT s, rsi(p, 0) OVER (PARTITION BY s ORDER BY ts) FROM t",
            "from 2 to",
        ),
        ("SELECT s, random() FROM t", "replay"),
        (
            "SELECT s, LEAD(p) OVER (PARTITION BY s ORDER BY ts) FROM t",
            "lead",
        ),
        ("SELECT s, p FROM t ORDER BY p", "leave it out"),
        ("SELECT s, s FROM t", "CAST"),
        ("SELECT s FROM t", "takes s, x"),
    ];
    for (select, part) in cases {
        let error = refused(&format!("INSERT INTO o {select}"));
        assert!(error.starts_with("line 3, column "), "{select}: {error}");
        assert!(error.contains(part), "{select}: {error}");
    }
}

#[test]
fn all_inserts_are_checked_at_once() {
    let wrong = compiled("INSERT INTO o SELECT s, q FROM t;\nINSERT INTO o2 SELECT s, p FROM u");
    assert_eq!(wrong.unwrap_err().len(), 2);
}

#[test]
fn literals_of_two_types_are_two_steps() {
    let text = graph(
        "INSERT INTO o SELECT s, CASE WHEN p > 1 THEN 1 ELSE 0 END FROM t;\n\
         INSERT INTO o2 SELECT s, CASE WHEN p > 1 THEN 1.0 ELSE 0.0 END FROM t",
    );
    assert!(
        text.contains("Int64(1)") && text.contains("Float64(1)"),
        "{text}"
    );
}

#[test]
fn a_table_is_written_once() {
    let text = "INSERT INTO o SELECT s, p FROM t;\nINSERT INTO \"o\" SELECT s, p FROM t";
    let expected = "line 4, column 13: a second INSERT writes table 'o'; write one INSERT over \
                    both queries, joined by UNION ALL";
    assert_eq!(refused(text), expected);
}

/// What the projections of the text print, outermost first.
fn projections(text: &str) -> Vec<&str> {
    let steps = text.lines().map(str::trim);
    steps
        .filter_map(|step| step.strip_prefix("Project: "))
        .collect()
}

#[test]
fn what_is_computed_twice_stays_a_step_and_is_cut_to_what_is_read() {
    let text = graph(
        "INSERT INTO o SELECT s, CASE WHEN sqrt(p) > 1 THEN sqrt(p) + 1 ELSE sqrt(p) END FROM t",
    );
    let [outer, inner] = projections(&text)[..] else {
        panic!("{text}")
    };
    assert_eq!(count(outer, "__common_expr_1"), 3, "{text}");
    assert_eq!(
        inner, "sqrt(p) AS __common_expr_1, s, _arrived_at",
        "{text}"
    );
}

#[test]
fn a_table_picks_its_columns_itself_unless_rows_are_rejected_by_that() {
    let over = "OVER (PARTITION BY s ORDER BY at)";
    let tables = "CREATE TABLE n (s STRING, x DOUBLE NOT NULL) WITH ('connector' = 'memory'); ";
    let compiled = |insert: &str| {
        let script = format!("{TABLES}{tables}{insert}");
        let script = Script::parse(&script, &Overrides::default()).unwrap();
        compile(&script.catalog, &script.inserts).unwrap()
    };
    let steps = |insert: &str| compiled(insert).nodes.len();
    // Key and Over; of a sum there is a Project, and of what may be NULL and must not.
    let picks = compiled(&format!("INSERT INTO o SELECT s, LAG(p) {over} FROM t"));
    assert_eq!(picks.nodes.len(), 2, "{picks}");
    assert_eq!(projections(&picks.to_string()), ["s, lag AS x"]);
    let member = format!("INSERT INTO o SELECT s, (macd(p) {over})['hist'] FROM t");
    assert_eq!(steps(&member), 2);
    assert_eq!(
        steps(&format!("INSERT INTO o SELECT 'x', LAG(p) {over} FROM t")),
        2
    );
    assert_eq!(
        steps(&format!("INSERT INTO o SELECT s, LAG(p) {over} + 1 FROM t")),
        3
    );
    assert_eq!(
        steps(&format!("INSERT INTO n SELECT s, LAG(p) {over} FROM t")),
        3
    );
    // Two tables of other columns are written from one step.
    let two = format!(
        "CREATE VIEW w AS SELECT s, p, LAG(p) {over} AS l FROM t; INSERT INTO o SELECT s, l FROM w; \
         INSERT INTO o2 SELECT s, p FROM w"
    );
    assert_eq!(steps(&two), 2);
    // Where the places of the columns change, the plan does.
    let other = compiled(&format!("INSERT INTO o SELECT s, LAG(p, 1) {over} FROM t"));
    assert_eq!(picks.plan(), other.plan());
    let other = compiled(&format!(
        "INSERT INTO o SELECT UPPER(s), LAG(p) {over} FROM t"
    ));
    assert_ne!(picks.plan(), other.plan());
}

#[test]
fn a_computed_step_that_two_queries_share_is_shared() {
    let view = "CREATE VIEW w AS SELECT s, sqrt(p) + 1 AS x, LAG(p) OVER (PARTITION BY s ORDER BY \
                at) AS l FROM t; ";
    let text = graph(&format!(
        "{view} INSERT INTO o SELECT s, x + l FROM w; INSERT INTO o2 SELECT s, x - l FROM w"
    ));
    // Printed below both, but one step of the graph.
    assert_eq!(count(&text, "sqrt(p)"), 2, "{text}");
    assert_eq!(projections(&text)[1], projections(&text)[3], "{text}");
    let script = format!("{TABLES}{view} INSERT INTO o SELECT s, x + l FROM w");
    let script = Script::parse(&script, &Overrides::default()).unwrap();
    let graph = compile(&script.catalog, &script.inserts).unwrap();
    // Source, Key, Over, Project: nothing is left that leads nowhere.
    assert_eq!(graph.nodes.len(), 3, "{graph}");
}
