//! OBV, on balance volume: the sum of volumes, positive where the close rose, negative where it
//! fell.
//!
//! Source: TA-Lib's OBV; the first row counts as a rise. A value from the first row on.
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
        match self.close.replace(close) {
            Some(previous) if close < previous => self.balance -= volume,
            Some(previous) if close <= previous => {}
            _ => self.balance += volume,
        }
        Some([self.balance])
    }
}
