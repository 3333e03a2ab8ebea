//! How unusual a volume is: its distance from the mean of the `period` volumes before it, in
//! their population standard deviations.
//!
//! Formula: `(v - mean) / deviation`; the row itself is in neither, or a spike would hide itself.
//! First value after `period` rows; no value where the volumes before are all equal. Volumes are
//! closer to log-normal than normal: `volume_zscore(ln(1 + volume), 20)` is the stricter test.
//! TA-Lib has no such function. `volume_zscore(v, 2)` over 1, 3, 5 is 3.

use serde::{Deserialize, Serialize};

use crate::indicator::{Entry, Group, Indicator, MovingSpread, MovingSum, Parameter, erase, rows};

pub(super) static ENTRY: Entry = Entry {
    name: "volume_zscore",
    talib: None,
    group: Group::Volume,
    description: "Volume anomaly score: deviations from the mean of the volumes before",
    inputs: &["volume"],
    parameters: &[Parameter::period("period", 20.0, 2.0)],
    outputs: &["volume_zscore"],
    bare: true,
    lookback: |p| rows(p, 0),
    kernel: |p| erase(VolumeZscore::new(rows(p, 0)), ENTRY.outputs),
};

/// The state of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeZscore {
    sum: MovingSum,
    spread: MovingSpread,
    period: f64,
    /// Mean and deviation of the volumes before.
    before: Option<(f64, f64)>,
}

impl VolumeZscore {
    /// Over the `period` volumes before, at least two.
    #[must_use]
    pub fn new(period: usize) -> Self {
        let (sum, spread) = (MovingSum::new(period), MovingSpread::new(period));
        Self {
            sum,
            spread,
            period: period as f64,
            before: None,
        }
    }
}

impl Indicator<1, 1> for VolumeZscore {
    fn update(&mut self, [volume]: [f64; 1]) -> Option<[f64; 1]> {
        let mean = self.sum.push(volume).map(|sum| sum / self.period);
        let deviation = self.spread.push(volume).map(f64::sqrt);
        let (mean, deviation) = std::mem::replace(&mut self.before, mean.zip(deviation))?;
        let score = (volume - mean) / deviation;
        // Volumes beyond all bounds have a mean or a deviation that is none, until they leave.
        (deviation > 0.0 && deviation.is_finite() && score.is_finite()).then_some([score])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_beyond_all_bounds_are_forgotten_with_their_window() {
        let mut score = VolumeZscore::new(2);
        let volumes = [1.0, 3.0, 1.7e308, 1.7e308, 1.0, 3.0, 5.0];
        let scores = volumes.map(|volume| score.update([volume]));
        assert!(scores[2].is_some_and(|[score]| score.is_finite()));
        assert_eq!(scores[3..], [None, None, None, Some([3.0])]);
    }
}
