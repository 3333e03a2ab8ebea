//! Every indicator of the catalogue against the official TA-Lib port: values, warm-up, parameters.
//!
//! Tolerance: 1e-9 of the expected value, or of the largest input where values cancel (MACD).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use engine::indicator::{Entry, Parameter, catalog};
use ta_lib::Core;
use ta_lib::abstract_api::{FuncInfo, InputType, OptInputType, get_func_handle};

/// Why there is nothing in TA-Lib to compare an entry with.
const NO_ORACLE: &[(&str, &str)] = &[(
    "volume_zscore",
    "TA-Lib has no score of a row against the rows before; tested against its formula below",
)];

type Series = BTreeMap<&'static str, Vec<f64>>;

/// Bars of a series: a walk that never falls below its own spread.
fn bars(close: impl Fn(usize) -> f64, volume: impl Fn(usize) -> f64, count: usize) -> Series {
    let close: Vec<f64> = (0..count).map(close).collect();
    let high = close
        .iter()
        .enumerate()
        .map(|(i, c)| c * (1.0 + 0.001 * (i % 5) as f64));
    let low = close
        .iter()
        .enumerate()
        .map(|(i, c)| c * (1.0 - 0.002 * (i % 3) as f64));
    let open = close
        .iter()
        .enumerate()
        .map(|(i, c)| c * (1.0 + 0.0005 * (i % 2) as f64));
    let volume = (0..count).map(volume).collect();
    let (open, high, low) = (open.collect(), high.collect(), low.collect());
    BTreeMap::from([
        ("open", open),
        ("high", high),
        ("low", low),
        ("close", close),
        ("volume", volume),
    ])
}

/// A random walk by a linear congruence: the same in every run.
fn walk(seed: u64, count: usize) -> Series {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut price = 100.0;
    let steps: Vec<(f64, f64)> = (0..count)
        .map(|_| {
            price *= 1.0 + 0.02 * (next() - 0.5);
            (price, (next() * 10_000.0).floor())
        })
        .collect();
    bars(|i| steps[i].0, |i| steps[i].1, count)
}

fn all_series() -> Vec<(&'static str, Series)> {
    vec![
        ("walk", walk(1, 700)),
        ("another walk", walk(2, 333)),
        ("constant", bars(|_| 100.0, |_| 1_000.0, 300)),
        (
            "rising",
            bars(|i| 100.0 + 0.25 * i as f64, |i| 1.0 + i as f64, 300),
        ),
        (
            "falling",
            bars(|i| 500.0 - 0.75 * i as f64, |i| 999.0 - i as f64, 300),
        ),
        (
            "in steps",
            bars(|i| 50.0 + (i / 40) as f64, |i| (i / 50 % 2) as f64, 300),
        ),
        ("short", walk(3, 7)),
    ]
}

fn array(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

/// The outputs of the engine, by output and row.
fn ours(entry: &'static Entry, parameters: &[f64], inputs: &[ArrayRef]) -> Vec<Vec<Option<f64>>> {
    let result = entry.evaluate(parameters, inputs).expect("valid");
    let column = |column: &ArrayRef| column.as_primitive::<Float64Type>().iter().collect();
    match entry.outputs {
        [_] => vec![column(&result)],
        _ => result.as_struct().columns().iter().map(column).collect(),
    }
}

fn talib_info(entry: &Entry) -> Option<&'static FuncInfo> {
    let name = entry.talib?;
    Some(get_func_handle(name).expect("known to TA-Lib").info())
}

/// The outputs of TA-Lib, by output and row; the rows of its lookback are `None`.
fn theirs(
    entry: &Entry,
    info: &FuncInfo,
    parameters: &[f64],
    series: &Series,
) -> (usize, Vec<Vec<Option<f64>>>) {
    let core = Core::new();
    let count = series["close"].len();
    let mut outputs = vec![vec![0.0; count]; entry.outputs.len()];
    let mut call = info.id.new_call(&core);
    for (slot, input) in info.inputs.iter().enumerate() {
        match input.kind {
            InputType::Price => {
                let part = |name| series.get(name).map(Vec::as_slice);
                let [open, high, low] = ["open", "high", "low"].map(part);
                let (close, volume) = (part("close"), part("volume"));
                call.set_price_input(slot, open, high, low, close, volume, None)
                    .expect("price");
            }
            InputType::Real => {
                call.set_input(slot, &series[entry.inputs[slot]])
                    .expect("input");
            }
            InputType::Integer => panic!("{}: integer input", entry.name),
        }
    }
    for (i, value) in parameters.iter().enumerate() {
        let integer = entry.parameters[i].integer;
        let set = if integer {
            call.set_opt_input(i, *value as i32)
        } else {
            call.set_opt_input(i, *value)
        };
        set.expect("parameter");
    }
    let lookback = call.lookback().expect("lookback");
    for (i, output) in outputs.iter_mut().enumerate() {
        call.set_output(i, output).expect("output");
    }
    let range = call.call(0, count - 1).expect("call");
    let shift = |values: Vec<f64>| {
        let empty = vec![None; range.beg_idx.min(count)];
        let values = values.into_iter().take(range.count).map(Some);
        let mut shifted: Vec<_> = empty.into_iter().chain(values).collect();
        shifted.resize(count, None);
        shifted
    };
    (lookback, outputs.into_iter().map(shift).collect())
}

