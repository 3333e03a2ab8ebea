//! Folds over the last `n` values that never subtract, so that nothing drifts and a bad tick is
//! forgotten with the very row that leaves the window.
//!
//! The values lie in blocks of `n` slots. While a block fills, its values are folded into
//! `newer`; when it is full, each slot becomes the fold of itself and all younger slots of its
//! block. A window then is one slot of the finished block joined with `newer`: three operations
//! a row, whatever the window's length. The work at the end of a block (`n` operations) depends
//! on the number of values alone, never on time or on how rows were cut into batches.

use serde::{Deserialize, Serialize};

/// The moving part of one window; the slots are kept by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block<C> {
    newer: C,
    pub(crate) position: u32,
    pub(crate) full: bool,
}

impl<C: Copy> Block<C> {
    pub(crate) const fn new(empty: C) -> Self {
        Self {
            newer: empty,
            position: 0,
            full: false,
        }
    }

    /// The state after `position` values of a new block, whose fold is `newer`.
    pub(crate) const fn at(newer: C, position: u32, full: bool) -> Self {
        Self {
            newer,
            position,
            full,
        }
    }

    /// The fold of the values of the block that is filling.
    pub(crate) fn newer(&self) -> C {
        self.newer
    }

    /// Adds a value and gives the fold of the last `slots.len()`, or of all while there are
    /// fewer. `join` takes the older fold first.
    #[inline]
    pub(crate) fn push(&mut self, slots: &mut [C], value: C, join: impl Fn(C, C) -> C) -> C {
        let position = self.position as usize;
        let Some(slot) = slots.get_mut(position) else {
            return value;
        };
        *slot = value;
        self.newer = if position == 0 {
            value
        } else {
            join(self.newer, value)
        };
        let Some(older) = slots.get(position + 1) else {
            (self.position, self.full) = (0, true);
            return fold_back(slots, value, join);
        };
        self.position += 1;
        if self.full {
            join(*older, self.newer)
        } else {
            self.newer
        }
    }
}

fn fold_back<C: Copy>(slots: &mut [C], newest: C, join: impl Fn(C, C) -> C) -> C {
    let mut folded = newest;
    for slot in slots.iter_mut().rev().skip(1) {
        folded = join(*slot, folded);
        *slot = folded;
    }
    folded
}

/// The sum of squared deviations from the mean over the last `n` values.
///
/// Each block measures its values from one of its own (the filling block from its first, the
/// finished one from its last), which is in the window as long as any of them counts: so neither
/// a level far from zero nor a bad tick costs digits. The two blocks are joined by Chan's formula.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    older_base: f64,
    newer_base: f64,
    sum: f64,
    squares: f64,
    newer: u32,
    pub(crate) position: u32,
    pub(crate) full: bool,
}

impl Spread {
    /// No value yet.
    pub(crate) const FRESH: Self = Self {
        older_base: 0.0,
        newer_base: 0.0,
        sum: 0.0,
        squares: 0.0,
        newer: 0,
        position: 0,
        full: false,
    };

    /// Adds a value, or a row without one, and gives the sum of squared deviations over the last
    /// `slots.len()` rows. `older` is how many values the window has in the finished block after
    /// this row; `inverse` is one over its argument.
    #[inline]
    pub(crate) fn push(
        &mut self,
        slots: &mut [[f64; 2]],
        value: Option<f64>,
        older: u32,
        inverse: impl Fn(u32) -> f64,
    ) -> f64 {
        let position = self.position as usize;
        let Some(slot) = slots.get_mut(position) else {
            return 0.0;
        };
        *slot = value.map_or([0.0, 0.0], |value| [value, 1.0]);
        let Some(&[older_mean, older_squares]) = slots.get(position + 1) else {
            return self.turn(slots, inverse);
        };
        self.position += 1;
        if let Some(value) = value {
            if self.newer == 0 {
                self.newer_base = value;
            }
            let distance = value - self.newer_base;
            self.newer += 1;
            self.sum += distance;
            self.squares += distance * distance;
        }
        if self.newer == 0 {
            return if older == 0 { 0.0 } else { older_squares };
        }
        let mean = self.sum * inverse(self.newer);
        let squares = positive(self.squares - self.sum * mean);
        if older == 0 {
            return squares;
        }
        let apart = (mean - older_mean) + (self.newer_base - self.older_base);
        let weight = f64::from(older) * f64::from(self.newer) * inverse(older + self.newer);
        squares + older_squares + apart * apart * weight
    }

    /// Turns the full block into one of finished slots: the mean and the squares of each slot
    /// and all younger ones.
    fn turn(&mut self, slots: &mut [[f64; 2]], inverse: impl Fn(u32) -> f64) -> f64 {
        let base = slots
            .iter()
            .rev()
            .find(|slot| slot[1] != 0.0)
            .map_or(0.0, |slot| slot[0]);
        let (mut count, mut sum, mut squares, mut folded) = (0, 0.0, 0.0, [0.0, 0.0]);
        for slot in slots.iter_mut().rev() {
            let [value, present] = *slot;
            if present != 0.0 {
                let distance = value - base;
                count += 1;
                sum += distance;
                squares += distance * distance;
                let mean = sum * inverse(count);
                folded = [mean, positive(squares - sum * mean)];
            }
            *slot = folded;
        }
        *self = Self {
            older_base: base,
            full: true,
            ..Self::FRESH
        };
        folded[1]
    }
}

