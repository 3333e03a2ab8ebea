//! Indicators of how fast the price moves.

pub mod macd;
pub mod rsi;

use super::Entry;

pub(super) const ALL: &[&Entry] = &[&rsi::ENTRY, &macd::ENTRY];