/// Default parameters, the least ones, and two between.
fn parameter_sets(entry: &Entry) -> Vec<Vec<f64>> {
    let of = |choose: fn(f64, f64, f64) -> f64| -> Vec<f64> {
        let choose = |(i, p): (usize, &Parameter)| {
            if p.integer {
                choose(i as f64, p.default, p.min)
            } else {
                p.default
            }
        };
        entry.parameters.iter().enumerate().map(choose).collect()
    };
    let mut sets = vec![
        of(|_, default, _| default),
        of(|_, _, min| min),
        of(|i, _, min| min + 3.0 + 2.0 * i),
        of(|i, _, min| min + 9.0 - 2.0 * i),
    ];
    if entry.parameters.iter().any(|parameter| !parameter.integer) {
        let defaults = entry.parameters.iter();
        sets.push(
            defaults
                .map(|p| if p.integer { p.default } else { 1.25 })
                .collect(),
        );
    }
    sets
}

fn assert_alike(context: &str, scale: f64, ours: &[Option<f64>], theirs: &[Option<f64>]) {
    assert_eq!(ours.len(), theirs.len(), "{context}");
    for (row, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        // Where TA-Lib divides by zero, the engine has no value.
        let theirs = theirs.filter(|value| value.is_finite());
        let alike = match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                let tolerance = 1e-9 * theirs.abs() + 1e-12 * scale;
                (ours - theirs).abs() <= tolerance
            }
            (None, None) => true,
            _ => false,
        };
        assert!(
            alike,
            "{context}, row {row}: ours {ours:?}, TA-Lib's {theirs:?}"
        );
    }
}

fn scale(entry: &Entry, series: &Series) -> f64 {
    let inputs = entry.inputs.iter().flat_map(|name| &series[name]);
    inputs.fold(0.0, |scale: f64, value| scale.max(value.abs()))
}

#[test]
fn every_entry_has_an_oracle_or_says_why_not() {
    for entry in catalog() {
        let excused = NO_ORACLE.iter().any(|(name, _)| *name == entry.name);
        assert_ne!(entry.talib.is_some(), excused, "{}", entry.name);
    }
}

#[test]
fn values_and_warm_up_are_talibs() {
    for entry in catalog() {
        let Some(info) = talib_info(entry) else {
            continue;
        };
        for (name, series) in all_series() {
            for parameters in parameter_sets(entry) {
                let context = format!("{}{parameters:?} over {name}", entry.name);
                let (lookback, expected) = theirs(entry, info, &parameters, &series);
                assert_eq!(
                    entry.lookback(&parameters).expect("valid"),
                    lookback,
                    "{context}"
                );
                let column = |name: &&str| array(series[name].iter().copied().map(Some));
                let inputs: Vec<_> = entry.inputs.iter().map(column).collect();
                let results = ours(entry, &parameters, &inputs);
                for (ours, theirs) in results.iter().zip(&expected) {
                    assert_alike(&context, scale(entry, &series), ours, theirs);
                }
            }
        }
    }
}

