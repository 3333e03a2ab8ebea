//! Tables and drives that the modules share.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something is not as expected"
)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use connectors::Owner;
use engine::time::TIMESTAMP;
use engine::{Source, StreamSpec};

pub(crate) const DAY: i64 = 86_400_000_000_000;

pub(crate) fn stream(connector: &str, fields: Vec<Field>, options: &[(&str, &str)]) -> StreamSpec {
    StreamSpec {
        name: "t".to_owned(),
        connector: connector.to_owned(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        schema: Arc::new(Schema::new(fields)),
        metadata: vec![],
        key: vec![],
    }
}

pub(crate) fn owner() -> Owner {
    Owner {
        job: "job".to_owned(),
        shard: 0,
    }
}

/// Symbol, price and instant.
pub(crate) fn trade_fields() -> Vec<Field> {
    vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("ts", TIMESTAMP, true),
    ]
}

/// One row per instant.
pub(crate) fn trades(times: &[i64]) -> RecordBatch {
    let symbols = times
        .iter()
        .map(|time| if time % 2 == 0 { "A" } else { "B" });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(symbols)),
        Arc::new(
            times
                .iter()
                .map(|time| Some(*time as f64 / 8.0))
                .collect::<Float64Array>(),
        ),
        Arc::new(TimestampNanosecondArray::from(times.to_vec())),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(trade_fields())), columns).expect("three columns")
}

/// Everything a bounded source gives: the rows, and split and offset of each.
pub(crate) async fn drain(source: &mut dyn Source) -> (RecordBatch, Vec<(String, i64)>) {
    let mut batches = vec![];
    let mut places = vec![];
    while let Some(polled) = source.next().await.expect("rows") {
        assert_eq!(polled.rows.num_rows(), polled.offsets.len());
        assert!(
            polled
                .offsets
                .last()
                .is_none_or(|last| *last < polled.next_offset)
        );
        places.extend(
            polled
                .offsets
                .iter()
                .map(|offset| (polled.split.to_string(), *offset)),
        );
        batches.push(polled.rows);
    }
    let schema: SchemaRef = match batches.first() {
        Some(batch) => batch.schema(),
        None => Arc::new(Schema::empty()),
    };
    (
        concat_batches(&schema, &batches).expect("one schema"),
        places,
    )
}
