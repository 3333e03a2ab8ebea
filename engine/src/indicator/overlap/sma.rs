//! SMA, the simple moving average: the sum of the last `period` values over `period`.
//!
//! Source: TA-Lib's SMA. First value after `period - 1` rows. `sma(x, 3)` over 11, 12, 13 is 12.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, MovingSum, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "sma",
    talib: Some("SMA"),
    group: Group::Overlap,
    description: "Simple moving average",
    inputs: &["close"],
    parameters: &[Parameter::period("period", 30.0, 1.0)],
    outputs: &["sma"],
    bare: true,
    lookback: |p| rows(p, 0) - 1,
    kernel: |p| erase(Sma::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sma {
    sum: MovingSum,
    period: f64,
}

impl Sma {
    /// Over `period` values, at least one.
    #[must_use]
    pub fn new(period: usize) -> Self {
        Self {
            sum: MovingSum::new(period),
            period: period as f64,
        }
    }
}

impl Indicator<1, 1> for Sma {
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 1]> {
        self.sum.push(value).map(|sum| [sum / self.period])
    }
}
