//! Indicators: the trait, the catalogue that SQL, documentation and tests read, and the groups.
//!
//! An indicator is a struct with `update`, in a file of its own with its [`Entry`]; the group's
//! file lists it. Everything else finds it in [`catalog`]. Values and warm-up are TA-Lib's; a
//! row with an input that is NULL or not finite leaves the state alone and has no value. Nor has one
//! whose value a DOUBLE cannot hold, and that leaves no infinity behind: an indicator over a window
//! has values again once what was too large has left it, one that remembers for ever passes over
//! what it cannot add.

mod entry;
mod kernel;
pub mod momentum;
pub mod overlap;
pub(crate) mod sliding;
pub mod statistic;
pub mod volatility;
pub mod volume;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use entry::{Entry, Group, Parameter};
use kernel::erase;
pub use sliding::{MovingSpread, MovingSum};

/// `I` inputs and `O` outputs a row. Inputs are finite; `None` while warming up.
///
/// `Clone` gives the value "if the bar closed now": update a clone. Serde gives snapshots, bit
/// for bit.
pub trait Indicator<const I: usize, const O: usize>:
    Clone + Serialize + DeserializeOwned + Send
{
    /// Takes the next row and gives its value.
    fn update(&mut self, input: [f64; I]) -> Option<[f64; O]>;
}

/// Every indicator, by group and name.
#[must_use]
pub fn catalog() -> &'static [&'static Entry] {
    static ALL: LazyLock<Vec<&Entry>> = LazyLock::new(|| {
        let groups = [
            overlap::ALL,
            momentum::ALL,
            volatility::ALL,
            volume::ALL,
            statistic::ALL,
        ];
        let mut all = groups.concat();
        all.sort_by_key(|entry| (entry.group, entry.name));
        all
    });
    &ALL
}

/// The indicator of this name, bare or with `ta_` before it, in lower case. Whether SQL leaves
/// the bare name to it is said by [`Entry::bare`].
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    static BY_NAME: LazyLock<HashMap<&str, &Entry>> =
        LazyLock::new(|| catalog().iter().map(|entry| (entry.name, *entry)).collect());
    BY_NAME
        .get(name.strip_prefix("ta_").unwrap_or(name))
        .copied()
}

/// A whole-number parameter.
fn rows(parameters: &[f64], position: usize) -> usize {
    parameters.get(position).map_or(1, |value| *value as usize)
}

/// A real parameter.
fn real(parameters: &[f64], position: usize) -> f64 {
    parameters.get(position).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
    use arrow::datatypes::Float64Type;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_unique_and_found_both_ways() {
        for (i, entry) in catalog().iter().enumerate() {
            assert!(catalog()[..i].iter().all(|other| other.name != entry.name));
            let found = [find(entry.name), find(&format!("ta_{}", entry.name))];
            assert!(
                found
                    .iter()
                    .all(|f| f.is_some_and(|f| f.name == entry.name))
            );
        }
        assert!(find("tulip").is_none());
    }

    #[test]
    fn sql_keeps_its_own_names() {
        for name in [
            "sum", "max", "min", "stddev", "var", "floor", "avg", "count",
        ] {
            assert!(find(name).is_none_or(|entry| !entry.bare), "{name}");
        }
    }

    #[test]
    fn errors_name_indicator_parameter_and_range() {
        let rsi = find("rsi").expect("rsi");
        let error = |given: &[f64]| rsi.spec(given).expect_err("invalid").to_string();
        let range = "rsi: parameter period must be a whole number from 2 to 100000";
        assert_eq!(error(&[0.0]), format!("{range}, not 0"));
        assert_eq!(error(&[14.5]), format!("{range}, not 14.5"));
        assert_eq!(error(&[f64::NAN]), format!("{range}, not NaN"));
        assert_eq!(
            error(&[1.0, 2.0]),
            "rsi: takes the parameters period, 2 given"
        );
        assert_eq!(rsi.spec(&[]).expect("default").to_string(), "rsi[14]");
    }

    /// Finite values, most of them prices and volumes, some beyond all bounds.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = (0..12_u8, 1.0..200.0_f64).prop_map(|(kind, value)| match kind {
            0 => f64::MAX,
            1 => f64::MIN,
            2 => value * 5e305,
            3 => value * -5e305,
            4 => f64::MIN_POSITIVE,
            _ => value,
        });
        prop::collection::vec(value, 1..40)
    }

    /// By row, the outputs of an indicator over the values and others like them; `None` where it
    /// has none.
    fn outputs(entry: &'static Entry, parameters: &[f64], values: &[f64]) -> Vec<Option<Vec<f64>>> {
        let shifted = |by: usize| values.iter().cycle().skip(by).take(values.len()).copied();
        let series = (0..entry.inputs.len())
            .map(|by| -> ArrayRef { Arc::new(shifted(by).collect::<Float64Array>()) });
        let result = entry
            .evaluate(parameters, &series.collect::<Vec<_>>())
            .unwrap();
        let columns = match entry.outputs {
            [_] => vec![result],
            _ => result.as_struct().columns().to_vec(),
        };
        let row = |row: usize| {
            let cells = columns.iter().map(|column| {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row))
            });
            cells.collect()
        };
        (0..values.len()).map(row).collect()
    }

    proptest! {
        #[test]
        fn values_beyond_all_bounds_leave_no_infinity(wild in values()) {
            let calm = |i: usize| 100.0 + (i % 7) as f64 + (i % 3) as f64 * 0.5;
            let calm: Vec<f64> = (0..60).map(calm).collect();
            for entry in catalog() {
                let parameters: Vec<f64> = (5..).map(f64::from).take(entry.parameters.len()).collect();
                let with = outputs(entry, &parameters, &[wild.as_slice(), &calm].concat());
                for output in with.iter().flatten().flatten() {
                    prop_assert!(output.is_finite(), "{}: {output}", entry.name);
                }
                // The last rows lie behind the window and the beginning of the recursive ones, and
                // before the rows that the shifted inputs begin with again.
                let with = &with[wild.len()..wild.len() + 50];
                let without = outputs(entry, &parameters, &calm);
                for row in 20..50 {
                    prop_assert!(with[row].is_some(), "{} has no value in row {row}", entry.name);
                    let windowed = ["sma", "bbands", "stddev", "rvol", "volume_zscore"];
                    if !windowed.contains(&entry.name) {
                        continue;
                    }
                    let pairs = with[row].iter().flatten().zip(without[row].iter().flatten());
                    for (with, without) in pairs {
                        let apart = (with - without).abs();
                        prop_assert!(apart <= 1e-9 * without.abs(), "{}: {with} {without}", entry.name);
                    }
                }
            }
        }
    }
}
