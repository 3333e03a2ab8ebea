//! Indicators of how far the price swings.

pub mod atr;

use super::Entry;

pub(super) const ALL: &[&Entry] = &[&atr::ENTRY];
