//! Indicators of what the traded size says.

pub mod obv;
pub mod rvol;
pub mod volume_zscore;
pub mod vwap;

use super::Entry;

pub(super) const ALL: &[&Entry] = &[
    &obv::ENTRY,
    &rvol::ENTRY,
    &volume_zscore::ENTRY,
    &vwap::ENTRY,
];
