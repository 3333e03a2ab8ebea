//! Tables and readers for tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use engine::stream::MetadataColumn;
use engine::{Error, Polled, Result, Sink, Source, StreamSpec};

/// Longest wait for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// A table `t (symbol STRING, price DOUBLE, n BIGINT)`.
pub(crate) fn table(connector: &str, options: &[(&str, &str)]) -> StreamSpec {
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
    ]);
    let owned = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    StreamSpec {
        name: "t".to_owned(),
        connector: connector.to_owned(),
        options: owned.collect(),
        schema: Arc::new(schema),
        metadata: vec![],
        key: vec![],
    }
}

/// The same table with a metadata column.
pub(crate) fn with_metadata(mut stream: StreamSpec, key: &str, declared: DataType) -> StreamSpec {
    let field = Arc::new(Field::new(format!("m_{key}"), declared, true));
    stream.metadata.push(MetadataColumn {
        field,
        key: key.to_owned(),
    });
    stream
}

/// The same table with another option.
pub(crate) fn with(mut stream: StreamSpec, key: &str, value: &str) -> StreamSpec {
    stream.options.insert(key.to_owned(), value.to_owned());
    stream
}

pub(crate) fn open(stream: &StreamSpec) -> Result<Box<dyn Source>> {
    connectors::find(&stream.connector)?.source(stream)
}

pub(crate) fn open_sink(stream: &StreamSpec) -> Result<Box<dyn Sink>> {
    let owner = connectors::Owner {
        job: "test".to_owned(),
        shard: 0,
    };
    connectors::find(&stream.connector)?.sink(stream, &owner)
}

/// Rows of the table, all with one price.
pub(crate) fn rows(symbols: &[&str], first: i64) -> RecordBatch {
    let count = symbols.len();
    let numbers: Vec<_> = (first..).take(count).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("symbol", Arc::new(StringArray::from(symbols.to_vec()))),
        ("price", Arc::new(Float64Array::from(vec![1.5; count]))),
        ("n", Arc::new(Int64Array::from(numbers))),
    ];
    let nullable = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
}

/// What one poll must give within the time of a test.
pub(crate) async fn poll(source: &mut dyn Source) -> Result<Option<Polled>> {
    tokio::time::timeout(WITHIN, source.next())
        .await
        .expect("the source gives nothing")
}

/// Polls until there are so many rows and rejected messages.
pub(crate) async fn read(source: &mut dyn Source, count: usize) -> Vec<Polled> {
    let mut all = vec![];
    let mut found = 0;
    while found < count {
        let polled = poll(source).await.unwrap().expect("the input ended early");
        found += polled.rows.num_rows() + polled.rejected.len();
        all.push(polled);
    }
    assert_eq!(found, count, "more came than was asked for");
    all
}

/// The column `symbol` of everything read.
pub(crate) fn symbols(polled: &[Polled]) -> Vec<String> {
    polled
        .iter()
        .flat_map(|p| strings(&p.rows, "symbol"))
        .collect()
}

/// The column `n` of everything read.
pub(crate) fn numbers(polled: &[Polled]) -> Vec<i64> {
    polled.iter().flat_map(|p| longs(&p.rows, "n")).collect()
}

/// The reasons of everything rejected.
pub(crate) fn reasons(polled: &[Polled]) -> Vec<String> {
    polled
        .iter()
        .flat_map(|p| p.rejected.iter().map(|r| r.reason.clone()))
        .collect()
}

pub(crate) fn strings(rows: &RecordBatch, column: &str) -> Vec<String> {
    let column = rows.column_by_name(column).unwrap().as_string::<i32>();
    column
        .iter()
        .map(|value| value.unwrap_or("NULL").to_owned())
        .collect()
}

pub(crate) fn longs(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

/// The error of opening a source or a sink.
pub(crate) fn refusal<T>(opened: Result<T>) -> Error {
    opened.err().expect("it was to be refused")
}
