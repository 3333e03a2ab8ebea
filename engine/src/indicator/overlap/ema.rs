//! EMA, the exponential moving average: `e += k (x - e)` with `k = 2 / (period + 1)`.
//!
//! Source: TA-Lib's EMA, seeded with the mean of the first `period` values, which is also the
//! first value, after `period - 1` rows. A value that would carry the sum under that mean beyond
//! what a DOUBLE can hold is passed over; later ones only move the average towards them.
//! `ema(x, 3)` over 11, 12, 13, 15 is 12, then 13.5.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "ema",
    talib: Some("EMA"),
    group: Group::Overlap,
    description: "Exponential moving average",
    inputs: &["close"],
    parameters: &[Parameter::period("period", 30.0, 1.0)],
    outputs: &["ema"],
    bare: true,
    lookback: |p| rows(p, 0) - 1,
    kernel: |p| erase(Ema::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ema {
    /// The sum of the values so far while warming up, then the average.
    value: f64,
    factor: f64,
    period: u32,
    missing: u32,
}

impl Ema {
    /// Over `period` values, at least one.
    #[must_use]
    pub fn new(period: usize) -> Self {
        Self::smoothed(period, 2.0 / (period as f64 + 1.0))
    }

    /// Wilder's average: the same with `k = 1 / period`.
    #[must_use]
    pub fn wilder(period: usize) -> Self {
        Self::smoothed(period, 1.0 / period as f64)
    }

    fn smoothed(period: usize, factor: f64) -> Self {
        let period = period as u32;
        Self {
            value: 0.0,
            factor,
            period,
            missing: period,
        }
    }

    /// Takes a value and gives the average once `period` values are there.
    #[inline]
    pub fn push(&mut self, value: f64) -> Option<f64> {
        if self.missing == 0 {
            let next = self.value + self.factor * (value - self.value);
            self.value = match next.is_finite() {
                true => next,
                // The difference of two values need not be one; what is between them is.
                false => self.value * (1.0 - self.factor) + value * self.factor,
            };
            return Some(self.value);
        }
        let sum = self.value + value;
        if !sum.is_finite() {
            return None;
        }
        self.value = sum;
        self.missing -= 1;
        if self.missing > 0 {
            return None;
        }
        self.value /= f64::from(self.period);
        Some(self.value)
    }
}

impl Indicator<1, 1> for Ema {
    #[inline]
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 1]> {
        self.push(value).map(|value| [value])
    }
}
