//! STDDEV: the population standard deviation of the last `period` values, times `deviations`.
//!
//! Source: TA-Lib's STDDEV. First value after `period - 1` rows. SQL's own `stddev` divides by
//! one less, so this one is called `ta_stddev`. `ta_stddev(x, 2)` over 1, 3 is 1.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, MovingSpread, Parameter, erase, real, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "stddev",
    talib: Some("STDDEV"),
    group: Group::Statistic,
    description: "Population standard deviation",
    inputs: &["close"],
    parameters: &[
        Parameter::period("period", 5.0, 2.0),
        Parameter::factor("deviations", 1.0),
    ],
    outputs: &["stddev"],
    bare: false,
    lookback: |p| rows(p, 0) - 1,
    kernel: |p| erase(Stddev::new(rows(p, 0), real(p, 1)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stddev {
    spread: MovingSpread,
    deviations: f64,
}

impl Stddev {
    /// Over `period` values, at least two, in units of one over `deviations`.
    #[must_use]
    pub fn new(period: usize, deviations: f64) -> Self {
        Self {
            spread: MovingSpread::new(period),
            deviations,
        }
    }
}

impl Indicator<1, 1> for Stddev {
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 1]> {
        self.spread
            .push(value)
            .map(|variance| [variance.sqrt() * self.deviations])
    }
}
