//! Rows as JSON objects for readers of live rows: as the format writes them, but for instants,
//! which are RFC 3339, since such a reader has no DDL that says what a time without a zone means.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use engine::{Error, Result};

use super::encode::{Cells, writable, write_string};
use super::time::TimestampFormat;

/// Whether a column of this type can be written.
#[must_use]
pub fn can_write(data_type: &DataType) -> bool {
    writable(data_type)
}

/// Writes rows of a schema, field by field in its order.
#[derive(Debug, Clone)]
pub struct Objects {
    schema: SchemaRef,
    /// Per column `"name":`.
    names: Vec<Vec<u8>>,
}

impl Objects {
    /// A writer of rows of this schema; `Invalid` where [`can_write`] says no to a column.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        if let Some(field) = (schema.fields().iter()).find(|field| !writable(field.data_type())) {
            return Err(Error::invalid(format!(
                "column '{}' has type {}, which JSON cannot write",
                field.name(),
                field.data_type()
            )));
        }
        let quoted = |name: &String| {
            let mut out = vec![];
            write_string(name, &mut out);
            out.push(b':');
            out
        };
        let fields = schema.fields().iter();
        Ok(Self {
            names: fields.map(|field| quoted(field.name())).collect(),
            schema,
        })
    }

    /// The columns that are written.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of a batch of this schema, ready to be written.
    pub fn of<'a>(&'a self, rows: &'a RecordBatch) -> Result<ObjectsOf<'a>> {
        let mut cells = Vec::with_capacity(self.names.len());
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            let time = TimestampFormat::Rfc3339;
            cells.push(Cells::new(field.name(), column.as_ref(), time)?);
        }
        if cells.len() < self.names.len() {
            return Err(Error::internal("rows for JSON lack columns"));
        }
        Ok(ObjectsOf {
            names: &self.names,
            cells,
        })
    }
}

/// The rows of one batch.
pub struct ObjectsOf<'a> {
    names: &'a [Vec<u8>],
    cells: Vec<Cells<'a>>,
}

impl std::fmt::Debug for ObjectsOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectsOf").finish_non_exhaustive()
    }
}

impl ObjectsOf<'_> {
    /// Appends a row.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.write_some(row, |_| true, out);
    }

    /// Appends a row with those columns alone for whose position `wanted` says so.
    #[inline]
    pub fn write_some(&self, row: usize, wanted: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
        let mut between = b'{';
        for (column, (name, cells)) in self.names.iter().zip(&self.cells).enumerate() {
            if wanted(column) {
                out.push(between);
                between = b',';
                out.extend_from_slice(name);
                cells.write(row, out);
            }
        }
        if between == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampNanosecondArray};
    use arrow::datatypes::{Field, Schema};
    use engine::time::TIMESTAMP;

    use super::*;

    #[test]
    fn instants_are_rfc_3339_and_columns_can_be_chosen() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("sym\"bol", DataType::Utf8, true),
            Field::new("at", TIMESTAMP, true),
            Field::new("x", DataType::Float64, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a\n"), None])),
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(1_500_000_001),
                None,
            ])),
            Arc::new(Float64Array::from(vec![f64::NAN, 0.1])),
        ];
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows");
        let objects = Objects::new(schema).expect("writable");
        let objects = objects.of(&rows).expect("of the schema");
        let mut out = vec![];
        objects.write(0, &mut out);
        objects.write_some(1, |column| column > 0, &mut out);
        objects.write_some(1, |_| false, &mut out);
        let expected = "{\"sym\\\"bol\":\"a\\n\",\"at\":\"1970-01-01T00:00:01.500000001Z\",\
                        \"x\":null}{\"at\":null,\"x\":0.1}{}";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let field = Field::new("x", DataType::LargeBinary, true);
        let error = Objects::new(Arc::new(Schema::new(vec![field]))).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("column 'x' has type LargeBinary")
        );
        assert!(!can_write(&DataType::LargeBinary) && can_write(&TIMESTAMP));
    }
}
