//! Metadata columns: what the envelope of a message says, in the types that the table declares.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, MapArray, StringBuilder, StructArray,
    TimestampNanosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use engine::stream::MetadataColumn;
use engine::{Error, Result, StreamSpec};
use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers};

/// Collects the metadata columns of a batch.
#[derive(Debug)]
pub(super) struct Metadata {
    columns: Vec<Column>,
    text_key: bool,
}

#[derive(Debug)]
enum Column {
    Topic(StringBuilder),
    Partition(Int32Builder),
    LongPartition(Int64Builder),
    Offset(Int64Builder),
    Timestamp(TimestampNanosecondBuilder, DataType),
    Key(StringBuilder),
    BytesKey(BinaryBuilder),
    Headers(StringBuilder),
    HeaderMap(HeaderMap),
}

impl Metadata {
    /// Builders for the metadata columns of a table; a column that does not exist or cannot have
    /// the declared type is an error.
    pub(super) fn new(stream: &StreamSpec) -> Result<Self> {
        let columns = stream.metadata.iter().map(|column| {
            builder(column).map_err(|reason| {
                let (table, name) = (&stream.name, column.field.name());
                Error::invalid(format!(
                    "table '{table}': metadata column '{name}' {reason}"
                ))
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let text_key = columns
            .iter()
            .any(|column| matches!(column, Column::Key(_)));
        Ok(Self { columns, text_key })
    }

    /// What stands against the message being a row, as far as its envelope goes.
    pub(super) fn check(&self, message: &BorrowedMessage<'_>) -> Result<(), String> {
        let broken = self.text_key
            && message
                .key()
                .is_some_and(|key| std::str::from_utf8(key).is_err());
        if broken {
            return Err("the key is not UTF-8, declare its metadata column as BYTES".to_owned());
        }
        Ok(())
    }

    /// Appends the envelope of a message that `check` has passed.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        for column in &mut self.columns {
            match column {
                Column::Topic(builder) => builder.append_value(message.topic()),
                Column::Partition(builder) => builder.append_value(message.partition()),
                Column::LongPartition(builder) => builder.append_value(message.partition().into()),
                Column::Offset(builder) => builder.append_value(message.offset()),
                Column::Timestamp(builder, _) => builder.append_option(record_time(message)),
                Column::Key(builder) => {
                    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
                    builder.append_option(key);
                }
                Column::BytesKey(builder) => builder.append_option(message.key()),
                Column::Headers(builder) => builder.append_option(json(message)),
                Column::HeaderMap(map) => map.push(message),
            }
        }
    }

    /// The columns collected since the last call, in the order of the table.
    pub(super) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        let finish = |column: &mut Column| -> Result<ArrayRef> {
            Ok(match column {
                Column::Topic(b) | Column::Key(b) | Column::Headers(b) => Arc::new(b.finish()),
                Column::Partition(builder) => Arc::new(builder.finish()),
                Column::LongPartition(b) | Column::Offset(b) => Arc::new(b.finish()),
                Column::Timestamp(builder, declared) => cast(&builder.finish(), declared)?,
                Column::BytesKey(builder) => Arc::new(builder.finish()),
                Column::HeaderMap(map) => Arc::new(map.take()?),
            })
        };
        self.columns.iter_mut().map(finish).collect()
    }
}

fn builder(column: &MetadataColumn) -> Result<Column, String> {
    let declared = column.field.data_type();
    let types = match (column.key.as_str(), declared) {
        ("topic", DataType::Utf8) => return Ok(Column::Topic(StringBuilder::new())),
        ("partition", DataType::Int32) => return Ok(Column::Partition(Int32Builder::new())),
        ("partition", DataType::Int64) => return Ok(Column::LongPartition(Int64Builder::new())),
        ("offset", DataType::Int64) => return Ok(Column::Offset(Int64Builder::new())),
        ("timestamp", DataType::Timestamp(_, None)) => {
            let builder = TimestampNanosecondBuilder::new();
            return Ok(Column::Timestamp(builder, declared.clone()));
        }
        ("key", DataType::Utf8) => return Ok(Column::Key(StringBuilder::new())),
        ("key", DataType::Binary) => return Ok(Column::BytesKey(BinaryBuilder::new())),
        ("headers", DataType::Utf8) => return Ok(Column::Headers(StringBuilder::new())),
        ("headers", DataType::Map(entries, _)) if HeaderMap::fits(entries) => {
            return Ok(Column::HeaderMap(HeaderMap::new(Arc::clone(entries))));
        }
        ("topic", _) => "STRING",
        ("partition", _) => "INT or BIGINT",
        ("offset", _) => "BIGINT",
        ("timestamp", _) => "TIMESTAMP",
        ("key", _) => "STRING or BYTES",
        ("headers", _) => "STRING or MAP<STRING, BYTES>",
        (key, _) => {
            return Err(format!(
                "reads '{key}', which kafka does not have: \
                 it has topic, partition, offset, timestamp, key, headers"
            ));
        }
    };
    Err(format!(
        "reads '{}', which is of type {types}, not {declared}",
        column.key
    ))
}

/// When the broker or the producer stamped the message, in nanoseconds.
pub(super) fn record_time(message: &BorrowedMessage<'_>) -> Option<i64> {
    message
        .timestamp()
        .to_millis()
        .and_then(|millis| millis.checked_mul(1_000_000))
}

/// The headers, of equal names the last.
fn distinct(headers: &BorrowedHeaders) -> impl Iterator<Item = Header<'_, &[u8]>> {
    let shadowed = |name: &str, from: usize| {
        (from..headers.count()).any(|i| headers.try_get(i).is_some_and(|later| later.key == name))
    };
    let each = headers.iter().enumerate();
    each.filter(move |(i, header)| !shadowed(header.key, i + 1))
        .map(|(_, header)| header)
}

