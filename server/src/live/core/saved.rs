//! What a hub knows, as part of the shard's snapshot.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use engine::{Epoch, Error, Result, Snapshot};

use super::Core;
use crate::live::cursor::{Lives, Place};
use crate::live::ring::{Piece, Ring};

/// The version of the three tables: the newest rows (of every key; or of all) with their places,
/// the starts of the job, the place of the last row.
const VERSION: u32 = 1;

impl Core {
    /// The state after the last row that was given, shown or not.
    pub(in crate::live) fn snapshot(&self) -> Result<Snapshot> {
        let (rows, places) = self.newest_rows()?;
        let mut fields = self.table.schema.fields().to_vec();
        let mut columns = rows.columns().to_vec();
        for (name, numbers) in [
            ("_epoch", places.iter().map(|place| place.epoch.0).collect()),
            (
                "_seq",
                places.iter().map(|place| place.seq).collect::<Vec<_>>(),
            ),
        ] {
            fields.push(Arc::new(Field::new(name, DataType::UInt64, false)));
            columns.push(Arc::new(UInt64Array::from(numbers)) as ArrayRef);
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let starts = self.lives.starts().iter();
        let starts = starts.map(|(generation, epoch)| (*generation, epoch.0));
        let end = [(self.given.epoch.0, self.given.seq)];
        Ok(Snapshot {
            version: VERSION,
            tables: vec![rows, pairs(starts)?, pairs(end.into_iter())?],
        })
    }

    /// The rows that are known after the last one given, with their places.
    fn newest_rows(&self) -> Result<(RecordBatch, Vec<Place>)> {
        let mut batches = vec![];
        let mut places: Vec<Vec<Place>> = vec![];
        let mut add = |piece: &Piece| {
            places.push(
                (0..piece.rows.num_rows())
                    .map(|row| piece.place(row))
                    .collect(),
            );
            batches.push(piece.rows.clone());
        };
        let Some(latest) = &self.latest else {
            let pieces = self.ring.newest(self.sizes.page_rows);
            pieces.iter().chain(&self.held).for_each(&mut add);
            let rows = concat_batches(&self.table.schema, &batches)?;
            let places = places.concat();
            let surplus = rows.num_rows().saturating_sub(self.sizes.page_rows);
            let left = rows.num_rows() - surplus;
            return Ok((rows.slice(surplus, left), places[surplus..].to_vec()));
        };
        if self.held.is_empty() {
            return Ok((latest.all()?, latest.places().collect()));
        }
        self.held.iter().for_each(&mut add);
        batches.insert(0, latest.all()?);
        places.insert(0, latest.places().collect());
        let newest = latest.keys().newest(&batches)?;
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let rows = interleave_record_batch(&batches, &newest)?;
        let places = newest.iter().map(|(batch, row)| places[*batch][*row]);
        Ok((rows, places.collect()))
    }

    /// Takes up what [`Core::snapshot`] gave after an epoch; called before anything else.
    pub(in crate::live) fn restore(&mut self, epoch: Epoch, snapshot: &Snapshot) -> Result<()> {
        snapshot.expect_version(VERSION)?;
        let damaged = || Error::corrupt("the snapshot of a live window is damaged");
        let [saved, starts, end] = snapshot.tables.as_slice() else {
            return Err(damaged());
        };
        let columns = self.table.schema.fields().len();
        let fits = |(own, saved): (&Arc<Field>, &Arc<Field>)| {
            own.name() == saved.name() && own.data_type() == saved.data_type()
        };
        let fields = saved.schema_ref().fields();
        let known = self.table.schema.fields().iter().zip(fields).all(fits);
        if saved.num_columns() != columns + 2 || !known {
            return Err(damaged());
        }
        let rows = saved.project(&(0..columns).collect::<Vec<_>>())?;
        let rows = RecordBatch::try_new(Arc::clone(&self.table.schema), rows.columns().to_vec())?;
        let places = read(&saved.project(&[columns, columns + 1])?).ok_or_else(damaged)?;
        let place = |(epoch, seq): (u64, u64)| Place::new(Epoch(epoch), seq);
        let places: Vec<Place> = places.into_iter().map(place).collect();
        let end = read(end).ok_or_else(damaged)?;
        let end = end.first().copied().map(place).ok_or_else(damaged)?;
        let starts = read(starts).ok_or_else(damaged)?.into_iter();
        let starts = starts.map(|(generation, epoch)| (generation, Epoch(epoch)));
        self.lives = Lives::restored(starts.collect(), epoch);
        (self.given, self.end) = (end, end);
        match &mut self.latest {
            Some(latest) => {
                self.ring = Ring::new(self.sizes.ring, end);
                latest.restore(rows, &places)
            }
            None => self.refill(&rows, &places, end),
        }
    }

    /// Puts rows of a table without a key back into the ring.
    fn refill(&mut self, rows: &RecordBatch, places: &[Place], end: Place) -> Result<()> {
        let before = |place: &Place| Place::new(place.epoch, place.seq.saturating_sub(1));
        self.ring = Ring::new(self.sizes.ring, places.first().map_or(end, before));
        let mut start = 0;
        for row in 1..=places.len() {
            let follows = |next: &Place| before(next) == places[row - 1];
            if places.get(row).is_some_and(follows) {
                continue;
            }
            self.ring.push(Piece {
                rows: rows.slice(start, row - start),
                first: places[start],
            })?;
            start = row;
        }
        Ok(())
    }
}

fn pairs(pairs: impl Iterator<Item = (u64, u64)>) -> Result<RecordBatch> {
    let (first, second): (Vec<u64>, Vec<u64>) = pairs.unzip();
    let columns: [(&str, ArrayRef); 2] = [
        ("first", Arc::new(UInt64Array::from(first))),
        ("second", Arc::new(UInt64Array::from(second))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn read(table: &RecordBatch) -> Option<Vec<(u64, u64)>> {
    let [first, second] = table.columns() else {
        return None;
    };
    let first = first.as_primitive_opt::<UInt64Type>()?;
    let second = second.as_primitive_opt::<UInt64Type>()?;
    Some(
        first
            .values()
            .iter()
            .copied()
            .zip(second.values().iter().copied())
            .collect(),
    )
}
