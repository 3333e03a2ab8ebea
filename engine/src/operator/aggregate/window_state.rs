//! The state of `aggregate`: the keys it has met, and the groups of one open window.

use std::collections::HashMap as StdHashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType, UInt32Type};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::error::{Error, Result};
use crate::expression::{Accumulator, Aggregate};

/// The key columns of every key met, by key number.
#[derive(Debug)]
pub(super) struct KeyValues {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Where the values of a key are: batch and row.
    places: HashMap<u32, (u32, u32), FixedState>,
    /// The keys in the order of `batches`.
    numbers: Vec<u32>,
    /// In how many open windows each key is, where keys are forgotten.
    windows: Option<HashMap<u32, u32, FixedState>>,
}

/// From here on, batches of a few keys each are made one.
const MOST_BATCHES: usize = 64;

impl KeyValues {
    pub(super) fn new(schema: SchemaRef, forgetting: bool) -> Self {
        let places = HashMap::with_hasher(FixedState::with_seed(0));
        let windows = forgetting.then(|| HashMap::with_hasher(FixedState::with_seed(0)));
        Self {
            schema,
            batches: vec![],
            places,
            numbers: vec![],
            windows,
        }
    }

    /// Notes keys that are new in a window.
    fn enter(&mut self, keys: &[u32]) {
        if let Some(windows) = &mut self.windows {
            for key in keys {
                *windows.entry(*key).or_default() += 1;
            }
        }
    }

    /// Forgets the keys of a window that has closed, where they are in no other.
    pub(super) fn leave(&mut self, keys: &[u32]) -> Result<()> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        for key in keys {
            if let Entry::Occupied(mut count) = windows.entry(*key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                    self.places.remove(key);
                }
            }
        }
        if self.numbers.len() > 2 * self.places.len() {
            self.compact()?;
        }
        Ok(())
    }

    /// Makes one batch of the keys that are not forgotten, in the order in which they came.
    fn compact(&mut self) -> Result<()> {
        let rows = self.batches.iter().enumerate();
        let rows = rows.flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)));
        let (mut numbers, mut kept) = (vec![], vec![]);
        for (key, (batch, row)) in self.numbers.iter().zip(rows) {
            if self.places.get(key) == Some(&(batch as u32, row as u32)) {
                numbers.push(*key);
                kept.push((batch, row));
            }
        }
        if numbers.is_empty() {
            self.batches.clear();
            self.numbers = numbers;
            return Ok(());
        }
        let batches: Vec<_> = self.batches.iter().collect();
        let values = interleave(&batches, &kept, &self.schema)?;
        self.numbers = numbers;
        self.put(values);
        Ok(())
    }

    /// Keeps the key columns of keys not met before.
    pub(super) fn learn(
        &mut self,
        keys: &[u32],
        rows: &RecordBatch,
        columns: &[usize],
    ) -> Result<()> {
        let mut new = vec![];
        for (row, key) in keys.iter().enumerate() {
            let place = (self.batches.len() as u32, new.len() as u32);
            self.places.entry(*key).or_insert_with(|| {
                new.push((0, row));
                place
            });
        }
        if new.is_empty() {
            return Ok(());
        }
        self.numbers.extend(new.iter().map(|(_, row)| keys[*row]));
        let values = project(rows, &self.schema, columns)?;
        self.batches
            .push(interleave(&[&values], &new, &self.schema)?);
        if self.batches.len() >= MOST_BATCHES {
            self.compact()?;
        }
        Ok(())
    }

    /// Makes `all` the one batch; its rows are `numbers`.
    fn put(&mut self, all: RecordBatch) {
        self.batches = vec![all];
        for (row, key) in self.numbers.iter().enumerate() {
            self.places.insert(*key, (0, row as u32));
        }
    }

    /// The key columns of these keys.
    fn of(&self, keys: &[u32]) -> Result<RecordBatch> {
        let unknown = || Error::internal("a key has no values");
        let place = |key| {
            let (batch, row) = self.places.get(key).ok_or_else(unknown)?;
            Ok((*batch as usize, *row as usize))
        };
        let places = keys.iter().map(place).collect::<Result<Vec<_>>>()?;
        interleave(
            &self.batches.iter().collect::<Vec<_>>(),
            &places,
            &self.schema,
        )
    }

    pub(super) fn snapshot(&mut self) -> Result<RecordBatch> {
        self.compact()?;
        let values = concat(&self.schema, &self.batches)?;
        let numbers: ArrayRef = Arc::new(UInt32Array::from(self.numbers.clone()));
        let mut fields = vec![Arc::new(Field::new("_key", DataType::UInt32, false))];
        fields.extend(self.schema.fields().iter().cloned());
        let mut columns = vec![numbers];
        columns.extend(values.columns().iter().cloned());
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }

    pub(super) fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let numbers = key_numbers(table)?;
        self.numbers = numbers.values().to_vec();
        let columns: Vec<usize> = (1..table.num_columns()).collect();
        let values = project(table, &self.schema, &columns)?;
        self.put(values);
        Ok(())
    }
}

fn key_numbers(table: &RecordBatch) -> Result<&UInt32Array> {
    let column = table
        .columns()
        .first()
        .and_then(|c| c.as_primitive_opt::<UInt32Type>());
    column.ok_or_else(|| Error::corrupt("the snapshot of an aggregate lacks its key numbers"))
}

