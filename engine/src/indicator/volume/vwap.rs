//! VWAP, the volume-weighted average price since the first row: the sum of `(h + l + c) / 3 v`
//! over the sum of v.
//!
//! Source: TA-Lib's VWAP: cumulative, never reset; as long as nothing was traded it is 0. For a
//! session's own, partition by the session. A value from the first row on. The sums are
//! compensated, so a long stream does not drift.
//! `vwap(h, l, c, v)` over (2, 2, 2, 1), (5, 5, 5, 2) is 2, then 4.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, erase};

pub(super) static ENTRY: Entry = Entry {
    name: "vwap",
    talib: Some("VWAP"),
    group: Group::Volume,
    description: "Volume-weighted average price since the first row",
    inputs: &["high", "low", "close", "volume"],
    parameters: &[],
    outputs: &["vwap"],
    bare: true,
    lookback: |_| 0,
    kernel: |_| erase(Vwap::default(), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Vwap {
    traded: Compensated,
    volume: Compensated,
    value: f64,
}

impl Indicator<4, 1> for Vwap {
    fn update(&mut self, [high, low, close, volume]: [f64; 4]) -> Option<[f64; 1]> {
        self.traded.add((high + low + close) / 3.0 * volume);
        self.volume.add(volume);
        let volume = self.volume.value();
        if volume > 0.0 {
            self.value = self.traded.value() / volume;
        }
        Some([self.value])
    }
}

/// A sum that carries what rounding cuts off (Neumaier).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Compensated {
    sum: f64,
    cut: f64,
}

impl Compensated {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let large = if self.sum.abs() >= value.abs() {
            self.sum
        } else {
            value
        };
        let small = if self.sum.abs() >= value.abs() {
            value
        } else {
            self.sum
        };
        self.cut += (large - sum) + small;
        self.sum = sum;
    }

    fn value(self) -> f64 {
        self.sum + self.cut
    }
}
