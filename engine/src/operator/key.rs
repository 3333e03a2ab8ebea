//! `key`: a dense number for every distinct key, in order of first appearance, as a column.
//!
//! A chain of operators keyed alike hashes once: what follows indexes its states by the number.
//! NULL is a key like any other. Where keys are forgotten, their numbers go to others: see
//! [`Key::forgetting`].

mod lives;
mod table;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::lives::Lives;
pub(crate) use self::table::Table;
use crate::error::{Error, Result};
use crate::operator::ttl::Ttl;
use crate::operator::{Operator, OperatorSpec, Output, Snapshot};
use crate::time::Watermark;

/// Appends the key's number as a `UInt32` column.
#[derive(Debug, Clone)]
pub struct Key {
    input: SchemaRef,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// Where keys are forgotten: the column that says when, and how.
    ttl: Option<(usize, Ttl)>,
}

impl Key {
    /// Keys by these columns, named by position, and calls the new column `name`. Without columns
    /// all rows have the key 0.
    pub fn new(input: SchemaRef, columns: Vec<usize>, name: &str) -> Result<Self> {
        if let Some(column) = columns
            .iter()
            .find(|column| **column >= input.fields().len())
        {
            return Err(Error::internal(format!(
                "key: no column {column} in the input"
            )));
        }
        let number = Arc::new(Field::new(name, DataType::UInt32, false));
        let fields = input.fields().iter().cloned().chain([number]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self {
            input,
            columns,
            schema,
            ttl: None,
        })
    }

