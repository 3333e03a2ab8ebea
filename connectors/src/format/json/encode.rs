//! Rows into JSON messages, one object per row, fields in the order of the DDL.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, GenericStringArray, PrimitiveArray, RecordBatch,
    StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use engine::{Error, Result, StreamSpec};

use super::time::{TimestampFormat, nanos_in};
use super::{base64, scan};
use crate::format::{self, Messages};
use crate::instant;

/// Writes rows as JSON.
#[derive(Debug)]
pub(super) struct Encoder {
    schema: SchemaRef,
    time: TimestampFormat,
    /// Per column `{"name":` or `,"name":`.
    names: Vec<Vec<u8>>,
}

impl Encoder {
    pub(super) fn new(stream: &StreamSpec, time: TimestampFormat) -> Result<Self> {
        for field in stream.schema.fields() {
            if !writable(field.data_type()) {
                return Err(Error::invalid(format!(
                    "column '{}' has type {}, which the format 'json' cannot write",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        let names = names(
            stream
                .schema
                .fields()
                .iter()
                .map(|field| field.name().as_str()),
        );
        Ok(Self {
            schema: SchemaRef::clone(&stream.schema),
            time,
            names,
        })
    }
}

impl format::Encoder for Encoder {
    fn encode(&mut self, rows: &RecordBatch, messages: &mut Messages) -> Result<()> {
        let mut cells = Vec::with_capacity(self.names.len());
        for (i, field) in self.schema.fields().iter().enumerate() {
            let column = rows.columns().get(i).ok_or_else(|| {
                Error::internal(format!("rows for JSON have no column '{}'", field.name()))
            })?;
            cells.push(Cells::new(field.name(), column.as_ref(), self.time)?);
        }
        let out = &mut messages.bytes;
        out.reserve(rows.num_rows() * self.names.len() * 20);
        messages.ends.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            if cells.is_empty() {
                out.push(b'{');
            }
            for (name, cells) in self.names.iter().zip(&cells) {
                out.extend_from_slice(name);
                cells.write(row, out);
            }
            out.push(b'}');
            messages.ends.push(out.len());
        }
        Ok(())
    }
}

fn names<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
    let written = |(i, name): (usize, &str)| {
        let mut out = vec![if i == 0 { b'{' } else { b',' }];
        write_string(name, &mut out);
        out.push(b':');
        out
    };
    fields.enumerate().map(written).collect()
}

pub(super) fn writable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| writable(field.data_type())),
        DataType::List(item) => writable(item.data_type()),
        DataType::Dictionary(key, value) => **key == DataType::Int32 && writable(value),
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(_, _)
        | DataType::Timestamp(_, _)
        | DataType::Null => true,
        other => other.is_integer() || matches!(other, DataType::Float32 | DataType::Float64),
    }
}

