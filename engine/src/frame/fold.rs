//! What aggregates do with values: lift one, join two folds, finish.
//!
//! Words are 64 bits: a float by its bits, an integer or instant as it is.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An associative aggregate. Nothing is ever taken out of a fold.
pub(super) trait Fold: Copy + Send + Sync + 'static {
    type Cell: Copy + Send + Serialize + DeserializeOwned;
    /// The fold of nothing.
    const EMPTY: Self::Cell;
    fn lift(word: u64) -> Self::Cell;
    fn join(older: Self::Cell, newer: Self::Cell) -> Self::Cell;
    /// The value of a fold over `count` values; `None` is NULL.
    fn finish(cell: Self::Cell, count: u64) -> Option<u64>;
}

/// How many values there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count;

impl Fold for Count {
    type Cell = ();
    const EMPTY: () = ();

    fn lift(_: u64) {}

    fn join((): (), (): ()) {}

    fn finish((): (), count: u64) -> Option<u64> {
        Some(count)
    }
}

/// The sum of floats, or their mean, over a window short enough for plain addition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum<const MEAN: bool>;

impl<const MEAN: bool> Fold for Sum<MEAN> {
    type Cell = f64;
    const EMPTY: f64 = 0.0;

    fn lift(word: u64) -> f64 {
        f64::from_bits(word)
    }

    fn join(older: f64, newer: f64) -> f64 {
        older + newer
    }

    fn finish(sum: f64, count: u64) -> Option<u64> {
        let value = if MEAN { sum / count as f64 } else { sum };
        (count > 0).then(|| value.to_bits())
    }
}

/// The same over any number of values: a sum and what rounding cut off it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LongSum<const MEAN: bool>;

impl<const MEAN: bool> Fold for LongSum<MEAN> {
    type Cell = [f64; 2];
    const EMPTY: [f64; 2] = [0.0, 0.0];

    fn lift(word: u64) -> [f64; 2] {
        [f64::from_bits(word), 0.0]
    }

    fn join([older, older_cut]: [f64; 2], [newer, newer_cut]: [f64; 2]) -> [f64; 2] {
        let sum = older + newer;
        let part = sum - older;
        let cut = (older - (sum - part)) + (newer - part);
        [sum, cut + (older_cut + newer_cut)]
    }

    fn finish([sum, cut]: [f64; 2], count: u64) -> Option<u64> {
        // Beyond the range of floats there is nothing left to correct.
        let sum = if sum.is_finite() { sum + cut } else { sum };
        Sum::<MEAN>::finish(sum, count)
    }
}

/// The sum of integers; beyond their range it wraps around.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntegerSum;

impl Fold for IntegerSum {
    type Cell = u64;
    const EMPTY: u64 = 0;

    fn lift(word: u64) -> u64 {
        word
    }

    fn join(older: u64, newer: u64) -> u64 {
        older.wrapping_add(newer)
    }

    fn finish(sum: u64, count: u64) -> Option<u64> {
        (count > 0).then_some(sum)
    }
}

/// The least or greatest value. Floats are compared in their total order (NaN above all) by
/// integers that sort alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extremum<const GREATEST: bool, const REAL: bool>;

fn sortable(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl<const GREATEST: bool, const REAL: bool> Fold for Extremum<GREATEST, REAL> {
    type Cell = i64;
    const EMPTY: i64 = if GREATEST { i64::MIN } else { i64::MAX };

    fn lift(word: u64) -> i64 {
        if REAL {
            sortable(word as i64)
        } else {
            word as i64
        }
    }

    fn join(older: i64, newer: i64) -> i64 {
        if GREATEST {
            older.max(newer)
        } else {
            older.min(newer)
        }
    }

    fn finish(cell: i64, count: u64) -> Option<u64> {
        let word = if REAL { sortable(cell) } else { cell };
        (count > 0).then_some(word as u64)
    }
}

/// Variance, or its root, by count, mean and squared deviations (Chan's formula).
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments<const SAMPLE: bool, const ROOT: bool>;

/// The variance or deviation that follows from the sum of squared deviations.
#[inline]
pub(super) fn deviation<const SAMPLE: bool, const ROOT: bool>(
    squares: f64,
    count: u64,
) -> Option<u64> {
    let count = count
        .checked_sub(u64::from(SAMPLE))
        .filter(|count| *count > 0)?;
    let variance = squares / count as f64;
    Some(if ROOT { variance.sqrt() } else { variance }.to_bits())
}

impl<const SAMPLE: bool, const ROOT: bool> Fold for Moments<SAMPLE, ROOT> {
    type Cell = [f64; 3];
    const EMPTY: [f64; 3] = [0.0; 3];

    fn lift(word: u64) -> [f64; 3] {
        [1.0, f64::from_bits(word), 0.0]
    }

    fn join(older: [f64; 3], newer: [f64; 3]) -> [f64; 3] {
        if older[0] == 0.0 {
            return newer;
        }
        if newer[0] == 0.0 {
            return older;
        }
        let count = older[0] + newer[0];
        let apart = newer[1] - older[1];
        let mean = older[1] + apart * (newer[0] / count);
        let squares = older[2] + newer[2] + apart * apart * (older[0] * newer[0] / count);
        [count, mean, squares]
    }

    fn finish([_, _, squares]: [f64; 3], count: u64) -> Option<u64> {
        deviation::<SAMPLE, ROOT>(squares, count)
    }
}
