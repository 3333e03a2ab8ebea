//! How far the input of a job is committed: what the far end of a source may forget.

use crate::intake::journal::Entry;
use crate::log::record::Record;
use crate::sink::Epoch;
use crate::source::Position;

/// What of a job is committed and survives a kill: it is read from the journals of the committed
/// epochs. Whoever pushed a row may be told that it is safe once the position has passed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The last committed epoch; 0 stands for none.
    pub epoch: Epoch,
    /// By table: per split the offset that follows the last committed record.
    pub positions: Vec<Position>,
}

impl Committed {
    /// Goes on to the epoch after.
    pub(super) fn add(&mut self, record: &Record) {
        self.epoch = record.epoch;
        for entry in &record.journal {
            let (Entry::Records {
                table,
                split,
                next_offset,
                ..
            }
            | Entry::Reached {
                table,
                split,
                next_offset,
                ..
            }) = entry
            else {
                continue;
            };
            if let Some(position) = self.positions.get_mut(*table) {
                position.insert(split.clone(), *next_offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Split;

    #[test]
    fn every_record_moves_the_positions_of_its_tables() {
        let records = |table, split, next_offset| Entry::Records {
            table,
            split: Split::new(split),
            rows: 1,
            rejected: 0,
            next_offset,
            first: 0,
        };
        let mut committed = Committed {
            epoch: Epoch(3),
            positions: vec![[(Split::new("0"), 7)].into(), Position::new()],
        };
        committed.add(&Record {
            epoch: Epoch(4),
            journal: vec![
                records(0, "0", 9),
                Entry::Tick { at: 1 },
                records(0, "1", 4),
                records(0, "0", 12),
                // A table that is not there is no reason to break down.
                records(5, "0", 1),
            ],
            ..Record::default()
        });
        let first = [(Split::new("0"), 12), (Split::new("1"), 4)].into();
        let expected = Committed {
            epoch: Epoch(4),
            positions: vec![first, Position::new()],
        };
        assert_eq!(committed, expected);
    }
}
