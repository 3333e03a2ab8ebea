//! Functions that pick a row of the window: `first_value`, `last_value`, `nth_value`, and `lag`
//! where its arena does not fit. A NULL is a value here.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::peers::{Reach, Window};
use super::words::Values;

/// Which row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Place<C> {
    /// The n-th of the window, from one.
    Nth(u64),
    /// The last of the window.
    Last,
    /// The only row of the window; the default where there is none.
    Only(Option<C>),
}

/// The window of one key.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Placed<V: Values> {
    place: Place<V::Cell>,
    ahead: VecDeque<(i64, Option<V::Cell>)>,
    inside: VecDeque<(i64, Option<V::Cell>)>,
}

impl<V: Values> Clone for Placed<V> {
    fn clone(&self) -> Self {
        let (ahead, inside) = (self.ahead.clone(), self.inside.clone());
        Self {
            place: self.place.clone(),
            ahead,
            inside,
        }
    }
}

impl<V: Values> Placed<V> {
    pub(super) fn new(place: Place<V::Cell>) -> Self {
        Self {
            place,
            ahead: VecDeque::new(),
            inside: VecDeque::new(),
        }
    }

    fn enter(&mut self, mark: i64, cell: Option<V::Cell>, reach: Reach) {
        match self.place {
            Place::Last | Place::Only(_) => self.inside.clear(),
            // Without a start nothing is evicted, and what lies behind the n-th is never asked.
            Place::Nth(n) if reach.start.is_none() && self.inside.len() as u64 >= n => return,
            Place::Nth(_) => {}
        }
        self.inside.push_back((mark, cell));
    }
}

impl<V: Values> Window for Placed<V> {
    type Values = V;

    fn add(&mut self, mark: i64, cell: Option<V::Cell>, reach: Reach) {
        match reach.end {
            0 => self.enter(mark, cell, reach),
            _ => self.ahead.push_back((mark, cell)),
        }
    }

    fn value(&mut self, current: i64, reach: Reach) -> Option<V::Cell> {
        while let Some((mark, cell)) = self
            .ahead
            .pop_front_if(|(mark, _)| reach.has_begun(*mark, current))
        {
            self.enter(mark, cell, reach);
        }
        while self
            .inside
            .pop_front_if(|(mark, _)| reach.is_over(*mark, current))
            .is_some()
        {}
        let cell = |place: usize| self.inside.get(place).and_then(|(_, cell)| cell.clone());
        match &self.place {
            Place::Nth(n) => cell(usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX)),
            Place::Only(default) if self.inside.is_empty() => default.clone(),
            Place::Last | Place::Only(_) => cell(0),
        }
    }
}
