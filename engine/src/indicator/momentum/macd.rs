//! MACD: the fast EMA less the slow one, its own EMA as the signal, and their difference.
//!
//! Source: TA-Lib's MACD. Both averages start at the same row: the fast one is seeded with the
//! mean of the last `fast` of the first `slow` values. All outputs start together, after
//! `slow + signal - 2` rows. Where `slow` is less than `fast` they change places. A difference that
//! a DOUBLE cannot hold has no value, and the signal passes it over.
//! `macd(x, 2, 3, 1)` over 1, 2, 3 is macd 0.5, signal 0.5, hist 0.

use serde::{Deserialize, Serialize};

use crate::indicator::overlap::ema::Ema;
use crate::indicator::{Entry, Group, Indicator, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "macd",
    talib: Some("MACD"),
    group: Group::Momentum,
    description: "Moving average convergence/divergence; where fast is longer than slow, they change places",
    inputs: &["close"],
    parameters: &[
        Parameter::period("fast", 12.0, 2.0),
        Parameter::period("slow", 26.0, 2.0),
        Parameter::period("signal", 9.0, 1.0),
    ],
    outputs: &["macd", "signal", "hist"],
    bare: true,
    lookback: |p| rows(p, 0).max(rows(p, 1)) + rows(p, 2) - 2,
    kernel: |p| erase(Macd::new(rows(p, 0), rows(p, 1), rows(p, 2)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
    /// How many rows the fast average still leaves to the slow one.
    ahead: u32,
}

impl Macd {
    /// With these periods, each at least one.
    #[must_use]
    pub fn new(fast: usize, slow: usize, signal: usize) -> Self {
        let (fast, slow) = (fast.min(slow), fast.max(slow));
        let ahead = (slow - fast) as u32;
        Self {
            fast: Ema::new(fast),
            slow: Ema::new(slow),
            signal: Ema::new(signal),
            ahead,
        }
    }
}

impl Indicator<1, 3> for Macd {
    #[inline]
    fn update(&mut self, [value]: [f64; 1]) -> Option<[f64; 3]> {
        let slow = self.slow.push(value);
        if self.ahead > 0 {
            self.ahead -= 1;
            return None;
        }
        let macd = self.fast.push(value)? - slow?;
        if !macd.is_finite() {
            return None;
        }
        let signal = self.signal.push(macd)?;
        Some([macd, signal, macd - signal])
    }
}
