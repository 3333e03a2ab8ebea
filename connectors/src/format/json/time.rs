//! `json.timestamp-format.standard`: instants as JSON values.

use arrow::datatypes::TimeUnit;
use serde::Deserialize;

use super::column::quoted;
use super::object::Fault;
use super::scan::{self, Kind, Scanner};
use crate::instant;

/// How a TIMESTAMP stands in JSON. The two text forms are written as Flink writes them, and each
/// reads both; the others are numbers since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum TimestampFormat {
    /// `"2024-01-02 09:30:00.123"`: the default.
    #[default]
    #[serde(rename = "SQL")]
    Sql,
    /// `"2024-01-02T09:30:00.123"`, with a `Z` where the column has a time zone.
    #[serde(rename = "ISO-8601")]
    Iso,
    /// As ISO-8601 with a `Z` always: instants are UTC. No option of a table asks for it.
    #[serde(skip)]
    Rfc3339,
    /// Seconds; a fraction of up to nine digits is read.
    #[serde(rename = "epoch-seconds")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "epoch-millis")]
    Millis,
    /// Microseconds.
    #[serde(rename = "epoch-micros")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "epoch-nanos")]
    Nanos,
}

/// Nanoseconds in one of the unit.
pub(super) fn nanos_in(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

impl TimestampFormat {
    /// Digits between one of the number's unit and a nanosecond; `None` for texts.
    pub(super) fn digits(self) -> Option<u32> {
        match self {
            Self::Sql | Self::Iso | Self::Rfc3339 => None,
            Self::Seconds => Some(9),
            Self::Millis => Some(6),
            Self::Micros => Some(3),
            Self::Nanos => Some(0),
        }
    }

    /// Reads an instant as a count of `unit`.
    pub(super) fn read(
        self,
        kind: Kind,
        scanner: &mut Scanner<'_>,
        scratch: &mut Vec<u8>,
        unit: TimeUnit,
    ) -> Result<i64, Fault> {
        let unexpected = |wanted: &str| {
            Fault::new(format!(
                "expected {wanted} as a timestamp, found {}",
                kind.name()
            ))
        };
        let nanos = if let Some(digits) = self.digits() {
            if kind != Kind::Number {
                return Err(unexpected("a number"));
            }
            let number = scanner.number()?;
            let scaled = number
                .scaled(digits as i32)
                .ok()
                .and_then(|(v, _)| i64::try_from(v).ok());
            scaled.ok_or_else(|| {
                let shown = super::column::shown(number.text);
                Fault::new(format!("{shown} is out of range for TIMESTAMP"))
            })?
        } else {
            if kind != Kind::String {
                return Err(unexpected("a string"));
            }
            let raw = scanner.string()?;
            let mut text = raw.bytes;
            if raw.escaped {
                scratch.clear();
                scan::unescape(raw.bytes, scratch)?;
                text = scratch;
            }
            instant::parse(text).ok_or_else(|| {
                Fault::new(format!(
                    "expected a timestamp such as '2024-01-02 09:30:00.123' between 1677 and 2262, \
                     found {}",
                    quoted(text)
                ))
            })?
        };
        Ok(nanos.div_euclid(nanos_in(unit)))
    }
}
