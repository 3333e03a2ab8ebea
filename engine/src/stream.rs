//! What SQL and the connectors tell each other about a stream, and the names of system columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::time::TIMESTAMP;

/// System column: when the row arrived, unique and increasing per shard.
pub const ARRIVED_AT: &str = "_arrived_at";
/// System column: dense number of the split the row came from.
pub const SPLIT: &str = "_split";
/// System column: whether the row came after its watermark.
pub const LATE: &str = "_late";

/// Words that make the value of a key a secret.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "token",
    "sasl",
    "credential",
    "api-key",
    "apikey",
    "api_key",
    "authorization",
];

/// A table as its DDL states it: the sql crate writes it, connectors read it, and the engine
/// never looks into `options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// The table's name.
    pub name: String,
    /// Name of the connector (`kafka`, `parquet`, …).
    pub connector: String,
    /// The connector's own options: everything in `WITH (…)` that the tables do not share.
    pub options: BTreeMap<String, String>,
    /// The columns that a format decodes or encodes. A field that is not nullable was declared
    /// `NOT NULL`: a source rejects rows that break it.
    pub schema: SchemaRef,
    /// The columns that come from the message's envelope instead; a source appends them to
    /// `schema`, in this order.
    pub metadata: Vec<MetadataColumn>,
    /// The columns of the `key` option; empty where there is none. What is written has the key in
    /// its messages; of what is read, all rows of a key are on one split, which the intake checks.
    pub key: Vec<String>,
}

/// `name TYPE METADATA FROM 'key'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// The column's name and type.
    pub field: Arc<Field>,
    /// What it reads: `partition`, `offset`, `timestamp`, `key`, `headers`.
    pub key: String,
}

impl StreamSpec {
    /// What a source hands over: the decoded columns, then the metadata columns. All are
    /// nullable here; the intake enforces `NOT NULL`.
    #[must_use]
    pub fn source_schema(&self) -> SchemaRef {
        let metadata = self.metadata.iter().map(|column| Arc::clone(&column.field));
        let fields = self.schema.fields().iter().cloned().chain(metadata);
        let nullable = fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        Arc::new(Schema::new(nullable.collect::<Vec<_>>()))
    }
}

/// Whether the value of an option is a secret by the look of its key: never shown or stored.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// The columns the intake appends to every row of a table, in this order.
#[must_use]
pub fn system_fields() -> [Field; 3] {
    [
        Field::new(ARRIVED_AT, TIMESTAMP, false),
        Field::new(SPLIT, DataType::UInt32, false),
        Field::new(LATE, DataType::Boolean, false),
    ]
}
