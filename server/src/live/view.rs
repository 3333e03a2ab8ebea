//! What a channel shows of a stream: which rows, which columns, whole or what changed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{and, not};
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

/// A choice, ready to be applied.
#[derive(Debug)]
pub(super) struct View {
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
        Ok(Self {
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

    /// Which of these rows are shown; `None`: all.
    fn mask(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        self.filter
            .as_ref()
            .map(|filter| filter.mask(rows))
            .transpose()
    }

    /// The rows that are shown.
    pub(super) fn select(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        match self.mask(rows)? {
            None => Ok(rows.clone()),
            Some(mask) => Ok(arrow::compute::filter_record_batch(rows, &mask)?),
        }
    }

    /// Appends the rows that are shown, with commas between them and before the first one unless
    /// `count` is zero; adds to `count`. With `before` only what changed, in a view of changes.
    pub(super) fn write(
        &self,
        rows: &RecordBatch,
        before: Option<&Before>,
        count: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mask = self.mask(rows)?;
        if mask.as_ref().is_some_and(|mask| !mask.has_true()) {
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
        match &mask {
            None => (0..rows.num_rows()).for_each(&mut write),
            Some(mask) => mask.values().set_indices().for_each(&mut write),
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

/// For which rows two columns differ; NULL is equal to NULL. Columns of rows or lists count as
/// changed always: Arrow does not compare them.
fn differs(new: &ArrayRef, old: &ArrayRef) -> Result<BooleanArray> {
    if new.data_type().is_nested() {
        return Ok(BooleanArray::from(vec![true; new.len()]));
    }
    Ok(distinct(new, old)?)
}
