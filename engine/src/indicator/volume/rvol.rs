//! RVOL, relative volume: the volume over the mean of the `period` volumes before it.
//!
//! Source: TA-Lib's RVOL; the row itself is not in the mean. First value after `period` rows.
//! Where the mean is zero TA-Lib divides by it; here such a row has no value.
//! `rvol(v, 2)` over 2, 4, 6 is 2.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, MovingSum, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "rvol",
    talib: Some("RVOL"),
    group: Group::Volume,
    description: "Relative volume: times the mean of the volumes before",
    inputs: &["volume"],
    parameters: &[Parameter::period("period", 20.0, 1.0)],
    outputs: &["rvol"],
    bare: true,
    lookback: |p| rows(p, 0),
    kernel: |p| erase(Rvol::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rvol {
    sum: MovingSum,
    mean: Option<f64>,
    period: f64,
}

impl Rvol {
    /// Over the `period` volumes before, at least one.
    #[must_use]
    pub fn new(period: usize) -> Self {
        Self {
            sum: MovingSum::new(period),
            mean: None,
            period: period as f64,
        }
    }
}

impl Indicator<1, 1> for Rvol {
    fn update(&mut self, [volume]: [f64; 1]) -> Option<[f64; 1]> {
        let mean = self.sum.push(volume).map(|sum| sum / self.period);
        let before = std::mem::replace(&mut self.mean, mean)?;
        Some([volume / before]).filter(|[ratio]| ratio.is_finite())
    }
}
