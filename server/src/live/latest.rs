//! The newest row of every key; where there are too many keys, of those that had rows last.

use std::collections::HashMap;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use engine::{Error, Result};

use super::cursor::Place;
use super::ring::Piece;

/// Batches and, beyond four of every key, rows that are held for the sake of a few in them, before
/// those few are copied out.
const MOST_BATCHES: usize = 1_024;
const MOST_ROWS: usize = 65_536;

/// Tells the keys of rows.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    /// Keys by these columns of the schema.
    pub(super) fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let fields = columns.iter().map(|column| schema.field(*column));
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            converter: RowConverter::new(fields.collect())?,
            columns,
        })
    }

    /// The key of each row, in a form that is equal where the keys are.
    pub(super) fn of(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns = rows.project(&self.columns)?;
        Ok(self.converter.convert_columns(columns.columns())?)
    }

    /// Of these rows, the newest of each key, in their order: batch and row.
    pub(super) fn newest(&self, batches: &[RecordBatch]) -> Result<Vec<(usize, usize)>> {
        let mut last: HashMap<Box<[u8]>, (usize, usize)> = HashMap::new();
        for (number, rows) in batches.iter().enumerate() {
            for (row, key) in self.of(rows)?.iter().enumerate() {
                match last.get_mut(key.as_ref()) {
                    Some(place) => *place = (number, row),
                    None => {
                        last.insert(key.as_ref().into(), (number, row));
                    }
                }
            }
        }
        let mut places: Vec<(usize, usize)> = last.into_values().collect();
        places.sort_unstable();
        Ok(places)
    }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    batch: usize,
    row: usize,
    place: Place,
}

/// The keys of the rows of a batch, as numbers.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// The key of each row: its number is smaller than that of a key that came later.
    pub(super) of: Vec<u32>,
    /// When the numbers were given: those of another time are other keys'.
    pub(super) numbering: u64,
}

/// The row before each row of a batch with the same key.
#[derive(Debug, Clone)]
pub(super) struct Before {
    pub(super) rows: RecordBatch,
    /// Whether there is one; where there is none, `rows` has the row itself.
    pub(super) known: BooleanArray,
}

/// The newest rows, in the order in which their keys came first.
#[derive(Debug)]
pub(super) struct Latest {
    schema: SchemaRef,
    keys: Keys,
    slots: HashMap<Box<[u8]>, u32>,
    /// Counts the times that all keys got new numbers.
    numbering: u64,
    held: Vec<Held>,
    batches: Vec<RecordBatch>,
    /// Rows of all `batches`.
    rows: usize,
    /// The most keys.
    most: usize,
}

