//! Frame functions against a reference that looks at every row of every frame.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use engine::frame::{Frame, Literal, NAMES, Units, spec};
use engine::kernel::Rows;
use proptest::prelude::*;

/// Rows of several keys; times never fall.
#[derive(Debug, Clone)]
struct Case {
    keys: Vec<u32>,
    times: Vec<i64>,
    values: Vec<Option<f64>>,
}

fn cases() -> impl Strategy<Value = Case> {
    let value = prop_oneof![
        1 => Just(None),
        8 => (-1_000..1_000_i32).prop_map(|v| Some(f64::from(v) / 8.0 + 100.0)),
        1 => prop_oneof![Just(Some(1e9)), Just(Some(1e15)), Just(Some(-1e12))],
    ];
    prop::collection::vec((0..3_u32, 0..3_i64, value), 1..160).prop_map(|rows| {
        let mut time = 0;
        let times = rows.iter().map(|(_, step, _)| {
            time += step;
            time
        });
        Case {
            times: times.collect(),
            keys: rows.iter().map(|row| row.0).collect(),
            values: rows.iter().map(|row| row.2).collect(),
        }
    })
}

fn frames() -> impl Strategy<Value = Frame> {
    let units = prop_oneof![Just(Units::Rows), Just(Units::Range)];
    let start = prop_oneof![1 => Just(None), 3 => (0..12_u64).prop_map(Some), 1 => Just(Some(70))];
    (units, start, prop_oneof![3 => Just(0), 1 => 1..6_u64]).prop_map(|(units, start, end)| {
        let start = start.map(|start| start + end);
        Frame { units, start, end }
    })
}

fn evaluate(
    name: &str,
    literals: &[Literal],
    frame: Frame,
    case: &Case,
    column: &ArrayRef,
) -> ArrayRef {
    let spec = spec(name, &[column.data_type().clone()], literals, frame).expect("possible");
    let rows = Rows {
        keys: &case.keys,
        key_count: 3,
        times: &case.times,
    };
    let result = spec
        .build()
        .expect("built")
        .evaluate(rows, &[Arc::clone(column)])
        .expect("rows");
    assert_eq!(result.data_type(), &spec.data_type());
    result
}

/// The rows of each row's frame, in order.
fn framed(case: &Case, frame: Frame) -> Vec<Vec<usize>> {
    let rows_of_key = |row: usize| -> Vec<usize> {
        (0..case.keys.len())
            .filter(|other| case.keys[*other] == case.keys[row])
            .collect()
    };
    let window = |row: usize| {
        let of_key = rows_of_key(row);
        let place = of_key
            .iter()
            .position(|other| *other == row)
            .expect("itself");
        let inside = |(number, other): (usize, &usize)| {
            let distance = match frame.units {
                Units::Rows => place as i64 - number as i64,
                Units::Range => case.times[row] - case.times[*other],
            };
            distance >= frame.end as i64 && frame.start.is_none_or(|s| distance <= s as i64)
        };
        let window = of_key
            .iter()
            .enumerate()
            .filter(|(n, other)| inside((*n, other)));
        window.map(|(_, other)| *other).collect()
    };
    (0..case.keys.len()).map(window).collect()
}

fn reference(name: &str, values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let mean = sum / count;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let some = |value: f64| (!values.is_empty()).then_some(value);
    let sampled = |value: f64| (values.len() > 1).then_some(value);
    match name {
        "count" => Some(count),
        "sum" => some(sum),
        "avg" | "mean" => some(mean),
        "min" => values.iter().copied().reduce(f64::min),
        "max" => values.iter().copied().reduce(f64::max),
        "stddev" | "stddev_samp" => sampled((squares / (count - 1.0)).sqrt()),
        "var" | "var_samp" => sampled(squares / (count - 1.0)),
        "stddev_pop" => some((squares / count).sqrt()),
        "var_pop" => some(squares / count),
        other => panic!("no reference for {other}"),
    }
}