    /// Gives numbers of keys that no row to come finds any more to new keys. What follows must
    /// tell by the times in the column `time` itself, with no longer `ttl`, that a number has a
    /// new key, or must have done with the rows of the old one.
    #[must_use]
    pub fn forgetting(mut self, time: usize, ttl: Option<Ttl>) -> Self {
        self.ttl = ttl.map(|ttl| (time, ttl));
        self
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .columns
            .iter()
            .map(|column| self.input.field(*column).name().as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let number = self.schema.fields().last().map_or("", |field| field.name());
        write!(f, "Key: ({names}) AS {number}")?;
        match self.ttl {
            Some((time, ttl)) => write!(f, ", {ttl} after {}", self.input.field(time).name()),
            None => Ok(()),
        }
    }
}

impl OperatorSpec for Key {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn passes_rows(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let types = self
            .columns
            .iter()
            .map(|column| self.input.field(*column).data_type());
        let types: Vec<DataType> = types.cloned().collect();
        let table = Table::new(&types)?;
        // Where there is one key it is never forgotten here.
        let ttl = self.ttl.filter(|_| !self.columns.is_empty());
        Ok(Box::new(State {
            spec: self.clone(),
            table,
            lives: ttl.map(|(time, ttl)| Lives::new(types, time, ttl)),
        }))
    }
}

struct State {
    spec: Key,
    table: Table,
    lives: Option<Lives>,
}

impl Operator for State {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let rows = batch.num_rows();
        let mut numbers = match self.spec.columns.as_slice() {
            [column] => {
                let keys = std::slice::from_ref(batch.column(*column));
                self.table.number(keys, rows)?
            }
            columns => {
                let keys = columns.iter().map(|column| batch.column(*column));
                let keys: Vec<ArrayRef> = keys.cloned().collect();
                self.table.number(&keys, rows)?
            }
        };
        if let Some(lives) = &mut self.lives {
            lives.meet(&mut numbers, &batch)?;
        }
        let (_, mut columns, _) = batch.into_parts();
        columns.push(Arc::new(UInt32Array::from(numbers)));
        out.emit(RecordBatch::try_new(
            Arc::clone(&self.spec.schema),
            columns,
        )?);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        match &mut self.lives {
            Some(lives) => lives.sweep(watermark, &mut self.table),
            None => Ok(()),
        }
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let keys = self.table.keys()?;
        let fields = keys
            .iter()
            .enumerate()
            .map(|(i, column)| Field::new(format!("key{i}"), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut tables = vec![];
        if !keys.is_empty() {
            tables.push(RecordBatch::try_new(schema, keys)?);
        }
        if let Some(lives) = &self.lives {
            tables.push(lives.snapshot()?);
        }
        Ok(Snapshot { version: 1, tables })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        snapshot.expect_version(1)?;
        let mut tables = snapshot.tables;
        if let Some(lives) = &mut self.lives {
            lives.restore(tables.pop())?;
        }
        for keys in tables {
            let numbers = self.table.number(keys.columns(), keys.num_rows())?;
            if numbers
                .iter()
                .enumerate()
                .any(|(row, number)| row != *number as usize)
            {
                return Err(Error::corrupt("the snapshot of key holds a key twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::{Int32Type, UInt32Type};

    use super::*;

    fn numbers(columns: &[&[ArrayRef]], cut: bool) -> Vec<u32> {
        let fields = columns[0].iter().enumerate();
        let fields =
            fields.map(|(i, column)| Field::new(format!("k{i}"), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let positions = (0..columns[0].len()).collect();
        let spec = Key::new(Arc::clone(&schema), positions, "_key").expect("key");
        let (mut state, mut out) = (spec.build().expect("operator"), Output::default());
        for columns in columns {
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).expect("batch");
            state.on_batch(0, batch, &mut out).expect("rows");
            if cut {
                let snapshot = state.snapshot().expect("snapshot");
                state = spec.build().expect("operator");
                state.restore(snapshot).expect("restored");
            }
        }
        let column = |batch: RecordBatch| {
            let last = batch.num_columns() - 1;
            batch
                .column(last)
                .as_primitive::<UInt32Type>()
                .values()
                .to_vec()
        };
        out.take().into_iter().flat_map(column).collect()
    }

    #[test]
    fn numbers_follow_first_appearance_whatever_the_type() {
        let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let first = texts(vec![Some("b"), None, Some("a"), Some("b")]);
        let second = texts(vec![Some(""), Some("a"), None, Some("cc")]);
        let dictionary = |values: Vec<Option<&str>>| {
            Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>()) as ArrayRef
        };
        let first_dictionary = dictionary(vec![Some("b"), None, Some("a"), Some("b")]);
        let second_dictionary = dictionary(vec![Some(""), Some("a"), None, Some("cc")]);
        let integers = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let first_integer = integers(vec![Some(7), None, Some(-1), Some(7)]);
        let second_integer = integers(vec![Some(0), Some(-1), None, Some(9)]);
        let expected = vec![0, 1, 2, 0, 3, 2, 1, 4];
        for cut in [false, true] {
            let one = numbers(&[&[Arc::clone(&first)], &[Arc::clone(&second)]], cut);
            assert_eq!(one, expected);
            let dictionaries = [
                Arc::clone(&first_dictionary),
                Arc::clone(&second_dictionary),
            ];
            assert_eq!(
                numbers(&[&dictionaries[..1], &dictionaries[1..]], cut),
                expected
            );
            let integers = [Arc::clone(&first_integer), Arc::clone(&second_integer)];
            assert_eq!(numbers(&[&integers[..1], &integers[1..]], cut), expected);
            let both = [Arc::clone(&first), Arc::clone(&first_integer)];
            let more = [Arc::clone(&second), Arc::clone(&second_integer)];
            assert_eq!(numbers(&[&both, &more], cut), expected);
        }
    }

    #[test]
    fn without_columns_there_is_one_key() {
        let input = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let spec = Key::new(Arc::clone(&input), vec![], "_key").expect("key");
        assert_eq!(spec.to_string(), "Key: () AS _key");
        let (mut state, mut out) = (spec.build().expect("operator"), Output::default());
        let column = Arc::new(Int64Array::from(vec![1, 2]));
        state
            .on_batch(
                0,
                RecordBatch::try_new(input, vec![column]).expect("batch"),
                &mut out,
            )
            .expect("rows");
        let batch = out.take().remove(0);
        assert_eq!(
            batch.column(1).as_primitive::<UInt32Type>().values(),
            &[0, 0]
        );
    }
}