#[test]
fn a_row_without_a_finite_input_is_skipped() {
    for entry in catalog() {
        let series = walk(4, 200);
        let parameters: Vec<f64> = vec![];
        let plain = |name: &&str| array(series[name].iter().copied().map(Some));
        let inputs: Vec<_> = entry.inputs.iter().map(plain).collect();
        let expected = ours(entry, &parameters, &inputs);
        for bad in [
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
        ] {
            for spoiled in 0..entry.inputs.len() {
                let gapped = |(i, name): (usize, &&str)| {
                    let values = series[name].iter().enumerate();
                    array(values.flat_map(move |(row, value)| {
                        let gap = if i == spoiled { bad } else { Some(1e6) };
                        let gap = (row % 3 == 1).then_some(gap);
                        gap.into_iter().chain([Some(*value)])
                    }))
                };
                let inputs: Vec<_> = entry.inputs.iter().enumerate().map(gapped).collect();
                for (ours, expected) in ours(entry, &parameters, &inputs).iter().zip(&expected) {
                    let mut ours = ours.iter();
                    for (row, expected) in expected.iter().enumerate() {
                        if row % 3 == 1 {
                            assert_eq!(ours.next(), Some(&None), "{} row {row}", entry.name);
                        }
                        let same = ours.next().map(|value| value.map(f64::to_bits));
                        assert_eq!(same, Some(expected.map(f64::to_bits)), "{}", entry.name);
                    }
                }
            }
        }
    }
}

#[test]
fn parameters_are_talibs() {
    for entry in catalog() {
        let Some(info) = talib_info(entry) else {
            continue;
        };
        for (ours, theirs) in entry.parameters.iter().zip(info.opt_inputs) {
            let context = format!("{} {}", entry.name, ours.name);
            let range = match theirs.kind {
                OptInputType::IntegerRange {
                    min, max, default, ..
                } => (f64::from(min), f64::from(max), f64::from(default), true),
                OptInputType::RealRange {
                    min, max, default, ..
                } => (min, max, default, false),
                ref other => panic!("{context}: {other:?}"),
            };
            assert_eq!(
                (ours.min, ours.max, ours.default, ours.integer),
                range,
                "{context}"
            );
        }
        assert!(
            entry.parameters.len() <= info.opt_inputs.len(),
            "{}",
            entry.name
        );
        assert_eq!(entry.outputs.len(), info.outputs.len(), "{}", entry.name);
    }
}

#[test]
fn volume_zscore_is_its_formula() {
    let entry = engine::indicator::find("ta_volume_zscore").expect("there");
    let volumes = &walk(5, 300)["volume"];
    let inputs = [array(volumes.iter().copied().map(Some))];
    let results = ours(entry, &[20.0], &inputs);
    for (row, result) in results[0].iter().enumerate() {
        let Some(start) = row.checked_sub(20) else {
            assert_eq!(*result, None, "row {row}");
            continue;
        };
        let before = &volumes[start..row];
        let mean = before.iter().sum::<f64>() / 20.0;
        let variance = before.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20.0;
        let expected = (volumes[row] - mean) / variance.sqrt();
        let result = result.expect("a value");
        assert!(
            (result - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "row {row}"
        );
    }
    let constant = [array(std::iter::repeat_n(Some(5.0), 40))];
    assert!(
        ours(entry, &[20.0], &constant)[0]
            .iter()
            .all(Option::is_none)
    );
}

#[test]
fn a_bad_tick_leaves_no_trace() {
    let bad_rows = [100, 131, 132, 290];
    for entry in catalog().iter().filter(|entry| {
        // Those whose value depends on a bounded number of rows.
        ["sma", "bbands", "stddev", "rvol", "volume_zscore"].contains(&entry.name)
    }) {
        for bad in [1e9, 1e15] {
            let clean = walk(6, 400);
            let plain = |name: &&str| array(clean[name].iter().copied().map(Some));
            let spoilt = |name: &&str| {
                let values = clean[name].iter().enumerate();
                array(values.map(|(i, v)| Some(if bad_rows.contains(&i) { bad } else { *v })))
            };
            let inputs: Vec<_> = entry.inputs.iter().map(plain).collect();
            let spoilt: Vec<_> = entry.inputs.iter().map(spoilt).collect();
            let (expected, results) = (ours(entry, &[], &inputs), ours(entry, &[], &spoilt));
            let lookback = entry.lookback(&[]).expect("valid");
            for (expected, result) in expected.iter().zip(&results) {
                for row in 0..400 {
                    if bad_rows
                        .iter()
                        .any(|bad| (*bad..=bad + lookback).contains(&row))
                    {
                        continue;
                    }
                    let (Some(expected), Some(result)) = (expected[row], result[row]) else {
                        assert_eq!(expected[row], result[row]);
                        continue;
                    };
                    let error = (expected - result).abs();
                    let tolerance = 1e-9 * expected.abs().max(1e-3);
                    assert!(
                        error <= tolerance,
                        "{} {row} {expected} {result}",
                        entry.name
                    );
                }
            }
        }
    }
}