fn with_rows(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn project(rows: &RecordBatch, schema: &SchemaRef, columns: &[usize]) -> Result<RecordBatch> {
    let columns = columns
        .iter()
        .map(|column| Arc::clone(rows.column(*column)))
        .collect();
    with_rows(schema, columns, rows.num_rows())
}

/// Arrow's `interleave_record_batch` and `concat_batches` lose the row count where there are no
/// columns, as there are none for a window without a key.
fn interleave(
    batches: &[&RecordBatch],
    places: &[(usize, usize)],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    match schema.fields().is_empty() {
        true => with_rows(schema, vec![], places.len()),
        false => Ok(interleave_record_batch(batches, places)?),
    }
}

fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    match schema.fields().is_empty() {
        true => with_rows(
            schema,
            vec![],
            batches.iter().map(RecordBatch::num_rows).sum(),
        ),
        false => Ok(concat_batches(schema, batches)?),
    }
}

/// One open window: its groups, numbered by first row, and their aggregates.
pub(super) struct Window {
    group_of: HashMap<u32, u32, FixedState>,
    keys: Vec<u32>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Reused: the group of each row of a batch.
    groups: Vec<usize>,
}

impl Window {
    pub(super) fn new(aggregates: &[(String, Arc<dyn Aggregate>)]) -> Result<Self> {
        let accumulators = aggregates
            .iter()
            .map(|(_, a)| a.build())
            .collect::<Result<_>>()?;
        let group_of = HashMap::with_hasher(FixedState::with_seed(0));
        Ok(Self {
            group_of,
            keys: vec![],
            accumulators,
            groups: vec![],
        })
    }

    pub(super) fn keys(&self) -> &[u32] {
        &self.keys
    }

    pub(super) fn add(
        &mut self,
        keys: &[u32],
        rows: &RecordBatch,
        values: &mut KeyValues,
    ) -> Result<()> {
        self.groups.clear();
        let known = self.keys.len();
        for key in keys {
            let group = *self.group_of.entry(*key).or_insert_with(|| {
                self.keys.push(*key);
                self.keys.len() as u32 - 1
            });
            self.groups.push(group as usize);
        }
        values.enter(&self.keys[known..]);
        let (groups, count) = (&self.groups, self.keys.len());
        self.accumulators
            .iter_mut()
            .try_for_each(|a| a.update(rows, groups, count))
    }

    /// The same window again. Only its accumulators' states are asked for, which leaves them as
    /// they are: a result can be had of an accumulator once.
    pub(super) fn copy(&mut self, aggregates: &[(String, Arc<dyn Aggregate>)]) -> Result<Self> {
        let mut copy = Self::new(aggregates)?;
        copy.keys.clone_from(&self.keys);
        for (own, other) in self.accumulators.iter_mut().zip(&mut copy.accumulators) {
            other.restore(&own.snapshot()?)?;
        }
        Ok(copy)
    }

    pub(super) fn close(
        &mut self,
        schema: &SchemaRef,
        values: &KeyValues,
        start: i64,
        end: i64,
    ) -> Result<RecordBatch> {
        let rows = self.keys.len();
        let bound = |at| {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::from_value(
                at, rows,
            )) as ArrayRef
        };
        let mut columns = values.of(&self.keys)?.columns().to_vec();
        columns.extend([bound(start), bound(end)]);
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.finish()?);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// The keys, then the state columns of each aggregate; the bounds are in the metadata.
    pub(super) fn snapshot(&mut self, start: i64, end: i64) -> Result<RecordBatch> {
        let keys: ArrayRef = Arc::new(UInt32Array::from(self.keys.clone()));
        let mut fields = vec![Field::new("_key", DataType::UInt32, false)];
        let mut columns = vec![keys];
        for (number, accumulator) in self.accumulators.iter_mut().enumerate() {
            for column in accumulator.snapshot()? {
                let name = number.to_string();
                fields.push(Field::new(name, column.data_type().clone(), true));
                columns.push(column);
            }
        }
        let bounds = [("start", start), ("end", end)];
        let metadata = bounds.map(|(name, at)| (name.to_string(), at.to_string()));
        let schema = Schema::new(fields).with_metadata(StdHashMap::from(metadata));
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }

    /// Takes up a snapshot and says the window's bounds.
    pub(super) fn restore(
        &mut self,
        table: &RecordBatch,
        values: &mut KeyValues,
    ) -> Result<(i64, i64)> {
        self.keys = key_numbers(table)?.values().to_vec();
        values.enter(&self.keys);
        for (group, key) in self.keys.iter().enumerate() {
            self.group_of.insert(*key, group as u32);
        }
        let schema = table.schema();
        for (number, accumulator) in self.accumulators.iter_mut().enumerate() {
            let name = number.to_string();
            let columns = schema.fields().iter().zip(table.columns());
            let state = columns.filter(|(field, _)| *field.name() == name);
            accumulator.restore(&state.map(|(_, c)| Arc::clone(c)).collect::<Vec<_>>())?;
        }
        let bound = |name| {
            let text = schema.metadata().get(name);
            let damaged = || Error::corrupt("the snapshot of a window lacks its bounds");
            text.and_then(|text| text.parse().ok()).ok_or_else(damaged)
        };
        Ok((bound("start")?, bound("end")?))
    }
}
