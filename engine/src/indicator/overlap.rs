//! Indicators drawn over the price: averages and bands.

pub mod bbands;
pub mod ema;
pub mod sma;

use super::Entry;

pub(super) const ALL: &[&Entry] = &[&sma::ENTRY, &ema::ENTRY, &bbands::ENTRY];
