//! Statistics of one series.

pub mod stddev;

use super::Entry;

pub(super) const ALL: &[&Entry] = &[&stddev::ENTRY];
