//! What a channel shows of a stream: which rows, which columns, whole or what changed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{and, not, take_record_batch};
use arrow::datatypes::SchemaRef;
use connectors::format::json::objects::{Objects, can_write};
use engine::{Error, Result};
use serde::{Deserialize, Serialize};
use sql::Filter;
use utoipa::ToSchema;

use super::latest::Before;

/// How rows are shown.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every row with all its columns.
    #[default]
    Rows,
    /// Of a row whose key's row before was shown too, the key and the columns that changed.
    Changes,
}

/// What a subscription asks for, in a form that is equal where subscriptions are.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Choice {
    pub(super) condition: Option<String>,
    /// Positions in the table, ascending.
    pub(super) columns: Vec<usize>,
    pub(super) mode: Mode,
}

/// Numbers of rows of a batch, ascending.
pub(super) type Rows = Vec<u32>;

/// A choice, ready to be applied.
#[derive(Debug)]
pub(super) struct View {
    /// What the condition says of the key alone: the same of all rows of a key.
    of_key: Option<Filter>,
    /// What else it says.
    filter: Option<Filter>,
    columns: Vec<usize>,
    objects: Objects,
    /// By shown column: whether it is part of the key.
    key: Vec<bool>,
    pub(super) changes: bool,
}

/// The columns that can be shown: JSON has no form for the others.
pub(super) fn shown(schema: &SchemaRef) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    let shown = fields.filter(|(_, field)| can_write(field.data_type()));
    shown.map(|(column, _)| column).collect()
}

impl View {
    /// A view of a table with this schema and key.
    pub(super) fn new(
        schema: &SchemaRef,
        key: &[usize],
        choice: &Choice,
        filter: Option<Filter>,
    ) -> Result<Self> {
        let objects = Objects::new(Arc::new(schema.project(&choice.columns)?))?;
        let (of_key, filter) = filter.map_or((None, None), |filter| filter.split(key));
        Ok(Self {
            of_key,
            filter,
            key: choice
                .columns
                .iter()
                .map(|column| key.contains(column))
                .collect(),
            columns: choice.columns.clone(),
            objects,
            changes: choice.mode == Mode::Changes,
        })
    }

    /// The columns that are shown.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.objects.schema()
    }

    /// What the condition says of the key alone, if anything.
    pub(super) fn of_key(&self) -> Option<&Filter> {
        self.of_key.as_ref()
    }

    /// Which of these rows are shown; `None`: all.
    fn mask(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        let filters = [&self.of_key, &self.filter].into_iter().flatten();
        let mut masks = filters.map(|filter| filter.mask(rows));
        Ok(
            match (masks.next().transpose()?, masks.next().transpose()?) {
                (Some(one), Some(other)) => Some(and(&one, &other)?),
                (mask, _) => mask,
            },
        )
    }

    /// Which of these rows are shown; `None`: all. `of_key` are those whose keys are, where that is
    /// known already.
    fn chosen(&self, rows: &RecordBatch, of_key: Option<Rows>) -> Result<Option<Rows>> {
        let among = match (of_key, &self.of_key) {
            (None, Some(filter)) => Some(set(&filter.mask(rows)?)),
            (of_key, _) => of_key,
        };
        match (among, &self.filter) {
            (among, None) => Ok(among),
            (None, Some(filter)) => Ok(Some(set(&filter.mask(rows)?))),
            (Some(among), Some(_)) if among.is_empty() => Ok(Some(among)),
            (Some(among), Some(filter)) => {
                let places = UInt32Array::from_iter_values(among.iter().copied());
                let mask = filter.mask(&take_record_batch(rows, &places)?)?;
                let kept = mask.values().set_indices().map(|place| among[place]);
                Ok(Some(kept.collect()))
            }
        }
    }

    /// The rows that are shown.
    pub(super) fn select(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        match self.mask(rows)? {
            None => Ok(rows.clone()),
            Some(mask) => Ok(arrow::compute::filter_record_batch(rows, &mask)?),
        }
    }

    /// Appends the rows that are shown, with commas between them and before the first one unless
    /// `count` is zero; adds to `count`.
    pub(super) fn write(
        &self,
        rows: &RecordBatch,
        count: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.write_of(rows, None, None, count, out)
    }

    /// [`View::write`] of the rows whose keys are shown, where it is known which. With `before` only
    /// what changed, in a view of changes.
    pub(super) fn write_of(
        &self,
        rows: &RecordBatch,
        of_key: Option<Rows>,
        before: Option<&Before>,
        count: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let chosen = self.chosen(rows, of_key)?;
        if chosen.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let shown = rows.project(&self.columns)?;
        let objects = self.objects.of(&shown)?;
        let changed = match before {
            Some(before) if self.changes => Some(self.changed(&shown, before)?),
            _ => None,
        };
        let mut write = |row: usize| {
            if *count > 0 {
                out.push(b',');
            }
            *count += 1;
            match &changed {
                None => objects.write(row, out),
                Some(changed) => {
                    let wanted = |column: usize| self.key[column] || changed[column].value(row);
                    objects.write_some(row, wanted, out);
                }
            }
        };
        match chosen {
            None => (0..rows.num_rows()).for_each(&mut write),
            Some(chosen) => chosen.into_iter().for_each(|row| write(row as usize)),
        }
        Ok(())
    }

    /// By shown column, for which rows it is written: where it differs from the row before, or
    /// that one was not shown.
    fn changed(&self, shown: &RecordBatch, before: &Before) -> Result<Vec<BooleanArray>> {
        let known = match self.mask(&before.rows)? {
            None => before.known.clone(),
            Some(mask) => and(&before.known, &mask)?,
        };
        let unknown = not(&known)?;
        let old = before.rows.project(&self.columns)?;
        let columns = shown.columns().iter().zip(old.columns());
        let changed = columns.map(|(new, old)| {
            let differs = differs(new, old)?;
            Ok::<_, Error>(arrow::compute::or(&differs, &unknown)?)
        });
        changed.collect()
    }
}

/// The rows for which it is so.
fn set(mask: &BooleanArray) -> Rows {
    mask.values().set_indices().map(|row| row as u32).collect()
}

/// For which rows two columns differ; NULL is equal to NULL. Columns of rows or lists count as
/// changed always: Arrow does not compare them.
fn differs(new: &ArrayRef, old: &ArrayRef) -> Result<BooleanArray> {
    if new.data_type().is_nested() {
        return Ok(BooleanArray::from(vec![true; new.len()]));
    }
    Ok(distinct(new, old)?)
}