fn json(message: &BorrowedMessage<'_>) -> Option<String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let fields: serde_json::Map<_, _> = distinct(message.headers()?)
        .map(|header| (header.key.to_owned(), header.value.map(text).into()))
        .collect();
    Some(serde_json::Value::Object(fields).to_string())
}

/// Collects a column of type `MAP<STRING, BYTES>` or `MAP<STRING, STRING>`.
#[derive(Debug)]
struct HeaderMap {
    entries: FieldRef,
    keys: StringBuilder,
    values: BinaryBuilder,
    lengths: Vec<usize>,
}

impl HeaderMap {
    fn new(entries: FieldRef) -> Self {
        let (keys, values) = (StringBuilder::new(), BinaryBuilder::new());
        Self {
            entries,
            keys,
            values,
            lengths: vec![],
        }
    }

    fn types(entries: &Field) -> Option<&Fields> {
        match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Some(fields),
            _ => None,
        }
    }

    fn fits(entries: &Field) -> bool {
        let value = |field: &Field| {
            field.is_nullable() && matches!(field.data_type(), DataType::Binary | DataType::Utf8)
        };
        Self::types(entries)
            .is_some_and(|fields| fields[0].data_type() == &DataType::Utf8 && value(&fields[1]))
    }

    fn push(&mut self, message: &BorrowedMessage<'_>) {
        let mut length = 0;
        for header in message.headers().into_iter().flat_map(distinct) {
            self.keys.append_value(header.key);
            self.values.append_option(header.value);
            length += 1;
        }
        self.lengths.push(length);
    }

    fn take(&mut self) -> Result<MapArray> {
        let Some(fields) = Self::types(&self.entries) else {
            return Err(Error::internal("a map has no entries"));
        };
        // Bytes that are not UTF-8 become NULL in MAP<STRING, STRING>.
        let values = cast(&self.values.finish(), fields[1].data_type())?;
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), values];
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(self.lengths.drain(..));
        Ok(MapArray::try_new(
            Arc::clone(&self.entries),
            offsets,
            entries,
            None,
            false,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn refusal(key: &str, declared: DataType) -> String {
        let field = Arc::new(Field::new("m", declared, true));
        builder(&MetadataColumn {
            field,
            key: key.to_owned(),
        })
        .unwrap_err()
    }

    #[test]
    fn a_column_that_cannot_be_is_refused_with_what_can() {
        assert_eq!(
            refusal("partition", DataType::Utf8),
            "reads 'partition', which is of type INT or BIGINT, not Utf8"
        );
        let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
        assert!(refusal("timestamp", seconds).contains("of type TIMESTAMP, not"));
        let unknown = refusal("leader", DataType::Int32);
        assert!(
            unknown.contains("'leader', which kafka does not have"),
            "{unknown}"
        );
    }
}