/// Rounding can leave a flat window a trifle below zero; NaN stays NaN.
fn positive(squares: f64) -> f64 {
    if squares < 0.0 { 0.0 } else { squares }
}

/// The sum of the last `n` values, with its own slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(Block<f64>, Vec<f64>)", into = "(Block<f64>, Vec<f64>)")]
pub struct MovingSum {
    block: Block<f64>,
    slots: Box<[f64]>,
}

impl MovingSum {
    /// The sum of the last `n` values; `n` is at least one.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self {
            block: Block::new(0.0),
            slots: vec![0.0; n.max(1)].into(),
        }
    }

    /// Adds a value and gives the sum once `n` values are there.
    #[inline]
    pub fn push(&mut self, value: f64) -> Option<f64> {
        let sum = self
            .block
            .push(&mut self.slots, value, |older, newer| older + newer);
        self.block.full.then_some(sum)
    }
}

impl TryFrom<(Block<f64>, Vec<f64>)> for MovingSum {
    type Error = &'static str;

    fn try_from((block, slots): (Block<f64>, Vec<f64>)) -> Result<Self, Self::Error> {
        if block.position as usize >= slots.len() {
            return Err("position beyond the window");
        }
        Ok(Self {
            block,
            slots: slots.into(),
        })
    }
}

impl From<MovingSum> for (Block<f64>, Vec<f64>) {
    fn from(sum: MovingSum) -> Self {
        (sum.block, sum.slots.into())
    }
}

/// The sum of squared deviations from the mean over the last `n` values, with its own slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(Spread, Vec<[f64; 2]>)", into = "(Spread, Vec<[f64; 2]>)")]
pub struct MovingSpread {
    spread: Spread,
    slots: Box<[[f64; 2]]>,
}

impl MovingSpread {
    /// Over the last `n` values; `n` is at least one.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self {
            spread: Spread::FRESH,
            slots: vec![[0.0; 2]; n.max(1)].into(),
        }
    }

    /// Adds a value and gives the population variance once `n` values are there.
    #[inline]
    pub fn push(&mut self, value: f64) -> Option<f64> {
        let last = self.slots.len() as u32 - 1;
        let older = if self.spread.full {
            last.saturating_sub(self.spread.position)
        } else {
            0
        };
        let inverse = |n: u32| 1.0 / f64::from(n);
        let squares = self
            .spread
            .push(&mut self.slots, Some(value), older, inverse);
        self.spread.full.then_some(squares / f64::from(last + 1))
    }
}

impl TryFrom<(Spread, Vec<[f64; 2]>)> for MovingSpread {
    type Error = &'static str;

    fn try_from((spread, slots): (Spread, Vec<[f64; 2]>)) -> Result<Self, Self::Error> {
        if spread.position as usize >= slots.len() {
            return Err("position beyond the window");
        }
        Ok(Self {
            spread,
            slots: slots.into(),
        })
    }
}

impl From<MovingSpread> for (Spread, Vec<[f64; 2]>) {
    fn from(moving: MovingSpread) -> Self {
        (moving.spread, moving.slots.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(count: usize, bad: f64) -> Vec<f64> {
        let walk = |i: usize| 100.0 + (i as f64 * 0.37).sin() + (i % 7) as f64 * 0.01;
        (0..count)
            .map(|i| if i % 97 == 13 { bad } else { walk(i) })
            .collect()
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-9 * right.abs()
    }

    #[test]
    fn forgets_a_bad_tick_with_the_row_that_leaves() {
        for bad in [1e9, 1e15, -1e300] {
            for n in [1, 2, 5, 20, 60] {
                let (mut sum, mut spread) = (MovingSum::new(n), MovingSpread::new(n));
                let values = prices(1_000, bad);
                for (i, value) in values.iter().enumerate() {
                    let (total, variance) = (sum.push(*value), spread.push(*value));
                    assert_eq!(total.is_some(), i + 1 >= n);
                    let Some((total, variance)) = total.zip(variance) else {
                        continue;
                    };
                    let window = &values[i + 1 - n..=i];
                    if window.contains(&bad) {
                        continue;
                    }
                    let exact: f64 = window.iter().sum();
                    let mean = exact / n as f64;
                    let squares = window.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
                    assert!(close(total, exact), "sum {total} {exact}");
                    assert!(
                        close(variance, squares / n as f64),
                        "{n} {i} {variance} {squares}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_level_shift_leaves_no_trace() {
        let mut spread = MovingSpread::new(60);
        let mut last = None;
        for i in 0..500 {
            let level = if i < 200 { 1e9 } else { 0.1 };
            last = spread.push(level + f64::from(i % 2) * 1e-3);
        }
        assert!(close(last.unwrap_or_default(), 0.25e-6), "{last:?}");
    }
}
