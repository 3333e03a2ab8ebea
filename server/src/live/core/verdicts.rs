//! Which keys a condition lets through, remembered: for most readers choose by the key, and there
//! are many of them with conditions of their own.

use engine::Result;

use crate::live::latest::Slots;
use crate::live::ring::Piece;
use crate::live::view::{Rows, View};

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Shown,
    LeftOut,
}

/// The verdicts on all keys, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    numbering: u64,
    of: Vec<Verdict>,
}

impl Verdicts {
    /// Of these rows those whose keys are shown; `None` where the condition says nothing of the key
    /// alone. The rows of a key that is met for the first time are asked, with all others.
    pub(super) fn of(&mut self, view: &View, piece: &Piece, slots: &Slots) -> Result<Option<Rows>> {
        let Some(filter) = view.of_key() else {
            return Ok(None);
        };
        if self.numbering < slots.numbering {
            self.numbering = slots.numbering;
            self.of.clear();
        }
        let known = self.numbering == slots.numbering;
        if known && let Some(rows) = self.known(slots) {
            return Ok(Some(rows));
        }
        let mask = filter.mask(&piece.rows)?;
        if known {
            for (slot, shown) in slots.of.iter().zip(mask.values()) {
                let slot = *slot as usize;
                if slot >= self.of.len() {
                    self.of.resize(slot + 1, Verdict::Unknown);
                }
                self.of[slot] = if shown {
                    Verdict::Shown
                } else {
                    Verdict::LeftOut
                };
            }
        }
        let shown = mask.values().set_indices();
        Ok(Some(shown.map(|row| row as u32).collect()))
    }

    /// The same by what is known already, if that is enough.
    fn known(&self, slots: &Slots) -> Option<Rows> {
        let mut rows = vec![];
        for (row, slot) in (0..).zip(&slots.of) {
            match self.of.get(*slot as usize)? {
                Verdict::Unknown => return None,
                Verdict::Shown => rows.push(row),
                Verdict::LeftOut => {}
            }
        }
        Some(rows)
    }
}
