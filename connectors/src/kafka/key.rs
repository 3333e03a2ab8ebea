//! The message key out of the key columns of a row.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::{Error, Result};

use crate::format::Messages;
use crate::options::nearest;

/// Renders the keys of a batch; the buffers are used again for the next.
#[derive(Debug, Default)]
pub(super) struct Keys {
    columns: Vec<usize>,
    rendered: Messages,
}

/// The keys of one batch.
pub(super) enum KeyOf<'a> {
    /// No message has a key.
    None,
    /// The key is a text column, used where it lies.
    Text(&'a StringArray),
    /// The keys of a column of another type; NULL is no key.
    Rendered(&'a ArrayRef, &'a Messages),
    /// Keys of several columns.
    Composed(&'a Messages),
}

impl Keys {
    /// Finds the columns of that name; the error names the nearest one.
    pub(super) fn new(table: &str, schema: &Schema, names: &[String]) -> Result<Self> {
        let find = |name: &String| {
            schema.index_of(name).map_err(|_| {
                let columns = schema.fields().iter().map(|field| field.name().as_str());
                let hint = nearest(name, columns)
                    .map(|near| format!("; did you mean '{near}'?"))
                    .unwrap_or_default();
                Error::invalid(format!(
                    "table '{table}': option 'key' names '{name}', which is not a column{hint}"
                ))
            })
        };
        let columns = names.iter().map(find).collect::<Result<_>>()?;
        Ok(Self {
            columns,
            rendered: Messages::default(),
        })
    }

    /// The keys of all rows of a batch.
    pub(super) fn of<'a>(&'a mut self, rows: &'a RecordBatch) -> Result<KeyOf<'a>> {
        self.rendered.clear();
        match self.columns[..] {
            [] => Ok(KeyOf::None),
            [one] if rows.column(one).data_type() == &DataType::Utf8 => {
                Ok(KeyOf::Text(rows.column(one).as_string()))
            }
            [one] => {
                let column = rows.column(one);
                self.render(&[column], rows.num_rows(), |text, values, row| {
                    write!(text, "{}", values[0].value(row))
                })?;
                Ok(KeyOf::Rendered(column, &self.rendered))
            }
            _ => {
                let columns: Vec<_> = self.columns.iter().map(|i| rows.column(*i)).collect();
                let bare: Vec<_> = columns.iter().map(|column| is_bare(column)).collect();
                self.render(&columns, rows.num_rows(), |text, values, row| {
                    for (i, value) in values.iter().enumerate() {
                        text.push(if i == 0 { '[' } else { ',' });
                        if columns[i].is_null(row) {
                            text.push_str("null");
                        } else if bare[i] {
                            write!(text, "{}", value.value(row))?;
                        } else {
                            let value = value.value(row).to_string();
                            write!(text, "{}", serde_json::Value::from(value))?;
                        }
                    }
                    text.push(']');
                    Ok(())
                })?;
                Ok(KeyOf::Composed(&self.rendered))
            }
        }
    }

    fn render(
        &mut self,
        columns: &[&ArrayRef],
        rows: usize,
        write: impl Fn(&mut String, &[ArrayFormatter<'_>], usize) -> std::fmt::Result,
    ) -> Result<()> {
        let options = FormatOptions::new();
        let formatters = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        let mut text = String::new();
        for row in 0..rows {
            text.clear();
            write(&mut text, &formatters, row)
                .map_err(|error| Error::internal("cannot render a message key").caused_by(error))?;
            self.rendered.bytes.extend_from_slice(text.as_bytes());
            self.rendered.ends.push(self.rendered.bytes.len());
        }
        Ok(())
    }
}

/// Whether the text of a value is JSON as it is. Floats are not: NaN is none.
fn is_bare(column: &ArrayRef) -> bool {
    column.data_type().is_integer() || column.data_type() == &DataType::Boolean
}

impl KeyOf<'_> {
    /// The key of a row.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let rendered = |messages: &'_ Messages| {
            let start = if row == 0 { 0 } else { messages.ends[row - 1] };
            start..messages.ends[row]
        };
        match self {
            Self::None => None,
            Self::Text(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Self::Rendered(column, messages) => column
                .is_valid(row)
                .then(|| &messages.bytes[rendered(messages)]),
            Self::Composed(messages) => Some(&messages.bytes[rendered(messages)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array};
    use arrow::datatypes::Field;

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "symbol",
                Arc::new(StringArray::from(vec![Some("A\"B"), None])),
            ),
            ("venue", Arc::new(Int64Array::from(vec![Some(7), None]))),
            ("price", Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
            ("open", Arc::new(BooleanArray::from(vec![true, false]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap()
    }

    fn keys(names: &[&str]) -> Vec<Option<String>> {
        let rows = batch();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut keys = Keys::new("t", &Schema::new(fields(&rows)), &names).unwrap();
        let keys = keys.of(&rows).unwrap();
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        (0..2).map(|row| keys.get(row).map(text)).collect()
    }

    fn fields(rows: &RecordBatch) -> Vec<Field> {
        rows.schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect()
    }

    #[test]
    fn one_column_is_its_text_and_null_is_no_key() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(keys(&[]), [None, None]);
        assert_eq!(keys(&["symbol"]), [some("A\"B"), None]);
        assert_eq!(keys(&["venue"]), [some("7"), None]);
    }

    #[test]
    fn several_columns_are_a_json_array() {
        let found = keys(&["symbol", "venue", "open", "price"]);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found[0], some(r#"["A\"B",7,true,"1.5"]"#));
        assert_eq!(found[1], some(r#"[null,null,false,"NaN"]"#));
    }

    #[test]
    fn an_unknown_column_is_named_with_the_nearest() {
        let rows = batch();
        let error = Keys::new("t", &Schema::new(fields(&rows)), &["symbl".to_owned()]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "table 't': option 'key' names 'symbl', which is not a column; did you mean 'symbol'?"
        );
    }
}
