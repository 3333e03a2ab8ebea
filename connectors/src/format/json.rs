//! `'format' = 'json'`: one object per message.
//!
//! The scanner is our own: sonic-rs descends into unknown fields without a bound, so a message
//! of brackets would overflow the stack, and it reads quoted numbers as numbers.

mod base64;
mod column;
mod decode;
mod encode;
mod number;
mod object;
pub mod objects;
mod scan;
mod time;

use engine::{Result, StreamSpec};
use serde::Deserialize;

pub use time::TimestampFormat;

use super::{Decoder, Encoder};
use crate::options;

/// Options of the format `json`.
///
/// Reading: fields are found by the column's exact name. A field that is missing is NULL, one
/// that no column asks for is ignored. A message is rejected, with the field at fault and the
/// reason, where it is not one JSON object in UTF-8, where a value has another type than the
/// column (`"1.5"` is a string and no DOUBLE), does not fit it (`1e400`, `3.5` for BIGINT), where
/// a `NOT NULL` column gets none, where a column's field comes twice, or where it nests deeper
/// than 64 levels. `3.0` is fine for BIGINT and `3` for DOUBLE; a DECIMAL is rounded to its scale.
///
/// Writing: every column, NULL as `null`; floats in the shortest form that reads back as the same
/// value, NaN and the infinities as `null`; BINARY in base64; STRUCT and LIST nested.
#[derive(Debug, Default, Deserialize)]
pub struct JsonOptions {
    /// `json`.
    #[serde(default)]
    pub format: Option<options::Text>,
    /// How a TIMESTAMP is written: `SQL` (default), `ISO-8601`, or as a number `epoch-seconds`,
    /// `epoch-millis`, `epoch-micros`, `epoch-nanos`.
    #[serde(default, rename = "json.timestamp-format.standard")]
    pub timestamp_format: TimestampFormat,
}

/// A decoder of the table's columns.
pub(super) fn decoder(stream: &StreamSpec) -> Result<Box<dyn Decoder>> {
    let options: JsonOptions = options::parse_format(stream)?;
    Ok(Box::new(decode::Decoder::new(
        stream,
        options.timestamp_format,
    )?))
}

/// An encoder of the table's columns.
pub(super) fn encoder(stream: &StreamSpec) -> Result<Box<dyn Encoder>> {
    let options: JsonOptions = options::parse_format(stream)?;
    Ok(Box::new(encode::Encoder::new(
        stream,
        options.timestamp_format,
    )?))
}

#[cfg(test)]
mod tests;
