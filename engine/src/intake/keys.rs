//! The split that each key of a keyed table was met on: all its rows are to come from there.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::array_value_to_string;
use serde::{Deserialize, Serialize};

use super::splits::Splits;
use crate::error::{Error, Result};
use crate::graph::Input;
use crate::operator::key::Table;
use crate::source::Split;

/// The keys of a table, by the columns of its `key` option.
pub(super) struct Keys {
    table: String,
    /// Name and position of each column.
    columns: Vec<(String, usize)>,
    /// Numbers the keys, once there is a row.
    numbers: Option<Table>,
    /// By a key's number, the split.
    splits: Vec<u32>,
}

/// What a snapshot holds: the keys by number, as an Arrow IPC stream, and the split of each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KeysState {
    keys: Vec<u8>,
    splits: Vec<u32>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// None yet, of a table that is keyed.
    pub(super) fn of(input: &Input) -> Option<Self> {
        let column = |name: &String| Some((name.clone(), input.schema.index_of(name).ok()?));
        let columns: Vec<_> = input.stream.key.iter().filter_map(column).collect();
        (!columns.is_empty()).then(|| Self {
            table: input.stream.name.clone(),
            columns,
            numbers: None,
            splits: vec![],
        })
    }

    /// Notes where the keys of rows came from; an error where one came from elsewhere before.
    pub(super) fn meet(&mut self, columns: &[ArrayRef], from: &Split, all: &Splits) -> Result<()> {
        let Some((split, _)) = all.own(from) else {
            return Ok(());
        };
        let keys: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|(_, at)| Arc::clone(&columns[*at]))
            .collect();
        let rows = keys.first().map_or(0, Array::len);
        let numbers = numbered(&mut self.numbers, &keys)?.number(&keys, rows)?;
        for (row, number) in numbers.into_iter().enumerate() {
            match self.splits.get(number as usize) {
                Some(known) if *known == split => {}
                Some(known) => {
                    let before = all.name(*known).map_or("", |split| &split.0);
                    return Err(self.clash(&keys, row, before, &from.0)?);
                }
                // Numbers have no gaps: the next key has the next one.
                None => self.splits.push(split),
            }
        }
        Ok(())
    }

    fn clash(&self, keys: &[ArrayRef], row: usize, before: &str, now: &str) -> Result<Error> {
        let mut named = vec![];
        for ((name, _), column) in self.columns.iter().zip(keys) {
            named.push(match column.is_null(row) {
                true => format!("{name} NULL"),
                false => format!("{name} '{}'", array_value_to_string(column, row)?),
            });
        }
        Ok(Error::invalid(format!(
            "table '{}': rows of {} came from split '{before}' and now from split '{now}', and \
             'key' says that all rows of a key are on one split; remove 'key', or let the \
             producers write each key to one split",
            self.table,
            named.join(" and ")
        )))
    }

    pub(super) fn snapshot(&self) -> Result<KeysState> {
        let Some(numbers) = &self.numbers else {
            return Ok(KeysState::default());
        };
        let keys = numbers.keys()?;
        let names = self.columns.iter().map(|(name, _)| name);
        let fields = names
            .zip(&keys)
            .map(|(name, key)| Field::new(name, key.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut writer = StreamWriter::try_new(vec![], &schema)?;
        writer.write(&RecordBatch::try_new(schema, keys)?)?;
        Ok(KeysState {
            keys: writer.into_inner()?,
            splits: self.splits.clone(),
        })
    }

    pub(super) fn restore(&mut self, state: &KeysState) -> Result<()> {
        if state.splits.is_empty() {
            return Ok(());
        }
        let damaged = || Error::corrupt("the keys in the intake's snapshot cannot be read");
        let reader = StreamReader::try_new(state.keys.as_slice(), None);
        for batch in reader.map_err(|e| damaged().caused_by(e))? {
            let batch = batch.map_err(|e| damaged().caused_by(e))?;
            let numbers = numbered(&mut self.numbers, batch.columns())?;
            numbers.number(batch.columns(), batch.num_rows())?;
        }
        let restored = numbered(&mut self.numbers, &[])?.keys()?;
        if restored.first().map_or(0, Array::len) != state.splits.len() {
            return Err(damaged());
        }
        self.splits.clone_from(&state.splits);
        Ok(())
    }
}

fn numbered<'a>(numbers: &'a mut Option<Table>, keys: &[ArrayRef]) -> Result<&'a mut Table> {
    if numbers.is_none() {
        let types: Vec<_> = keys.iter().map(|key| key.data_type().clone()).collect();
        *numbers = Some(Table::new(&types)?);
    }
    let lost = || Error::internal("the table of keys is lost");
    numbers.as_mut().ok_or_else(lost)
}
