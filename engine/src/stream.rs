//! What SQL and the connectors tell each other about a stream, and the names of system columns.

use std::collections::BTreeMap;
use std::ops::Range;
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

/// Where a text with a URL in it may hold secrets, by bytes: who signs in, up to the `@`, and the
/// values of its query.
#[must_use]
pub fn url_secrets(text: &str) -> Vec<Range<usize>> {
    let Some(scheme) = text.find("://") else {
        return vec![];
    };
    let start = scheme + 3;
    let ends = |from: usize, stops: &[char]| {
        let length = text[from..].find(stops);
        length.map_or(text.len(), |length| from + length)
    };
    let path = ends(start, &['/', '?', '#']);
    let query = ends(start, &['?']);
    // A password may hold what ends a host.
    let at = text[start..].rfind('@').map(|at| start + at);
    let at = at.filter(|at| *at < path.max(query));
    let mut hidden: Vec<_> = at.map(|at| start..at).into_iter().collect();
    let mut from = query;
    while from < text.len() {
        let end = ends(from, &['&', '#']);
        let name = ends(from, &['=', '&', '#']);
        if name < end {
            hidden.push(name + 1..end);
        }
        from = end + 1;
    }
    hidden.retain(|hidden| !hidden.is_empty());
    hidden
}

/// The text with `***` for each of its [`url_secrets`], as logs and errors may show it.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for hidden in url_secrets(text) {
        shown.push_str(&text[from..hidden.start]);
        shown.push_str("***");
        from = hidden.end;
    }
    shown.push_str(&text[from..]);
    shown
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

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_shown_url_has_no_secret() {
        let shown = [
            (
                "https://me:pass@host:8443/a/b?key=secret&x=1",
                "https://***@host:8443/a/b?key=***&x=***",
            ),
            ("wss://me:p/a@ss@host/feed?on", "wss://***@host/feed?on"),
            (
                "http://host/a?é=ü&flag#part=whole",
                "http://host/a?é=***&flag#part=***",
            ),
            ("http://host", "http://host"),
            ("s3://bucket/a@b/c", "s3://***@b/c"),
            ("no URL, me:pass@host?a=b", "no URL, me:pass@host?a=b"),
            ("://@?=", "://@?="),
        ];
        for (text, expected) in shown {
            assert_eq!(without_secrets(text), expected, "{text}");
        }
    }
}
