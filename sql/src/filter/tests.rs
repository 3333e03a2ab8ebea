//! What a condition selects, and what is refused where.

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Field;
use engine::time::TIMESTAMP;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("rsi", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("Ts", TIMESTAMP, true),
    ]))
}

fn rows() -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![
            Some("AAPL"),
            Some("MSFT"),
            None,
            Some("7"),
        ])),
        Arc::new(Float64Array::from(vec![
            Some(71.0),
            None,
            Some(80.0),
            Some(20.5),
        ])),
        Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(0), None])),
        Arc::new(TimestampNanosecondArray::from(vec![0, 1_000_000_000, 2, 3])),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn selected(text: &str) -> Vec<usize> {
    let mask = Filter::compile(text, &schema())
        .unwrap()
        .mask(&rows())
        .unwrap();
    assert_eq!(mask.len(), 4);
    mask.iter()
        .enumerate()
        .filter_map(|(i, yes)| yes.unwrap().then_some(i))
        .collect()
}

fn refused(text: &str) -> String {
    let errors = Filter::compile(text, &schema()).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn rows_are_selected_and_null_is_not_true() {
    assert_eq!(selected("symbol IN ('AAPL', 'MSFT') AND rsi > 70"), [0]);
    assert_eq!(selected("rsi > 70"), [0, 2]);
    assert_eq!(selected("rsi IS NULL OR n = 0"), [1, 2]);
    assert_eq!(
        selected("upper(symbol) LIKE 'a%' OR symbol = lower('AAPL')"),
        [] as [usize; 0]
    );
    assert_eq!(selected("\"Ts\" >= TIMESTAMP '1970-01-01 00:00:01'"), [1]);
    assert_eq!(selected("CASE WHEN n > 1 THEN true ELSE false END"), [1]);
    assert_eq!(selected("true"), [0, 1, 2, 3]);
    assert_eq!(selected("CAST(NULL AS BOOLEAN)"), [] as [usize; 0]);
}

#[test]
fn a_row_at_fault_is_left_out_and_the_others_are_told() {
    assert_eq!(selected("10 / n >= 5"), [0, 1]);
    assert_eq!(selected("CAST(symbol AS BIGINT) = 7"), [3]);
}

#[test]
fn what_it_says_of_some_columns_is_told_apart() {
    let split = |text: &str| {
        let filter = Filter::compile(text, &schema()).unwrap();
        let selects = |filter: Filter| {
            filter
                .mask(&rows())
                .unwrap()
                .values()
                .set_indices()
                .collect()
        };
        let (of_symbol, others) = filter.split(&[0]);
        let [of_symbol, others]: [Option<Vec<usize>>; 2] =
            [of_symbol, others].map(|part| part.map(selects));
        (of_symbol, others)
    };
    let text = "rsi > 20.5 AND symbol IN ('AAPL', '7') AND upper(symbol) <> 'X'";
    assert_eq!(split(text), (Some(vec![0, 3]), Some(vec![0, 2])));
    assert_eq!(split("symbol = '7'"), (Some(vec![3]), None));
    assert_eq!(split("symbol = '7' OR n = 1"), (None, Some(vec![0, 3])));
    assert_eq!(split("true"), (None, Some(vec![0, 1, 2, 3])));
    assert_eq!(
        split("CAST(symbol AS BIGINT) = 7 AND 10 / n >= 5"),
        (Some(vec![3]), Some(vec![0, 1]))
    );
}

#[test]
fn what_a_row_cannot_say_is_refused_with_its_place() {
    let columns = "line 1, column 5: no column is called 'rssi'; did you mean 'rsi'?";
    assert_eq!(refused("1 < rssi"), columns);
    assert!(refused("rsi").starts_with("line 1, column 1: the condition is of type DOUBLE"));
    assert!(refused("rsi > avg(rsi)").starts_with("line 1, column 7: avg is an aggregate"));
    let over = "n = 1 AND\nlag(n) OVER (ORDER BY n) > 1";
    assert!(refused(over).starts_with("line 2, column 1: lag looks at other rows"));
    assert!(refused("rsi(rsi, 3) > 1").contains("rsi looks at other rows"));
    assert!(refused("n IN (SELECT 1)").contains("a condition has no sub-select"));
    assert!(refused("EXISTS (SELECT 1)").contains("a condition has no sub-select"));
    assert!(refused("random() > 0.5").starts_with("line 1, column 1: random differs"));
    assert!(refused("\"Ts\" > now()").contains("now differs from call to call"));
    assert!(refused("n = $1").contains("nothing stands for '$1'"));
    assert!(refused("foo(n) > 1").contains("foo"));
    let long = refused("length(repeat('x', 1000000000)) > n");
    assert!(
        long.starts_with("line 1, column 8: repeat makes texts of any length"),
        "{long}"
    );
}

#[test]
fn what_is_no_condition_is_refused() {
    for text in [
        "",
        "n >",
        "n = 1; DROP TABLE t",
        "n = 1 n",
        "SELECT 1",
        "(n",
        "'",
        "n = 'x",
    ] {
        assert!(!refused(text).is_empty(), "{text}");
    }
    assert!(refused(&format!("n = {}", "1 + ".repeat(10_000))).contains("longer than"));
    let deep = format!("{}n{} = 1", "(".repeat(3_000), ")".repeat(3_000));
    assert!(!refused(&deep).is_empty());
}
