//! `<table>$late` and `<table>$dead`: their columns, and how rows come to be there.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;

use crate::error::Result;
use crate::time::TIMESTAMP;

/// Suffix of the table that holds a table's late rows.
pub const LATE_SUFFIX: &str = "$late";
/// Suffix of the table that holds what could not become a row of a table.
pub const DEAD_SUFFIX: &str = "$dead";

/// The columns of `<table>$late`: those of the table, all nullable, then where each row is from.
#[must_use]
pub fn late_schema(table: &Schema) -> SchemaRef {
    let columns = table
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_nullable(true));
    let origin = [
        Field::new("_arrived_at", TIMESTAMP, false),
        Field::new("_split", DataType::Utf8, false),
        Field::new("_offset", DataType::Int64, false),
    ];
    Arc::new(Schema::new(columns.chain(origin).collect::<Vec<_>>()))
}

/// The columns of every `<table>$dead`.
#[must_use]
pub fn dead_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("arrived_at", TIMESTAMP, false),
        Field::new("split", DataType::Utf8, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("record_time", TIMESTAMP, true),
        Field::new("stage", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("payload", DataType::Binary, true),
    ]))
}

/// One row of `<table>$dead`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadRow<'a> {
    /// When it arrived, in nanoseconds.
    pub(crate) arrived_at: i64,
    /// Where it is from; unknown inside the graph.
    pub(crate) origin: Option<(&'a str, i64)>,
    /// When the transport recorded it.
    pub(crate) record_time: Option<i64>,
    /// Who gave it up: `source`, `intake`, or a step of the graph.
    pub(crate) stage: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
    /// The bytes as received, or the row as JSON.
    pub(crate) payload: &'a [u8],
}

/// Gathers rows of `<table>$dead`. Nearly always there are none, and then it allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct DeadRows {
    columns: Option<Box<Columns>>,
    len: u64,
}

#[derive(Debug, Default)]
struct Columns {
    arrived_at: TimestampNanosecondBuilder,
    split: StringBuilder,
    offset: Int64Builder,
    record_time: TimestampNanosecondBuilder,
    stage: StringBuilder,
    reason: StringBuilder,
    payload: BinaryBuilder,
}

impl DeadRows {
    pub(crate) fn push(&mut self, row: DeadRow<'_>) {
        let columns = self.columns.get_or_insert_default();
        columns.arrived_at.append_value(row.arrived_at);
        let split = row.origin.map(|(split, _)| split);
        columns.split.append_option(split);
        let offset = row.origin.map(|(_, offset)| offset);
        columns.offset.append_option(offset);
        columns.record_time.append_option(row.record_time);
        columns.stage.append_value(row.stage);
        columns.reason.append_value(row.reason);
        columns.payload.append_value(row.payload);
        self.len += 1;
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The rows, unless there are none.
    pub(crate) fn finish(self) -> Result<Option<RecordBatch>> {
        let Some(mut columns) = self.columns else {
            return Ok(None);
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(columns.arrived_at.finish()),
            Arc::new(columns.split.finish()),
            Arc::new(columns.offset.finish()),
            Arc::new(columns.record_time.finish()),
            Arc::new(columns.stage.finish()),
            Arc::new(columns.reason.finish()),
            Arc::new(columns.payload.finish()),
        ];
        Ok(Some(RecordBatch::try_new(dead_schema(), columns)?))
    }
}

/// A row as JSON, without its system columns.
pub(crate) fn row_as_json(row: &RecordBatch) -> Result<Vec<u8>> {
    let schema = row.schema();
    let visible = |i: &usize| !schema.field(*i).name().starts_with('_');
    let columns: Vec<usize> = (0..row.num_columns()).filter(visible).collect();
    let mut bytes = vec![];
    let mut writer = LineDelimitedWriter::new(&mut bytes);
    writer.write(&row.project(&columns)?)?;
    writer.finish()?;
    drop(writer);
    bytes.truncate(bytes.trim_ascii_end().len());
    Ok(bytes)
}
