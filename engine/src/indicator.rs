//! Indicators: the trait, the catalogue that SQL, documentation and tests read, and the groups.
//!
//! An indicator is a struct with `update`, in a file of its own with its [`Entry`]; the group's
//! file lists it. Everything else finds it in [`catalog`]. Values and warm-up are TA-Lib's; a
//! row with an input that is NULL or not finite leaves the state alone and has no value.

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
}
