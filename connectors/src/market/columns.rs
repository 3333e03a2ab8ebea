//! The columns that the simulator can fill.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use engine::{Error, Result, StreamSpec};

use super::simulator::Tick;
use crate::{instant, options};

const NAMES: [&str; 17] = [
    "symbol",
    "ts",
    "timestamp",
    "price",
    "volume",
    "high",
    "low",
    "open",
    "change",
    "change_percent",
    "market_cap",
    "pe_ratio",
    "dividend_yield",
    "bid",
    "ask",
    "side",
    "trade_id",
];

/// A column of the table and what fills it.
#[derive(Debug)]
pub(super) struct Column {
    content: Content,
    data_type: DataType,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Symbol,
    Time,
    Side,
    Whole(fn(&Tick) -> i64),
    Number(fn(&Tick) -> f64),
}

impl Content {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "symbol" => Self::Symbol,
            "ts" | "timestamp" => Self::Time,
            "side" => Self::Side,
            "volume" => Self::Whole(|tick| tick.volume),
            "trade_id" => Self::Whole(|tick| tick.id),
            "price" => Self::Number(|tick| tick.price),
            "high" => Self::Number(|tick| tick.high),
            "low" => Self::Number(|tick| tick.low),
            "open" => Self::Number(|tick| tick.open),
            "change" => Self::Number(|tick| cents(tick.price - tick.open)),
            "change_percent" => {
                Self::Number(|tick| cents((tick.price - tick.open) / tick.open * 100.0))
            }
            "market_cap" => Self::Number(|tick| cents(tick.price * tick.shares)),
            "pe_ratio" => Self::Number(|tick| cents(tick.price / tick.earnings)),
            "dividend_yield" => Self::Number(|tick| cents(tick.dividend / tick.price * 100.0)),
            "bid" => Self::Number(|tick| cents((tick.price - tick.half_spread).max(0.01))),
            "ask" => Self::Number(|tick| cents(tick.price + tick.half_spread)),
            _ => return None,
        })
    }

    /// What the content is, and what it may be declared as besides.
    fn types(self) -> (&'static str, fn(&DataType) -> bool) {
        match self {
            Self::Symbol | Self::Side => ("STRING", |_| false),
            Self::Time => ("TIMESTAMP or STRING", |t| {
                matches!(t, DataType::Utf8 | DataType::Timestamp(_, _))
            }),
            Self::Whole(_) => ("BIGINT, DOUBLE, DECIMAL or STRING", |t| {
                matches!(
                    t,
                    DataType::UInt64
                        | DataType::Float64
                        | DataType::Decimal128(_, _)
                        | DataType::Utf8
                )
            }),
            Self::Number(_) => ("DOUBLE, FLOAT or DECIMAL", |t| {
                matches!(t, DataType::Float32 | DataType::Decimal128(_, _))
            }),
        }
    }

    fn natural(self) -> DataType {
        match self {
            Self::Symbol | Self::Side => DataType::Utf8,
            Self::Time => engine::time::TIMESTAMP,
            Self::Whole(_) => DataType::Int64,
            Self::Number(_) => DataType::Float64,
        }
    }
}

/// Rounded to two places, half away from zero.
fn cents(value: f64) -> f64 {
    let half = if value < 0.0 { -0.5 } else { 0.5 };
    (value * 100.0 + half) as i64 as f64 / 100.0
}

impl Column {
    pub(super) fn new(stream: &StreamSpec, field: &FieldRef) -> Result<Self> {
        let name = field.name();
        let content = Content::of(name).ok_or_else(|| {
            let hint = match options::nearest(name, NAMES) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it has {}", NAMES.join(", ")),
            };
            Error::invalid(format!(
                "table '{}': the connector 'market' has no column '{name}'; {hint}",
                stream.name
            ))
        })?;
        let data_type = field.data_type().clone();
        let (expected, other) = content.types();
        if data_type != content.natural() && !other(&data_type) {
            return Err(Error::invalid(format!(
                "table '{}': column '{name}' of the connector 'market' is {expected}, \
                 not {data_type}",
                stream.name
            )));
        }
        Ok(Self { content, data_type })
    }

    /// The column of these rows.
    pub(super) fn build(&self, ticks: &[Tick], names: &[String]) -> Result<ArrayRef> {
        let natural: ArrayRef = match self.content {
            Content::Symbol => strings(
                ticks
                    .iter()
                    .map(|tick| names[tick.symbol as usize].as_str()),
            )?,
            Content::Side => strings(ticks.iter().map(|t| if t.buy { "buy" } else { "sell" }))?,
            Content::Time if self.data_type == DataType::Utf8 => {
                let mut text = vec![];
                Arc::new(StringArray::from_iter_values(ticks.iter().map(|tick| {
                    text.clear();
                    instant::write(&mut text, tick.time, b'T');
                    text.push(b'Z');
                    String::from_utf8_lossy(&text).into_owned()
                })))
            }
            Content::Time => Arc::new(TimestampNanosecondArray::from_iter_values(
                ticks.iter().map(|t| t.time),
            )),
            Content::Whole(value) => {
                Arc::new(Int64Array::from_iter_values(ticks.iter().map(value)))
            }
            Content::Number(value) => {
                Arc::new(Float64Array::from_iter_values(ticks.iter().map(value)))
            }
        };
        if *natural.data_type() == self.data_type {
            return Ok(natural);
        }
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        Ok(cast_with_options(&natural, &self.data_type, &strict)?)
    }
}

/// A column of interned texts: sized once, then copied.
fn strings<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Result<ArrayRef> {
    let mut ends = Vec::with_capacity(texts.size_hint().0 + 1);
    let mut bytes = Vec::with_capacity(texts.clone().map(str::len).sum());
    ends.push(0);
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        ends.push(i32::try_from(bytes.len()).map_err(|_| Error::internal("a batch is too large"))?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    Ok(Arc::new(StringArray::try_new(
        offsets,
        Buffer::from_vec(bytes),
        None,
    )?))
}