/// A column with its type resolved once per batch.
pub(super) enum Cells<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, i8),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp {
        values: &'a [i64],
        nulls: Option<&'a NullBuffer>,
        format: Instants,
    },
    Text(&'a GenericStringArray<i32>),
    LargeText(&'a GenericStringArray<i64>),
    TextView(&'a StringViewArray),
    Binary(&'a BinaryArray),
    Dictionary(&'a PrimitiveArray<Int32Type>, Box<Cells<'a>>),
    Struct(Option<&'a NullBuffer>, Vec<(Vec<u8>, Cells<'a>)>),
    List(
        Option<&'a NullBuffer>,
        &'a OffsetBuffer<i32>,
        Box<Cells<'a>>,
    ),
}

/// How the instants of a column are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    format: TimestampFormat,
    /// Nanoseconds in one of the column's unit.
    unit: i64,
    zone: bool,
}

impl<'a> Cells<'a> {
    pub(super) fn new(name: &str, array: &'a dyn Array, time: TimestampFormat) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int8 => Self::Int8(array.as_primitive()),
            DataType::Int16 => Self::Int16(array.as_primitive()),
            DataType::Int32 => Self::Int32(array.as_primitive()),
            DataType::Int64 => Self::Int64(array.as_primitive()),
            DataType::UInt8 => Self::UInt8(array.as_primitive()),
            DataType::UInt16 => Self::UInt16(array.as_primitive()),
            DataType::UInt32 => Self::UInt32(array.as_primitive()),
            DataType::UInt64 => Self::UInt64(array.as_primitive()),
            DataType::Float32 => Self::Float32(array.as_primitive()),
            DataType::Float64 => Self::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive(), *scale),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => {
                        array.as_primitive::<TimestampMillisecondType>().values()
                    }
                    TimeUnit::Microsecond => {
                        array.as_primitive::<TimestampMicrosecondType>().values()
                    }
                    TimeUnit::Nanosecond => {
                        array.as_primitive::<TimestampNanosecondType>().values()
                    }
                };
                let format = Instants {
                    format: time,
                    unit: nanos_in(*unit),
                    zone: zone.is_some() || time == TimestampFormat::Rfc3339,
                };
                Self::Timestamp {
                    values,
                    nulls: array.nulls(),
                    format,
                }
            }
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string()),
            DataType::Utf8View => Self::TextView(array.as_string_view()),
            DataType::Binary => Self::Binary(array.as_binary()),
            DataType::Dictionary(key, _) if **key == DataType::Int32 => {
                let dictionary = array.as_dictionary::<Int32Type>();
                let values = Self::new(name, dictionary.values().as_ref(), time)?;
                Self::Dictionary(dictionary.keys(), Box::new(values))
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let prefixes = names(fields.iter().map(|field| field.name().as_str()));
                let columns = prefixes.into_iter().zip(array.columns());
                let columns = columns
                    .map(|(prefix, column)| Ok((prefix, Self::new(name, column.as_ref(), time)?)));
                Self::Struct(array.nulls(), columns.collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                let items = Self::new(name, array.values().as_ref(), time)?;
                Self::List(array.nulls(), array.offsets(), Box::new(items))
            }
            other => {
                return Err(Error::invalid(format!(
                    "column '{name}' has type {other}, which the format 'json' cannot write"
                )));
            }
        })
    }

    #[inline]
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        macro_rules! valid {
            ($array:expr, $value:ident => $write:expr) => {
                if $array.is_valid(row) {
                    let $value = $array.value(row);
                    $write
                } else {
                    out.extend_from_slice(b"null")
                }
            };
        }
        let some = |nulls: Option<&NullBuffer>| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match self {
            Self::Float64(array) => valid!(array, v => write_float(v, out)),
            Self::Text(array) => valid!(array, v => write_string(v, out)),
            Self::Int64(array) => valid!(array, v => write_whole(v, out)),
            Self::Timestamp {
                values,
                nulls,
                format,
            } if some(*nulls) => {
                format.write(values[row], out);
            }
            Self::Null | Self::Timestamp { .. } => out.extend_from_slice(b"null"),
            Self::Boolean(array) => {
                valid!(array, v => out.extend_from_slice(if v { b"true" } else { b"false" }));
            }
            Self::Int8(array) => valid!(array, v => write_whole(v, out)),
            Self::Int16(array) => valid!(array, v => write_whole(v, out)),
            Self::Int32(array) => valid!(array, v => write_whole(v, out)),
            Self::UInt8(array) => valid!(array, v => write_whole(v, out)),
            Self::UInt16(array) => valid!(array, v => write_whole(v, out)),
            Self::UInt32(array) => valid!(array, v => write_whole(v, out)),
            Self::UInt64(array) => valid!(array, v => write_whole(v, out)),
            Self::Float32(array) => valid!(array, v => write_float32(v, out)),
            Self::Decimal(array, scale) => valid!(array, v => write_decimal(v, *scale, out)),
            Self::Date(array) => valid!(array, v => {
                out.push(b'"');
                instant::write_date(out, i64::from(v));
                out.push(b'"');
            }),
            Self::LargeText(array) => valid!(array, v => write_string(v, out)),
            Self::TextView(array) => valid!(array, v => write_string(v, out)),
            Self::Binary(array) => valid!(array, v => {
                out.push(b'"');
                base64::encode(v, out);
                out.push(b'"');
            }),
            Self::Dictionary(keys, values) => valid!(keys, key => values.write(key as usize, out)),
            Self::Struct(nulls, columns) => {
                if !some(*nulls) {
                    out.extend_from_slice(b"null");
                    return;
                }
                if columns.is_empty() {
                    out.push(b'{');
                }
                for (name, cells) in columns {
                    out.extend_from_slice(name);
                    cells.write(row, out);
                }
                out.push(b'}');
            }
            Self::List(nulls, offsets, items) => {
                if !some(*nulls) {
                    out.extend_from_slice(b"null");
                    return;
                }
                out.push(b'[');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for item in start..end {
                    if item > start {
                        out.push(b',');
                    }
                    items.write(item, out);
                }
                out.push(b']');
            }
        }
    }
}

impl Instants {
    fn write(self, value: i64, out: &mut Vec<u8>) {
        let between = match self.format {
            TimestampFormat::Iso | TimestampFormat::Rfc3339 => b'T',
            _ => b' ',
        };
        let nanos = i128::from(value) * i128::from(self.unit);
        if let Some(digits) = self.format.digits() {
            write_whole(nanos.div_euclid(10_i128.pow(digits)), out);
            return;
        }
        out.push(b'"');
        match i64::try_from(nanos) {
            Ok(nanos) => instant::write(out, nanos, between),
            // Coarser units reach further than nanoseconds do: there the day carries the rest.
            Err(_) => instant::write_far(out, nanos, between),
        }
        if self.zone {
            out.push(b'Z');
        }
        out.push(b'"');
    }
}

fn write_whole<I: itoa::Integer>(value: I, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn write_float32(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits);
        if value != 0 {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    if digits.len() <= places {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - digits.len(), b'0');
        out.extend_from_slice(digits);
    } else {
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// Writes a string with its quotes; only quotes, backslashes and control characters are escaped.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(scan::plain(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(*byte)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}
