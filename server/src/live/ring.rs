//! The newest rows of a stream, as batches, with the place of each.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use engine::Result;

use super::cursor::Place;

/// How much a ring keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows at most.
    pub rows: usize,
    /// Bytes of their columns at most.
    pub bytes: usize,
}

/// Batches of less rows are made one once so many of them follow each other: a row in a batch of
/// its own takes a kilobyte more than in company.
const SMALL_ROWS: usize = 128;
const SMALL_BATCHES: usize = 64;

/// Rows of one epoch that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) rows: RecordBatch,
    /// The place of the first.
    pub(super) first: Place,
}

impl Piece {
    /// The place of the last row; there is at least one.
    pub(super) fn last(&self) -> Place {
        self.place(self.rows.num_rows().saturating_sub(1))
    }

    pub(super) fn place(&self, row: usize) -> Place {
        Place::new(self.first.epoch, self.first.seq + row as u64)
    }
}

/// Rows of one epoch in a segment.
#[derive(Debug)]
struct Span {
    first: Place,
    rows: usize,
}

#[derive(Debug)]
struct Segment {
    rows: RecordBatch,
    spans: Vec<Span>,
    bytes: usize,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    segments: VecDeque<Segment>,
    rows: usize,
    bytes: usize,
    /// Every row after this place is here.
    before: Place,
    /// The number of small segments at the end.
    small: usize,
}

