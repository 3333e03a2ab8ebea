//! BBANDS, Bollinger bands: the simple moving average and a band above and below it, at so many
//! population standard deviations over the same values.
//!
//! Source: TA-Lib's BBANDS over SMA. First value after `period - 1` rows. `bbands(x, 2, 1, 1)`
//! over 1, 3 is upper 3, middle 2, lower 1.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, MovingSpread, MovingSum, Parameter};
use crate::indicator::{erase, real, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "bbands",
    talib: Some("BBANDS"),
    group: Group::Overlap,
    description: "Bollinger bands",
    inputs: &["close"],
    parameters: &[
        Parameter::period("period", 20.0, 2.0),
        Parameter::factor("deviations_up", 2.0),
        Parameter::factor("deviations_down", 2.0),
    ],
    outputs: &["upper", "middle", "lower"],
    bare: true,
    lookback: |p| rows(p, 0) - 1,
    kernel: |p| {
        erase(
            Bbands::new(rows(p, 0), real(p, 1), real(p, 2)),
            ENTRY.outputs,
        )
    },
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bbands {
    sum: MovingSum,
    spread: MovingSpread,
    period: f64,
    up: f64,
    down: f64,
}

impl Bbands {
    /// Over `period` values, at least two; bands at `up` and `down` deviations.
    #[must_use]
    pub fn new(period: usize, up: f64, down: f64) -> Self {
        let (sum, spread) = (MovingSum::new(period), MovingSpread::new(period));
        Self {
            sum,
            spread,
            period: period as f64,
            up,
            down,
        }
    }
}

impl Indicator<1, 3> for Bbands {
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 3]> {
        let (sum, variance) = (self.sum.push(value), self.spread.push(value));
        let (middle, deviation) = (sum? / self.period, variance?.sqrt());
        Some([
            middle + self.up * deviation,
            middle,
            middle - self.down * deviation,
        ])
    }
}