impl Latest {
    /// With `most` keys at most: beyond that the half without a row for longest is forgotten.
    pub(super) fn new(schema: SchemaRef, keys: Keys, most: usize) -> Self {
        Self {
            schema,
            keys,
            slots: HashMap::new(),
            numbering: 0,
            held: vec![],
            batches: vec![],
            rows: 0,
            most,
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes newer rows; tells their keys and, if asked, which rows they take the place of.
    pub(super) fn update(
        &mut self,
        piece: &Piece,
        before: bool,
    ) -> Result<(Slots, Option<Before>)> {
        let rows = &piece.rows;
        let keys = self.keys.of(rows)?;
        let batch = self.batches.len();
        self.batches.push(rows.clone());
        self.rows += rows.num_rows();
        let (mut replaced, mut known) = (vec![], vec![]);
        let mut slots = Slots {
            of: Vec::with_capacity(rows.num_rows()),
            numbering: self.numbering,
        };
        for (row, key) in keys.iter().enumerate() {
            let place = piece.place(row);
            let new = Held { batch, row, place };
            let (slot, old) = match self.slots.get(key.as_ref()) {
                Some(slot) => {
                    let held = &mut self.held[*slot as usize];
                    (*slot, Some(std::mem::replace(held, new)))
                }
                None => {
                    let slot = self.held.len() as u32;
                    self.slots.insert(key.as_ref().into(), slot);
                    self.held.push(new);
                    (slot, None)
                }
            };
            slots.of.push(slot);
            if before {
                replaced.push(old.map_or((batch, row), |old| (old.batch, old.row)));
                known.push(old.is_some());
            }
        }
        let before = match before {
            true => Some(Before {
                rows: self.gather(&replaced)?,
                known: known.into(),
            }),
            false => None,
        };
        if self.held.len() > self.most {
            self.forget()?;
        }
        let (keys, batches) = (self.held.len(), self.batches.len());
        if batches > MOST_BATCHES || (batches > 1 && self.rows > MOST_ROWS + 4 * keys) {
            let all = self.all()?;
            self.put(all);
        }
        Ok((slots, before))
    }

    /// Keeps the keys that had a row last, half of them.
    fn forget(&mut self) -> Result<()> {
        let mut places: Vec<Place> = self.places().collect();
        let middle = places.len() / 2;
        let (_, oldest, _) = places.select_nth_unstable(middle);
        let oldest = *oldest;
        let mut kept = std::mem::take(&mut self.held);
        kept.retain(|held| held.place >= oldest);
        let rows: Vec<(usize, usize)> = kept.iter().map(|held| (held.batch, held.row)).collect();
        let rows = self.gather(&rows)?;
        let places: Vec<Place> = kept.iter().map(|held| held.place).collect();
        self.slots.clear();
        self.numbering += 1;
        self.restore(rows, &places)
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        match self.batches.is_empty() || places.is_empty() {
            true => Ok(RecordBatch::new_empty(SchemaRef::clone(&self.schema))),
            false => {
                let batches: Vec<&RecordBatch> = self.batches.iter().collect();
                Ok(interleave_record_batch(&batches, places)?)
            }
        }
    }

    /// All rows, one per key.
    pub(super) fn all(&self) -> Result<RecordBatch> {
        let places = self.held.iter().map(|held| (held.batch, held.row));
        self.gather(&places.collect::<Vec<_>>())
    }

    /// Their places.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.held.iter().map(|held| held.place)
    }

    /// Makes `all` the one batch.
    fn put(&mut self, all: RecordBatch) {
        self.rows = all.num_rows();
        for (row, held) in self.held.iter_mut().enumerate() {
            (held.batch, held.row) = (0, row);
        }
        self.batches = vec![all];
    }

    /// Takes up rows and places of [`Latest::all`] and [`Latest::places`].
    pub(super) fn restore(&mut self, all: RecordBatch, places: &[Place]) -> Result<()> {
        let keys = self.keys.of(&all)?;
        for (row, (key, place)) in keys.iter().zip(places).enumerate() {
            self.slots.insert(key.as_ref().into(), row as u32);
            let (batch, place) = (0, *place);
            self.held.push(Held { batch, row, place });
        }
        if self.held.len() != all.num_rows() || self.slots.len() != all.num_rows() {
            return Err(Error::corrupt(
                "the snapshot of a live window has a key twice",
            ));
        }
        self.put(all);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use engine::Epoch;

    use super::*;

    fn values(rows: &RecordBatch, column: usize) -> Vec<i64> {
        rows.column(column)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn the_keys_without_a_row_for_longest_are_forgotten() {
        let fields = ["key", "n"].map(|name| Field::new(name, DataType::Int64, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let keys = Keys::new(&schema, vec![0]).expect("keys");
        let mut latest = Latest::new(Arc::clone(&schema), keys, 4);
        let mut seq = 0;
        let mut update = |rows: &[(i64, i64)]| {
            let column = |n: Vec<i64>| Arc::new(Int64Array::from(n)) as arrow::array::ArrayRef;
            let (keys, numbers) = rows.iter().copied().unzip();
            let columns = vec![column(keys), column(numbers)];
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows");
            let first = Place::new(Epoch(1), seq + 1);
            seq += rows.len() as u64;
            let (_, before) = latest
                .update(&Piece { rows: batch, first }, true)
                .expect("updated");
            (latest.all().expect("all"), before.expect("asked for"))
        };
        update(&[(1, 10), (2, 20), (3, 30)]);
        let (all, before) = update(&[(1, 11), (1, 12), (4, 40)]);
        assert_eq!(
            (values(&all, 0), values(&all, 1)),
            (vec![1, 2, 3, 4], vec![12, 20, 30, 40])
        );
        assert_eq!(values(&before.rows, 1), [10, 11, 40]);
        assert_eq!(before.known, BooleanArray::from(vec![true, true, false]));
        let (all, _) = update(&[(5, 50)]);
        assert_eq!(
            (values(&all, 0), values(&all, 1)),
            (vec![1, 4, 5], vec![12, 40, 50])
        );
        let (all, before) = update(&[(2, 21), (5, 51)]);
        assert_eq!(values(&all, 0), [1, 4, 5, 2]);
        assert_eq!(before.known, BooleanArray::from(vec![false, true]));
    }
}
