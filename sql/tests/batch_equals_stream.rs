//! The same SELECT over the same rows: DataFusion's batch execution and the stream agree.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use engine::testing::{Harness, START};
use futures::TryStreamExt;
use proptest::prelude::*;
use sql::Script;
use sql::batch::Batch;
use sql::catalog::Overrides;
use sql::compile::compile;

use crate::slt::values::print;

const SOURCE: &str = "CREATE TABLE t (s STRING, ts TIMESTAMP(9), p DOUBLE, v BIGINT, \
                      WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');";

/// ROWS frames, LAG and indicators; the first two columns tell the rows apart.
const OVER: (&str, &str) = (
    "s STRING, ts TIMESTAMP(9), a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE, e BIGINT, f DOUBLE, \
     g DOUBLE, h DOUBLE, i DOUBLE, j DOUBLE",
    "SELECT s, ts, LAG(p, 2) OVER w AS a,
       AVG(p) OVER (w ROWS 3 PRECEDING) AS b,
       SUM(p) OVER (w ROWS BETWEEN 5 PRECEDING AND 2 PRECEDING) AS c,
       STDDEV(p) OVER (w ROWS 6 PRECEDING) AS d,
       COUNT(p) OVER (w ROWS 4 PRECEDING) AS e,
       MIN(p) OVER (w ROWS 4 PRECEDING) AS f,
       rsi(p, 3) OVER w AS g, ema(p, 3) OVER w AS h,
       (macd(p, 2, 4, 2) OVER w)['hist'] AS i,
       volume_zscore(v, 4) OVER w AS j
     FROM t WINDOW w AS (PARTITION BY s ORDER BY ts)",
);

/// A RANGE frame has its peers.
const RANGE: (&str, &str) = (
    "s STRING, ts TIMESTAMP(9), p DOUBLE, total DOUBLE, n BIGINT",
    "SELECT s, ts, p, SUM(p) OVER w AS total, COUNT(*) OVER w AS n FROM t
     WINDOW w AS (PARTITION BY s ORDER BY ts RANGE INTERVAL '3' SECOND PRECEDING)",
);

const TUMBLE: (&str, &str) = (
    "s STRING, b TIMESTAMP(9), n BIGINT, k BIGINT, total DOUBLE, mean DOUBLE, lo DOUBLE, hi DOUBLE",
    "SELECT s, window_start, COUNT(*) AS n, COUNT(p) AS k, SUM(p) AS total, AVG(p) AS mean,
       MIN(p) AS lo, MAX(p) AS hi
     FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '7' SECOND)
     GROUP BY s, window_start, window_end",
);

const HOP: (&str, &str) = (
    "s STRING, b TIMESTAMP(9), n BIGINT, total DOUBLE",
    "SELECT s, window_start, COUNT(*) AS n, SUM(v) * 1.0 AS total
     FROM HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '10' SECOND)
     GROUP BY s, window_start, window_end",
);

/// Key, seconds since the row before, price, volume.
pub(crate) type Row = (Option<u8>, u8, Option<f64>, i64);

pub(crate) fn table(rows: &[Row], least_step: i64) -> RecordBatch {
    let mut now = START;
    let times = rows.iter().map(|(_, step, ..)| {
        now += (i64::from(*step) + least_step) * 1_000_000_000;
        now
    });
    let times = times.collect::<Vec<_>>();
    let keys = rows
        .iter()
        .map(|(key, ..)| key.map(|key| format!("K{key}")));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("s", Arc::new(keys.collect::<StringArray>()), true),
        ("ts", Arc::new(TimestampNanosecondArray::from(times)), true),
        (
            "p",
            Arc::new(
                rows.iter()
                    .map(|(_, _, price, _)| *price)
                    .collect::<Float64Array>(),
            ),
            true,
        ),
        (
            "v",
            Arc::new(
                rows.iter()
                    .map(|(.., volume)| Some(*volume))
                    .collect::<Int64Array>(),
            ),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn streamed(
    (columns, select): (&str, &str),
    table: &RecordBatch,
    chunk: usize,
) -> Vec<Vec<String>> {
    let sink = format!("CREATE TABLE o ({columns}) WITH ('connector' = 'memory');");
    let text = format!("{SOURCE} {sink} INSERT INTO o {select};");
    let script = Script::parse(&text, &Overrides::default()).unwrap();
    let graph = Arc::new(compile(&script.catalog, &script.inserts).unwrap());
    let mut harness = Harness::new(graph).unwrap();
    harness.set_clock(START + 86_400_000_000_000);
    for start in (0..table.num_rows()).step_by(chunk) {
        let rows = table.slice(start, chunk.min(table.num_rows() - start));
        harness.insert(0, rows).unwrap();
    }
    harness.end(0).unwrap();
    harness.emitted(0).iter().flat_map(print).collect()
}

fn batched((_, select): (&str, &str), table: &RecordBatch) -> Vec<Vec<String>> {
    let mut batch = Batch::new(256 << 20, |_| Ok(())).unwrap();
    batch
        .add_rows("t", table.schema(), vec![table.clone()])
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let rows: Vec<RecordBatch> = runtime.block_on(async {
        batch
            .query(select)
            .await
            .unwrap()
            .batches
            .try_collect()
            .await
            .unwrap()
    });
    rows.iter().flat_map(print).collect()
}

/// Equal but for the last digits of numbers.
fn close(left: &str, right: &str) -> bool {
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => (left - right).abs() <= 1e-7 * (1.0 + left.abs()),
        _ => left == right,
    }
}

fn check(query: (&str, &str), table: &RecordBatch, chunk: usize) -> Result<(), TestCaseError> {
    let (mut stream, mut batch) = (streamed(query, table, chunk), batched(query, table));
    stream.sort();
    batch.sort();
    prop_assert_eq!(stream.len(), batch.len());
    for (left, right) in stream.iter().zip(&batch) {
        let same = left.len() == right.len() && left.iter().zip(right).all(|(l, r)| close(l, r));
        prop_assert!(same, "stream {left:?}\nbatch  {right:?}");
    }
    Ok(())
}

pub(crate) fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let price =
        prop_oneof![1 => Just(None), 9 => (1..2_000_i32).prop_map(|p| Some(f64::from(p) / 8.0))];
    prop::collection::vec(
        (prop::option::of(0..4_u8), 0..4_u8, price, 1..500_i64),
        0..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_frames_and_indicators(rows in any_rows(), chunk in 1..20_usize) {
        check(OVER, &table(&rows, 1), chunk)?;
    }

    #[test]
    fn range_frames(rows in any_rows(), chunk in 1..20_usize) {
        check(RANGE, &table(&rows, 0), chunk)?;
    }

    #[test]
    fn windows(rows in any_rows(), chunk in 1..20_usize) {
        check(TUMBLE, &table(&rows, 0), chunk)?;
        check(HOP, &table(&rows, 0), chunk)?;
    }
}