const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "var",
    "var_samp",
    "var_pop",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn aggregates_are_those_of_the_frame(case in cases(), frame in frames()) {
        let column: ArrayRef = Arc::new(Float64Array::from(case.values.clone()));
        let windows = framed(&case, frame);
        for name in AGGREGATES {
            let result = evaluate(name, &[], frame, &case, &column);
            for (row, window) in windows.iter().enumerate() {
                let values: Vec<f64> = window.iter().filter_map(|r| case.values[*r]).collect();
                let expected = reference(name, &values);
                let ours = result.is_valid(row).then(|| match result.data_type() {
                    DataType::Int64 => result.as_primitive::<Int64Type>().value(row) as f64,
                    _ => result.as_primitive::<Float64Type>().value(row),
                });
                // The error of the reference itself: what its largest value rounds off.
                let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                let noise = if name.starts_with("var") { largest * largest } else { largest };
                let alike = match (ours, expected) {
                    (Some(ours), Some(expected)) => {
                        let tolerance = 1e-9 * expected.abs() + 1e-13 * noise;
                        (ours - expected).abs() <= tolerance
                    }
                    (None, None) => true,
                    _ => false,
                };
                prop_assert!(alike, "{name} {frame} row {row}: {ours:?} {expected:?} {values:?}");
            }
        }
    }

    #[test]
    fn places_are_those_of_the_frame(case in cases(), frame in frames(), n in 1..5_usize) {
        let column: ArrayRef = Arc::new(Float64Array::from(case.values.clone()));
        let texts: Vec<_> = case.values.iter().map(|v| v.map(|v| v.to_string())).collect();
        let text: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let windows = framed(&case, frame);
        let nth = [Literal::Integer(n as i64)];
        let calls: [(&str, &[Literal]); 3] =
            [("first_value", &[]), ("last_value", &[]), ("nth_value", &nth)];
        for (name, literals) in calls {
            let result = evaluate(name, literals, frame, &case, &column);
            let result: Vec<_> = result.as_primitive::<Float64Type>().iter().collect();
            let read = evaluate(name, literals, frame, &case, &text);
            let read: Vec<_> = read.as_string::<i32>().iter().collect();
            for (row, window) in windows.iter().enumerate() {
                let place = match name {
                    "first_value" => window.first(),
                    "last_value" => window.last(),
                    _ => window.get(n - 1),
                };
                let expected = place.and_then(|row| case.values[*row]);
                prop_assert_eq!(result[row], expected, "{} {} row {}", name, frame, row);
                let expected = place.and_then(|row| texts[*row].as_deref());
                prop_assert_eq!(read[row], expected, "{} {} row {}", name, frame, row);
            }
        }
    }

    #[test]
    fn lag_is_the_row_before(case in cases(), offset in 0..9_i64, long in any::<bool>()) {
        let offset = if long { offset + 1_024 } else { offset };
        let column: ArrayRef = Arc::new(Float64Array::from(case.values.clone()));
        let instants = case.values.iter().map(|v| v.map(|v| v as i64));
        let instants: ArrayRef = Arc::new(instants.collect::<TimestampNanosecondArray>());
        for default in [None, Some(-7_i64)] {
            let literal = default.map_or(Literal::Null, Literal::Integer);
            let literals = [Literal::Integer(offset), literal];
            let result = evaluate("lag", &literals, Frame::DEFAULT, &case, &column);
            let times = evaluate("lag", &literals, Frame::DEFAULT, &case, &instants);
            for (row, key) in case.keys.iter().enumerate() {
                let of_key = (0..=row).rev().filter(|other| case.keys[*other] == *key);
                let before = of_key.clone().nth(offset as usize);
                let expected = match before {
                    Some(before) => case.values[before],
                    None => default.map(|value| value as f64),
                };
                let ours = result.as_primitive::<Float64Type>();
                let ours = ours.is_valid(row).then(|| ours.value(row));
                prop_assert_eq!(ours, expected, "offset {} row {}", offset, row);
                let time = times.as_primitive::<TimestampNanosecondType>();
                let time = time.is_valid(row).then(|| time.value(row));
                prop_assert_eq!(time, expected.map(|value| value as i64));
            }
        }
    }

    #[test]
    fn integers_are_summed_exactly(case in cases(), frame in frames()) {
        let big = |v: &Option<f64>| v.map(|v| 9_007_199_254_740_993 + v as i64 % 1_000);
        let values: Vec<Option<i64>> = case.values.iter().map(big).collect();
        let column: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        for name in ["sum", "min", "max"] {
            let result = evaluate(name, &[], frame, &case, &column);
            let result = result.as_primitive::<Int64Type>();
            for (row, window) in framed(&case, frame).iter().enumerate() {
                let values = window.iter().filter_map(|row| values[*row]);
                let expected = match name {
                    "sum" => values.reduce(i64::wrapping_add),
                    "min" => values.min(),
                    _ => values.max(),
                };
                prop_assert_eq!(result.is_valid(row).then(|| result.value(row)), expected);
            }
        }
    }
}

fn one_key(values: &[f64]) -> (Case, ArrayRef) {
    let count = values.len();
    let case = Case {
        keys: vec![0; count],
        times: (0..count as i64).collect(),
        values: values.iter().copied().map(Some).collect(),
    };
    (case, Arc::new(Float64Array::from(values.to_vec())))
}

#[test]
fn deviations_survive_a_bad_tick_and_a_level_shift() {
    for (bad, level) in [(1e9, 100.0), (1e15, 100.0), (1e15, 0.1), (-1e9, 5e4)] {
        let values: Vec<f64> = (0..1_500)
            .map(|i| match i {
                0 | 77 | 400..500 => bad,
                _ => level + f64::from(i * 37 % 101) * 1e-4,
            })
            .collect();
        let (case, column) = one_key(&values);
        for start in [1, 59, 1_100] {
            let frame = Frame {
                units: Units::Rows,
                start: Some(start),
                end: 0,
            };
            for name in ["avg", "var_pop", "stddev"] {
                let result = evaluate(name, &[], frame, &case, &column);
                for (row, window) in framed(&case, frame).iter().enumerate().skip(1_499) {
                    let window: Vec<f64> = window.iter().map(|row| values[*row]).collect();
                    let offset: Vec<f64> = window.iter().map(|v| v - level).collect();
                    let expected = match name {
                        "avg" => level + reference("avg", &offset).expect("rows"),
                        _ => reference(name, &offset).expect("rows"),
                    };
                    let ours = result.as_primitive::<Float64Type>().value(row);
                    let close = (ours - expected).abs() <= 1e-9 * expected.abs();
                    assert!(close, "{name} {frame} {bad} {level}: {ours} {expected}");
                }
            }
        }
    }
}

