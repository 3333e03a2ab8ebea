//! ATR, the average true range: Wilder's average of `max(h - l, |h - c'|, |l - c'|)`, where c'
//! is the close of the row before.
//!
//! Source: TA-Lib's ATR, seeded with the mean of the first `period` true ranges; the first row
//! has none. First value after `period` rows. A true range that a DOUBLE cannot hold is passed over.
//! `atr(h, l, c, 1)` over (2, 1, 2), (5, 3, 4) is 3.

use serde::{Deserialize, Serialize};

use crate::indicator::overlap::ema::Ema;
use crate::indicator::{Entry, Group, Indicator, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "atr",
    talib: Some("ATR"),
    group: Group::Volatility,
    description: "Average true range",
    inputs: &["high", "low", "close"],
    parameters: &[Parameter::period("period", 14.0, 1.0)],
    outputs: &["atr"],
    bare: true,
    lookback: |p| rows(p, 0),
    kernel: |p| erase(Atr::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Atr {
    average: Ema,
    close: Option<f64>,
}

impl Atr {
    /// Over `period` true ranges, at least one.
    #[must_use]
    pub fn new(period: usize) -> Self {
        Self {
            average: Ema::wilder(period),
            close: None,
        }
    }
}

impl Indicator<3, 1> for Atr {
    fn update(&mut self, [high, low, close]: [f64; 3]) -> Option<[f64; 1]> {
        let previous = self.close.replace(close)?;
        let range = (high - low)
            .max((high - previous).abs())
            .max((low - previous).abs());
        if !range.is_finite() {
            return None;
        }
        self.average.push(range).map(|average| [average])
    }
}
