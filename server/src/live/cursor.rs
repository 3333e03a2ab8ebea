//! Where a reader is in a stream.

use std::fmt;
use std::str::FromStr;

use engine::Epoch;

/// The place of a row: the epoch it belongs to, and its number there, from 1. Rows of committed
/// epochs have the same place in every life of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The epoch; 0 before all rows.
    pub(super) epoch: Epoch,
    /// The row's number in it; 0 before the epoch's first.
    pub(super) seq: u64,
}

impl Place {
    /// Before every row.
    pub(super) const START: Self = Self {
        epoch: Epoch(0),
        seq: 0,
    };

    pub(super) fn new(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, seq }
    }
}

/// A place, and in which life of the job it was seen: what was not committed then may be another
/// row now. The text is `generation-epoch-seq`; rows up to and including the place are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The number of the start of the job.
    pub(super) generation: u64,
    /// The last row that is known.
    pub(super) place: Place,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { epoch, seq } = self.place;
        write!(f, "{}-{epoch}-{seq}", self.generation)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('-').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u64>().ok()).flatten()
        });
        let cursor = match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [
                Some(Some(generation)),
                Some(Some(epoch)),
                Some(Some(seq)),
                None,
            ] => Some(Self {
                generation,
                place: Place::new(Epoch(epoch), seq),
            }),
            _ => None,
        };
        cursor.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("'{shown}' is no cursor; send one as a frame gave it, such as '1-42-7'")
        })
    }
}

/// The lives of a job so far, as far as they are known: what a cursor of an earlier one is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lives {
    /// Starts of the job, ascending: the generation, and the epoch that was committed then.
    starts: Vec<(u64, Epoch)>,
    /// The last snapshot that was taken up: of which generation, after which epoch.
    snapshot: Option<(u64, Epoch)>,
}

/// The most starts that are remembered; cursors from before are worth less.
const MOST_STARTS: usize = 64;

impl Lives {
    /// What a snapshot of this generation told, which was taken after an epoch.
    pub(super) fn restored(starts: Vec<(u64, Epoch)>, epoch: Epoch) -> Self {
        let snapshot = starts.last().map(|(generation, _)| (*generation, epoch));
        Self { starts, snapshot }
    }

    pub(super) fn start(&mut self, generation: u64, committed: Epoch) {
        self.starts.push((generation, committed));
        let surplus = self.starts.len().saturating_sub(MOST_STARTS);
        self.starts.drain(..surplus);
    }

    pub(super) fn starts(&self) -> &[(u64, Epoch)] {
        &self.starts
    }

    /// Up to which epoch the rows that an earlier generation showed are the rows of now: at least
    /// what was committed when the next one started. Where that one left no trace (it was killed
    /// before its first snapshot), what is known of those before counts.
    pub(super) fn kept_of(&self, generation: u64) -> Epoch {
        let next = generation.saturating_add(1);
        let starts = self.starts.iter().filter(|(of, _)| *of <= next);
        let snapshot = self.snapshot.filter(|(of, _)| *of <= generation);
        let known = starts.copied().chain(snapshot).map(|(_, epoch)| epoch);
        known.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = Cursor {
            generation: 3,
            place: Place::new(Epoch(42), u64::MAX),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in [
            "",
            "1-2",
            "1-2-3-4",
            "1-2-x",
            "1--3",
            "+1-2-3",
            "1-2-99999999999999999999",
        ] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_an_earlier_life_showed_is_kept_as_far_as_it_was_committed() {
        let mut lives = Lives::default();
        lives.start(1, Epoch(0));
        assert_eq!(lives.kept_of(0), Epoch(0));
        // Killed; the snapshot of epoch 7 was taken by generation 1, then 10 epochs were committed.
        let mut lives = Lives::restored(lives.starts().to_vec(), Epoch(7));
        lives.start(2, Epoch(10));
        assert_eq!(lives.kept_of(1), Epoch(10));
        // Killed again before a snapshot, at 15: generation 2 is known of no more.
        let mut lives = Lives::restored(vec![(1, Epoch(0))], Epoch(7));
        lives.start(3, Epoch(15));
        assert_eq!(lives.kept_of(2), Epoch(15));
        assert_eq!(lives.kept_of(1), Epoch(7), "epoch 8 may be another one");
        assert_eq!(lives.kept_of(0), Epoch(0));
    }
}
