//! A file's columns as those of a table: by name, converted where nothing can be lost.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use engine::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::schema::types::SchemaDescriptor;

/// How the columns of one file become those of the table.
#[derive(Debug)]
pub(super) struct Projection {
    schema: SchemaRef,
    /// Per column of the table its place among the columns read; `None`: NULL.
    places: Vec<Option<usize>>,
    /// The file's columns that are read, in the file's order.
    roots: Vec<usize>,
}

impl Projection {
    /// `table` says names, types and which columns may be missing.
    pub(super) fn new(
        path: &Path,
        file: &Schema,
        table: &Schema,
        output: &SchemaRef,
    ) -> Result<Self> {
        let mut found = vec![];
        for field in table.fields() {
            let place = file.fields().iter().position(|f| f.name() == field.name());
            if let Some(place) = place {
                let (have, want) = (file.field(place).data_type(), field.data_type());
                if !lossless(have, want) {
                    return Err(Error::invalid(format!(
                        "file '{}' has column '{}' as {have}, the table declares {want}",
                        path.display(),
                        field.name()
                    )));
                }
            } else if !field.is_nullable() {
                return Err(lacking(path, field.name()));
            }
            found.push(place);
        }
        let mut roots = found.iter().copied().flatten().collect::<Vec<_>>();
        roots.sort_unstable();
        roots.dedup();
        let places = found
            .iter()
            .map(|place| roots.binary_search(&(*place)?).ok())
            .collect();
        Ok(Self {
            schema: SchemaRef::clone(output),
            places,
            roots,
        })
    }

    /// Which columns to read.
    pub(super) fn mask(&self, file: &SchemaDescriptor) -> ProjectionMask {
        ProjectionMask::roots(file, self.roots.iter().copied())
    }

    /// The rows as the table has them.
    pub(super) fn apply(&self, path: &Path, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.places.len());
        for (field, place) in self.schema.fields().iter().zip(&self.places) {
            columns.push(match place.and_then(|place| rows.columns().get(place)) {
                None => new_null_array(field.data_type(), rows.num_rows()),
                Some(column) if column.data_type() == field.data_type() => ArrayRef::clone(column),
                Some(column) => {
                    let strict = CastOptions {
                        safe: false,
                        ..CastOptions::default()
                    };
                    cast_with_options(column, field.data_type(), &strict).map_err(|e| {
                        Error::invalid(format!(
                            "file '{}': a value of column '{}' does not fit {}",
                            path.display(),
                            field.name(),
                            field.data_type()
                        ))
                        .caused_by(e)
                    })?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            SchemaRef::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

/// The error of a file without a column that no row can go without.
pub(super) fn lacking(path: &Path, column: &str) -> Error {
    Error::invalid(format!(
        "file '{}' has no column '{column}', which the table declares NOT NULL",
        path.display()
    ))
}

/// Whether every value of one type is one of the other (instants that 64 bits of nanoseconds
/// cannot hold are found by the conversion itself).
fn lossless(have: &DataType, want: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Decimal128, Dictionary, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeUtf8, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    if have.equals_datatype(want) {
        return true;
    }
    match (have, want) {
        (Dictionary(_, value), want) => lossless(value, want),
        (have, Dictionary(key, value)) => **key == Int32 && lossless(have, value),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView)
        | (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
        | (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float64)
        | (UInt8, Int16 | Int32 | Int64 | UInt16 | UInt32 | UInt64 | Float32 | Float64)
        | (UInt16, Int32 | Int64 | UInt32 | UInt64 | Float32 | Float64)
        | (UInt32, Int64 | UInt64 | Float64)
        | (Float32, Float64) => true,
        (Timestamp(from, _), Timestamp(to, _)) => to >= from,
        (Decimal128(p, s), Decimal128(q, t)) => {
            t >= s && i16::from(*q) - i16::from(*t) >= i16::from(*p) - i16::from(*s)
        }
        _ => false,
    }
}
