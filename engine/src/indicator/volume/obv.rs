//! OBV, on balance volume: the sum of volumes, positive where the close rose, negative where it
//! fell.
//!
//! Source: TA-Lib's OBV; the first row counts as a rise. A value from the first row on. A volume
//! that would carry the sum beyond what a DOUBLE can hold is passed over: no later one would count.
//! `obv(c, v)` over (10, 5), (11, 3), (9, 4) is 5, 8, 4.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, erase};

pub(super) static ENTRY: Entry = Entry {
    name: "obv",
    talib: Some("OBV"),
    group: Group::Volume,
    description: "On balance volume",
    inputs: &["close", "volume"],
    parameters: &[],
    outputs: &["obv"],
    bare: true,
    lookback: |_| 0,
    kernel: |_| erase(Obv::default(), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Obv {
    close: Option<f64>,
    balance: f64,
}

impl Indicator<2, 1> for Obv {
    fn update(&mut self, [close, volume]: [f64; 2]) -> Option<[f64; 1]> {
        let balance = match self.close.replace(close) {
            Some(previous) if close < previous => self.balance - volume,
            Some(previous) if close <= previous => self.balance,
            _ => self.balance + volume,
        };
        if balance.is_finite() {
            self.balance = balance;
        }
        Some([self.balance])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_beyond_all_bounds_leave_no_trace() {
        let mut obv = Obv::default();
        assert_eq!(obv.update([1.0, 1.7e308]), Some([1.7e308]));
        assert_eq!(obv.update([2.0, 1.7e308]), Some([1.7e308]));
        assert_eq!(obv.update([1.0, 1.7e308]), Some([0.0]));
        assert_eq!(obv.update([2.0, 5.0]), Some([5.0]));
    }
}
