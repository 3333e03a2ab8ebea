//! Every script of `examples/` compiles; what two of them compute is checked here, the job of
//! `wealtharena.sql` in `slt/over/wealtharena.slt`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type};
use engine::Graph;
use engine::testing::{Harness, START};
use sql::Script;
use sql::catalog::Overrides;
use sql::compile::compile;

fn graph(name: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let printed = |errors: Vec<sql::Error>| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{name}: {}", lines.join("\n"))
    };
    let script = Script::parse(&text, &Overrides::default())
        .map_err(printed)
        .unwrap();
    assert!(!script.inserts.is_empty(), "{name} inserts nothing");
    compile(&script.catalog, &script.inserts)
        .map_err(printed)
        .unwrap()
}

#[test]
fn every_example_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        let graph = graph(name.to_str().unwrap());
        assert!(
            !graph.inputs.is_empty() && !graph.targets.is_empty(),
            "{}",
            name.display()
        );
        count += 1;
    }
    assert!(count >= 9, "{count} examples");
}

#[test]
fn the_demo_has_three_outputs_and_records() {
    let graph = graph("demo.sql");
    let names: Vec<&str> = graph
        .targets
        .iter()
        .map(|t| t.stream.name.as_str())
        .collect();
    assert_eq!(names, ["indicators", "bars", "alerts"]);
    assert!(graph.inputs[0].archive.is_some());
}

/// Rows of one symbol, a minute apart, with the columns of the source.
fn rows(graph: &Graph, prices: &[f64]) -> RecordBatch {
    let schema = graph.inputs[0].stream.source_schema();
    let count = prices.len();
    let time = |i| format!("2024-01-01T{:02}:{:02}:00", i / 60, i % 60);
    let columns =
        schema
            .fields()
            .iter()
            .map(|field| match (field.name().as_str(), field.data_type()) {
                ("symbol", _) => Arc::new(StringArray::from(vec!["AAPL"; count])) as ArrayRef,
                ("timestamp", _) => {
                    Arc::new((0..count).map(|i| Some(time(i))).collect::<StringArray>())
                }
                ("price", _) => Arc::new(Float64Array::from(prices.to_vec())),
                ("volume", _) => Arc::new(Int64Array::from_iter_values(
                    (0..count as i64).map(|i| 10 + i),
                )),
                (_, data_type) => arrow::array::new_null_array(data_type, count),
            });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

#[test]
fn the_job_done_right_warms_up_neutral() {
    let graph = Arc::new(graph("wealtharena_indicators.sql"));
    let prices: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i * 7 % 11)).collect();
    let mut harness = Harness::new(Arc::clone(&graph)).unwrap();
    harness.set_clock(START + 86_400_000_000_000);
    harness.insert(0, rows(&graph, &prices)).unwrap();
    harness.end(0).unwrap();
    let schema = &graph.targets[0].stream.schema;
    let out = concat_batches(schema, &harness.emitted(0)).unwrap();
    assert_eq!((out.num_columns(), out.num_rows()), (15, 60));
    let column = |name: &str| Arc::clone(out.column_by_name(name).unwrap());
    let leading = |name: &str| {
        let column = column(name);
        assert_eq!(column.data_type(), &DataType::Float64, "{name}");
        (0..60).take_while(|row| column.is_null(*row)).count()
    };
    let warm_up = [
        "price_change_15m",
        "rsi_14",
        "sma_20",
        "ema_12",
        "ema_26",
        "macd",
    ];
    assert_eq!(warm_up.map(leading), [15, 14, 19, 11, 25, 33]);
    let signals = column("signal_strength");
    let signals = signals.as_string::<i32>();
    let sma = column("sma_20");
    let sma = sma.as_primitive::<Float64Type>();
    for (row, price) in prices.iter().enumerate() {
        let expected = match sma.is_valid(row).then(|| *price > sma.value(row)) {
            None => "NEUTRAL",
            Some(true) => "BULLISH",
            Some(false) => "BEARISH",
        };
        assert_eq!(signals.value(row), expected, "row {row}");
    }
}