impl Ring {
    /// A ring for the rows after a place.
    pub(super) fn new(bounds: Bounds, before: Place) -> Self {
        Self {
            bounds,
            segments: VecDeque::new(),
            rows: 0,
            bytes: 0,
            before,
            small: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn before(&self) -> Place {
        self.before
    }

    /// Adds rows that follow those that are there; the oldest give way.
    pub(super) fn push(&mut self, piece: Piece) -> Result<()> {
        let Piece { rows, first } = piece;
        let count = rows.num_rows();
        let spans = vec![Span { first, rows: count }];
        self.add(Segment {
            bytes: size(&rows),
            rows,
            spans,
        });
        self.small = if count < SMALL_ROWS {
            self.small + 1
        } else {
            0
        };
        if self.small >= SMALL_BATCHES {
            self.merge()?;
        }
        while self.rows > self.bounds.rows || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.segments.pop_front() else {
                break;
            };
            self.rows -= oldest.rows.num_rows();
            self.bytes -= oldest.bytes;
            self.small = self.small.min(self.segments.len());
            if let Some(span) = oldest.spans.last() {
                self.before = Place::new(span.first.epoch, span.first.seq + span.rows as u64 - 1);
            }
        }
        Ok(())
    }

    fn add(&mut self, segment: Segment) {
        self.rows += segment.rows.num_rows();
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
    }

    /// Makes the small segments at the end one.
    fn merge(&mut self) -> Result<()> {
        let from = self.segments.len().saturating_sub(self.small);
        let parts: Vec<Segment> = self.segments.drain(from..).collect();
        self.small = 0;
        let Some(first) = parts.first() else {
            return Ok(());
        };
        let rows = concat_batches(&first.rows.schema(), parts.iter().map(|part| &part.rows))?;
        self.rows -= rows.num_rows();
        self.bytes -= parts.iter().map(|part| part.bytes).sum::<usize>();
        let mut spans: Vec<Span> = vec![];
        for span in parts.into_iter().flat_map(|part| part.spans) {
            match spans.last_mut() {
                Some(last)
                    if last.first.epoch == span.first.epoch
                        && last.first.seq + last.rows as u64 == span.first.seq =>
                {
                    last.rows += span.rows;
                }
                _ => spans.push(span),
            }
        }
        self.add(Segment {
            bytes: size(&rows),
            rows,
            spans,
        });
        Ok(())
    }

    /// The rows after one place up to and including another, in order; `None` where some of them
    /// are gone.
    pub(super) fn between(&self, after: Place, until: Place) -> Option<Vec<Piece>> {
        if after < self.before {
            return None;
        }
        let mut pieces = vec![];
        for segment in &self.segments {
            let mut offset = 0;
            for Span { first, rows } in &segment.spans {
                let (from, to) = (skipped(*first, *rows, after), skipped(*first, *rows, until));
                if from < to {
                    pieces.push(Piece {
                        rows: segment.rows.slice(offset + from, to - from),
                        first: Place::new(first.epoch, first.seq + from as u64),
                    });
                }
                offset += rows;
            }
        }
        Some(pieces)
    }

    /// The newest rows, so many at most, oldest first.
    pub(super) fn newest(&self, most: usize) -> Vec<Piece> {
        let mut left = most;
        let mut pieces = vec![];
        for segment in self.segments.iter().rev() {
            let mut end = segment.rows.num_rows();
            for Span { first, rows } in segment.spans.iter().rev() {
                let taken = left.min(*rows);
                if taken == 0 {
                    break;
                }
                pieces.push(Piece {
                    rows: segment.rows.slice(end - taken, taken),
                    first: Place::new(first.epoch, first.seq + (rows - taken) as u64),
                });
                (left, end) = (left - taken, end - rows);
            }
        }
        pieces.reverse();
        pieces
    }

    /// The place of the last row that belongs to this epoch or one before; `None` where it may be
    /// one that is gone.
    pub(super) fn end_of(&self, epoch: engine::Epoch) -> Option<Place> {
        let mut end = (self.before.epoch <= epoch).then_some(self.before)?;
        for span in self.segments.iter().flat_map(|segment| &segment.spans) {
            if span.first.epoch <= epoch {
                end = Place::new(span.first.epoch, span.first.seq + span.rows as u64 - 1);
            }
        }
        Some(end)
    }
}

/// How many of the rows from `first` on are at or before `place`.
fn skipped(first: Place, rows: usize, place: Place) -> usize {
    if place.epoch > first.epoch {
        rows
    } else if place.epoch < first.epoch || place.seq < first.seq {
        0
    } else {
        usize::try_from(place.seq - first.seq + 1).map_or(rows, |count| count.min(rows))
    }
}

/// Bytes of the columns, without what a slice shares with others.
fn size(rows: &RecordBatch) -> usize {
    let columns = rows.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or_default())
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use engine::Epoch;
    use proptest::prelude::*;

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        let column = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_new(Arc::new(schema), vec![column]).expect("rows")
    }

    fn values(pieces: &[Piece]) -> Vec<(Place, i64)> {
        let all = pieces.iter().flat_map(|piece| {
            let values = piece.rows.column(0).as_primitive::<Int64Type>().values();
            values
                .iter()
                .enumerate()
                .map(|(row, value)| (piece.place(row), *value))
        });
        all.collect()
    }

    proptest! {
        #[test]
        fn the_newest_rows_are_there_with_their_places(
            batches in prop::collection::vec((1..150_usize, any::<bool>()), 0..200),
            from in 0..20_000_usize,
            most in 0..500_usize,
        ) {
            let bounds = Bounds { rows: 700, bytes: 5_000 };
            let mut ring = Ring::new(bounds, Place::START);
            let mut all: Vec<(Place, i64)> = vec![];
            let (mut epoch, mut seq) = (1, 0);
            for (count, next) in batches {
                if next {
                    (epoch, seq) = (epoch + 1, 0);
                }
                let start = all.len() as i64;
                let first = Place::new(Epoch(epoch), seq + 1);
                let numbers: Vec<i64> = (start..start + count as i64).collect();
                ring.push(Piece { rows: rows(&numbers), first }).expect("pushed");
                for number in numbers {
                    seq += 1;
                    all.push((Place::new(Epoch(epoch), seq), number));
                }
            }
            prop_assert!(ring.rows <= bounds.rows && ring.bytes <= bounds.bytes);
            let kept: Vec<_> = all.iter().filter(|(place, _)| *place > ring.before()).copied().collect();
            prop_assert_eq!(kept.len(), ring.rows);
            let newest = values(&ring.newest(most));
            prop_assert_eq!(&newest, &kept[kept.len() - most.min(kept.len())..]);
            let at = all.get(from % (all.len() + 1)).map_or(Place::START, |(place, _)| *place);
            let until = all.last().map_or(Place::START, |(place, _)| *place);
            let after: Vec<_> = all.iter().filter(|(place, _)| *place > at).copied().collect();
            match ring.between(at, until) {
                Some(pieces) => prop_assert_eq!(values(&pieces), after),
                None => prop_assert!(at < ring.before()),
            }
            let end = all.iter().rfind(|(place, _)| place.epoch <= at.epoch);
            match ring.end_of(at.epoch) {
                Some(place) => prop_assert_eq!(place, end.map_or(Place::START, |(place, _)| *place)),
                None => prop_assert!(at.epoch < ring.before().epoch),
            }
        }
    }
}
