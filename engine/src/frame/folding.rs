//! A [`Fold`] over a window of marks: two stacks, of which the older one holds folds, so that
//! nothing is ever subtracted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::peers::{Reach, Window};
use super::words::Words;

/// The window of one key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Folding<F: Fold> {
    /// Values that have not entered the window yet.
    ahead: VecDeque<(i64, F::Cell)>,
    newer: VecDeque<(i64, F::Cell)>,
    /// The fold of `newer`, or of everything where the window has no start.
    folded: F::Cell,
    /// Marks with the fold of their value and all younger ones of this stack; the oldest is last.
    older: Vec<(i64, F::Cell)>,
    /// Values in a window without a start.
    count: u64,
}

impl<F: Fold> Folding<F> {
    pub(super) const fn new() -> Self {
        Self {
            ahead: VecDeque::new(),
            newer: VecDeque::new(),
            folded: F::EMPTY,
            older: Vec::new(),
            count: 0,
        }
    }

    fn enter(&mut self, mark: i64, cell: F::Cell, reach: Reach) {
        self.folded = F::join(self.folded, cell);
        match reach.start {
            Some(_) => self.newer.push_back((mark, cell)),
            None => self.count += 1,
        }
    }

    fn evict(&mut self, current: i64, reach: Reach) {
        loop {
            while self
                .older
                .pop_if(|(mark, _)| reach.is_over(*mark, current))
                .is_some()
            {}
            let turn = self
                .newer
                .front()
                .is_some_and(|(mark, _)| reach.is_over(*mark, current));
            if !turn || !self.older.is_empty() {
                return;
            }
            let mut folded = F::EMPTY;
            for (mark, cell) in self.newer.drain(..).rev() {
                folded = F::join(cell, folded);
                self.older.push((mark, folded));
            }
            self.folded = F::EMPTY;
        }
    }
}

impl<F: Fold> Window for Folding<F> {
    type Values = Words;

    fn add(&mut self, mark: i64, word: Option<u64>, reach: Reach) {
        match word.map(F::lift) {
            Some(cell) if reach.end == 0 => self.enter(mark, cell, reach),
            Some(cell) => self.ahead.push_back((mark, cell)),
            None => {}
        }
    }

    fn value(&mut self, current: i64, reach: Reach) -> Option<u64> {
        while let Some((mark, cell)) = self
            .ahead
            .pop_front_if(|(mark, _)| reach.has_begun(*mark, current))
        {
            self.enter(mark, cell, reach);
        }
        self.evict(current, reach);
        let older = self.older.last().map_or(F::EMPTY, |(_, folded)| *folded);
        let inside = (self.older.len() + self.newer.len()) as u64;
        F::finish(F::join(older, self.folded), self.count + inside)
    }
}
