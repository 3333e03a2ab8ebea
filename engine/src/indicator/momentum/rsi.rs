//! RSI, the relative strength index: `100 G / (G + L)`, where G and L are Wilder's averages of
//! gains and losses from row to row.
//!
//! Source: TA-Lib's RSI, seeded with the means of the first `period` changes. First value after
//! `period` rows. Where nothing moved it is 50, as in TA-Lib 0.8. A change that a DOUBLE cannot
//! hold, or the sum of the first ones with it, counts as none and has no value.
//! `rsi(x, 2)` over 1, 2, 1 is 50.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "rsi",
    talib: Some("RSI"),
    group: Group::Momentum,
    description: "Relative strength index, 0 to 100",
    inputs: &["close"],
    parameters: &[Parameter::period("period", 14.0, 2.0)],
    outputs: &["rsi"],
    bare: true,
    lookback: |p| rows(p, 0),
    kernel: |p| erase(Rsi::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rsi {
    previous: f64,
    /// Sums while warming up, then averages.
    gain: f64,
    loss: f64,
    inverse: f64,
    period: u32,
    seen: u32,
}

impl Rsi {
    /// Over `period` changes, at least one.
    #[must_use]
    pub fn new(period: usize) -> Self {
        let inverse = 1.0 / period as f64;
        Self {
            previous: 0.0,
            gain: 0.0,
            loss: 0.0,
            inverse,
            period: period as u32,
            seen: 0,
        }
    }

    fn value(&self) -> [f64; 1] {
        let total = self.gain + self.loss;
        [if total == f64::INFINITY {
            100.0 / (1.0 + self.loss / self.gain)
        } else if total > 0.0 {
            100.0 * (self.gain / total)
        } else {
            50.0
        }]
    }
}

impl Indicator<1, 1> for Rsi {
    #[inline]
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 1]> {
        let change = value - self.previous;
        self.previous = value;
        let gain = if change > 0.0 { change } else { 0.0 };
        let loss = gain - change;
        if !change.is_finite() {
            return None;
        }
        if self.seen > self.period {
            self.gain += (gain - self.gain) * self.inverse;
            self.loss += (loss - self.loss) * self.inverse;
            return Some(self.value());
        }
        self.seen += 1;
        if self.seen == 1 {
            return None;
        }
        let sums = (self.gain + gain, self.loss + loss);
        if !(sums.0.is_finite() && sums.1.is_finite()) {
            self.seen -= 1;
            return None;
        }
        (self.gain, self.loss) = sums;
        if self.seen <= self.period {
            return None;
        }
        self.gain *= self.inverse;
        self.loss *= self.inverse;
        Some(self.value())
    }
}
