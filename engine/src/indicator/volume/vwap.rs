//! VWAP, the volume-weighted average price since the first row: the sum of `(h + l + c) / 3 v`
//! over the sum of v.
//!
//! Source: TA-Lib's VWAP: cumulative, never reset; as long as nothing was traded it is 0. For a
//! session's own, partition by the session. A value from the first row on. The sums are
//! compensated, so a long stream does not drift. A row that would carry them beyond what a DOUBLE
//! can hold is passed over: it would leave no value for good.
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
        let traded = self.traded.plus((high + low + close) / 3.0 * volume);
        let volume = self.volume.plus(volume);
        if let Some((traded, volume)) = traded.zip(volume) {
            (self.traded, self.volume) = (traded, volume);
            let volume = volume.value();
            let value = traded.value() / volume;
            if volume > 0.0 && value.is_finite() {
                self.value = value;
            }
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
    /// The sum with a value more, where it is finite.
    fn plus(self, value: f64) -> Option<Self> {
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
        let cut = self.cut + ((large - sum) + small);
        (sum + cut).is_finite().then_some(Self { sum, cut })
    }

    fn value(self) -> f64 {
        self.sum + self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_row_leaves_no_trace() {
        for absurd in [[1e300, 1e300, 1e300, 1e9], [1e308, 1e308, 1e308, 1.0]] {
            let mut vwap = Vwap::default();
            assert_eq!(vwap.update([2.0, 2.0, 2.0, 1.0]), Some([2.0]));
            assert_eq!(vwap.update(absurd), Some([2.0]));
            assert_eq!(vwap.update([5.0, 5.0, 5.0, 2.0]), Some([4.0]));
        }
        let mut volumes = Vwap::default();
        for _ in 0..2 {
            assert_eq!(volumes.update([0.0, 0.0, 0.0, 1.7e308]), Some([0.0]));
        }
        assert_eq!(volumes.update([0.0, 0.0, 0.0, 1.0]), Some([0.0]));
    }
}
