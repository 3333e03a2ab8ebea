//! Windows that are open still, looked at: what is seen is what they would close with, and looking
//! changes nothing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::runtime::shard::ShardSnapshot;
use engine::testing::{Harness, START};
use proptest::prelude::*;
use sql::Script;
use sql::catalog::Overrides;
use sql::compile::compile;

use crate::batch_equals_stream::{Row, any_rows, table};
use crate::slt::values::print;

const TABLES: &str = "CREATE TABLE t (s STRING, ts TIMESTAMP(9), p DOUBLE, v BIGINT, \
     WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');
     CREATE TABLE o (s STRING, b TIMESTAMP(9), n BIGINT, x DOUBLE) WITH ('connector' = 'memory');";

const QUERIES: [&str; 3] = [
    "SELECT s, window_start, COUNT(*), AVG(p) * 2.0 + MAX(p) - MIN(p)
     FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '7' SECOND)
     GROUP BY s, window_start, window_end",
    "SELECT s, window_start, COUNT(*), STDDEV(p) + LAST_VALUE(p)
     FROM HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '10' SECOND)
     GROUP BY s, window_start, window_end HAVING COUNT(*) > 1",
    // The state of COUNT(DISTINCT v) is a set, which is written in any order.
    "SELECT NULL, window_start, COUNT(v), SUM(p) FROM TUMBLE(TABLE t, DESCRIPTOR(ts), \
     INTERVAL '5' SECOND) GROUP BY window_start, window_end",
];

fn harness(query: &str) -> Harness {
    let text = format!("{TABLES} INSERT INTO o {query};");
    let script = Script::parse(&text, &Overrides::default()).unwrap();
    let graph = compile(&script.catalog, &script.inserts).unwrap();
    Harness::new(Arc::new(graph)).unwrap()
}

fn printed(rows: &[RecordBatch]) -> Vec<Vec<String>> {
    rows.iter().flat_map(print).collect()
}

fn assert_equal(before: &ShardSnapshot, after: &ShardSnapshot) {
    assert_eq!(before.head, after.head);
    for (before, after) in before.steps.iter().zip(&after.steps) {
        assert_eq!(before.tables, after.tables);
    }
}

fn check(query: &str, rows: &[Row], chunk: usize) {
    let rows = table(rows, 0);
    let (mut watched, mut alone) = (harness(query), harness(query));
    for start in (0..rows.num_rows()).step_by(chunk) {
        let some = rows.slice(start, chunk.min(rows.num_rows() - start));
        watched.insert(0, some.clone()).unwrap();
        alone.insert(0, some).unwrap();
        let before = watched.snapshot().unwrap();
        let seen = watched.forming(0).unwrap();
        assert_equal(&before, &watched.snapshot().unwrap());
        assert_eq!(printed(&seen), printed(&watched.forming(0).unwrap()));
        // What would close now, were this the end.
        let mut ended = harness(query);
        ended.restore(before).unwrap();
        ended.set_clock(START + 1_000_000_000);
        ended.end(0).unwrap();
        assert_eq!(printed(&seen), printed(&ended.emitted(0)));
    }
    watched.end(0).unwrap();
    alone.end(0).unwrap();
    let final_rows = printed(&watched.emitted(0));
    assert_eq!(final_rows, printed(&alone.emitted(0)));
    assert_eq!(watched.shard().digests(), alone.shard().digests());
    assert_eq!(watched.shard().step_counts(), alone.shard().step_counts());
    assert!(watched.forming(0).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn open_windows_are_seen_as_they_would_close(rows in any_rows(), chunk in 1..20_usize) {
        for query in QUERIES {
            check(query, &rows, chunk);
        }
    }
}

#[test]
fn what_a_step_with_state_makes_of_windows_is_not_seen() {
    let mut harness = harness(
        "SELECT s, b, n, SUM(n) OVER (PARTITION BY s ORDER BY b ROWS 2 PRECEDING) * 1.0 FROM \
         (SELECT s, window_end AS b, COUNT(*) AS n FROM TUMBLE(TABLE t, DESCRIPTOR(ts), \
         INTERVAL '7' SECOND) GROUP BY s, window_start, window_end)",
    );
    harness
        .insert(0, table(&[(Some(1), 1, Some(2.0), 3)], 0))
        .unwrap();
    assert!(harness.forming(0).unwrap().is_empty());
}