#[test]
fn a_flat_window_has_no_deviation_and_an_overflow_does_not_panic() {
    let (case, column) = one_key(&[0.1; 300]);
    let frame = Frame {
        units: Units::Rows,
        start: Some(59),
        end: 0,
    };
    let result = evaluate("stddev", &[], frame, &case, &column);
    let result = result.as_primitive::<Float64Type>();
    assert!(result.is_null(0));
    assert!((1..300).all(|row| result.value(row) == 0.0));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX; 300]));
    for frame in [frame, Frame::DEFAULT] {
        let result = evaluate("sum", &[], frame, &case, &column);
        assert_eq!(result.as_primitive::<Int64Type>().value(1), -2);
    }
}

#[test]
fn rows_are_counted_and_numbered() {
    let (case, _) = one_key(&[0.0; 5]);
    let rows = Rows {
        keys: &case.keys,
        key_count: 1,
        times: &case.times,
    };
    let frame = Frame {
        units: Units::Rows,
        start: Some(2),
        end: 0,
    };
    let count = spec("count", &[], &[], frame).expect("count(*)");
    let result = count
        .build()
        .expect("built")
        .evaluate(rows, &[])
        .expect("rows");
    assert_eq!(
        result.as_primitive::<Int64Type>().values(),
        &[1, 2, 3, 3, 3]
    );
    let number = spec("row_number", &[], &[], Frame::DEFAULT).expect("row_number");
    let result = number
        .build()
        .expect("built")
        .evaluate(rows, &[])
        .expect("rows");
    assert_eq!(
        result.as_primitive::<UInt64Type>().values(),
        &[1, 2, 3, 4, 5]
    );
}

#[test]
fn booleans_can_be_picked() {
    let (case, _) = one_key(&[0.0; 3]);
    let column: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    let lag = [Literal::Integer(1), Literal::Boolean(true)];
    let result = evaluate("lag", &lag, Frame::DEFAULT, &case, &column);
    let result: Vec<_> = result.as_boolean().iter().collect();
    assert_eq!(result, [Some(true), Some(true), None]);
}

#[test]
fn what_is_not_possible_is_refused_with_a_reason() {
    let error = |name: &str, arguments: &[DataType], literals: &[Literal], frame: Frame| {
        spec(name, arguments, literals, frame)
            .expect_err("refused")
            .to_string()
    };
    let (any, real) = (Frame::DEFAULT, [DataType::Float64]);
    let backwards = Frame {
        units: Units::Rows,
        start: Some(1),
        end: 3,
    };
    let found = [
        error("median", &real, &[], any),
        error("lead", &real, &[], any),
        error("sum", &[DataType::Utf8], &[], any),
        error("sum", &[], &[], any),
        error("avg", &real, &[], backwards),
        error("lag", &real, &[Literal::Integer(-1)], any),
        error(
            "lag",
            &real,
            &[Literal::Integer(1), Literal::Text("x".into())],
            any,
        ),
        error("nth_value", &real, &[Literal::Integer(0)], any),
        error("row_number", &real, &[], any),
    ];
    let expected = [
        "no window function median",
        "lead: a stream does not know the rows to come",
        "sum: takes DOUBLE or BIGINT, not Utf8; cast the argument",
        "sum: takes one argument, 0 given",
        "avg: the frame starts after its end",
        "lag: the offset must be a whole number from 0",
        "lag: the default \"x\" is not of the argument's type Float64",
        "nth_value: the position must be one whole number from 1",
        "row_number: takes no argument",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn every_name_is_known_and_says_its_frame() {
    for name in NAMES {
        let nth = [Literal::Integer(3)];
        let literals: &[Literal] = if *name == "nth_value" { &nth } else { &[] };
        let arguments: &[DataType] = if *name == "row_number" {
            &[]
        } else {
            &[DataType::Float64]
        };
        let minute = Frame {
            units: Units::Range,
            start: Some(60_000_000_000),
            end: 0,
        };
        let shown = spec(name, arguments, literals, minute)
            .expect("known")
            .to_string();
        let expected = match *name {
            "row_number" => "row_number".to_owned(),
            "lag" => "lag[1]".to_owned(),
            "nth_value" => "nth_value[3, range 60s preceding]".to_owned(),
            _ => format!("{name}[range 60s preceding]"),
        };
        assert_eq!(shown, expected);
    }
}
