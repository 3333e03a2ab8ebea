//! Formats: bytes to columns and back. They know no transport.

pub mod json;

use std::fmt::Debug;

use arrow::array::RecordBatch;
use engine::{Result, StreamSpec};

use crate::options;

/// The names that `'format' = '…'` knows.
const NAMES: [&str; 1] = ["json"];

/// Whether an option belongs to the format and not to the connector.
#[must_use]
pub fn owns(key: &str) -> bool {
    key == "format" || key.starts_with("json.")
}

/// The decoder that the table's `format` option names; `json` where there is none.
pub fn decoder(stream: &StreamSpec) -> Result<Box<dyn Decoder>> {
    check_name(stream)?;
    json::decoder(stream)
}

/// The encoder that the table's `format` option names; `json` where there is none.
pub fn encoder(stream: &StreamSpec) -> Result<Box<dyn Encoder>> {
    check_name(stream)?;
    json::encoder(stream)
}

fn check_name(stream: &StreamSpec) -> Result<()> {
    let name = stream
        .options
        .get("format")
        .map_or(NAMES[0], String::as_str);
    if NAMES.contains(&name) {
        return Ok(());
    }
    let names = NAMES.join("', '");
    Err(options::invalid(
        stream,
        "format",
        &format!("is '{name}', the formats are '{names}'"),
    ))
}

/// Messages into rows: one message is one row. Call `take` at the latest every 8,192 messages
/// or 64 MB: a column of a batch holds at most 2 GiB of text.
pub trait Decoder: Debug + Send {
    /// Appends the message as a row, or says what is wrong with it and appends nothing.
    fn decode(&mut self, payload: &[u8]) -> Result<(), String>;
    /// The rows appended since the last call, with the columns of
    /// [`StreamSpec::schema`](engine::StreamSpec::schema), all nullable.
    fn take(&mut self) -> Result<RecordBatch>;
}

/// Rows into messages.
pub trait Encoder: Debug + Send {
    /// Appends one message per row.
    fn encode(&mut self, rows: &RecordBatch, messages: &mut Messages) -> Result<()>;
}

/// Messages end to end in one buffer.
#[derive(Debug, Default, Clone)]
pub struct Messages {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Where each message ends.
    pub ends: Vec<usize>,
}

impl Messages {
    /// The messages, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }

    /// Forgets the messages and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
