//! The growing column of one field: takes JSON values, can be cut back when a later field of
//! the same message is wrong.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    ListArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Fields, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use engine::{Error, Result};

use super::base64;
use super::object::{Fault, Members};
use super::scan::{self, Kind, Scanner};
use super::time::TimestampFormat;
use crate::instant;

/// What every value of a message is read with.
#[derive(Debug)]
pub(super) struct Context {
    /// How instants are written.
    pub(super) time: TimestampFormat,
    /// For strings with escapes.
    pub(super) scratch: Vec<u8>,
}

/// The values of a field so far.
#[derive(Debug)]
pub(super) struct Column {
    field: FieldRef,
    valid: NullBufferBuilder,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, i8),
    Date(Vec<i32>),
    Timestamp(Vec<i64>, TimeUnit),
    Text(Bytes),
    Binary(Bytes),
    Struct(Fields, Members),
    List(Vec<i32>, Box<Column>),
}

/// Byte strings end to end.
#[derive(Debug)]
struct Bytes {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new() -> Self {
        Self {
            ends: vec![0],
            bytes: vec![],
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let end = i32::try_from(self.bytes.len());
        self.ends
            .push(end.map_err(|_| "the batch holds more than 2 GiB of text".to_owned())?);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes
            .truncate(self.ends.last().copied().unwrap_or_default() as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let ends = taken_ends(&mut self.ends);
        (ends, Buffer::from_vec(taken(&mut self.bytes)))
    }
}

/// What a vector holds. It has room for as much again: the next batch is about as large, and
/// a vector that grows step by step is copied at every step.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

/// The same of ends, the first of which is zero.
fn taken_ends(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let last = taken(ends);
    ends.push(0);
    // They grow from zero by construction, which is what the check in `new` is about.
    OffsetBuffer::new(ScalarBuffer::from(last))
}

/// Runs a body on the vector of a primitive column.
macro_rules! each_vector {
    ($values:expr, $vector:ident => $body:expr; $($pattern:pat => $other:expr),* $(,)?) => {
        match $values {
            Values::Int8($vector) => $body,
            Values::Int16($vector) => $body,
            Values::Int32($vector) | Values::Date($vector) => $body,
            Values::Int64($vector) | Values::Timestamp($vector, _) => $body,
            Values::UInt8($vector) => $body,
            Values::UInt16($vector) => $body,
            Values::UInt32($vector) => $body,
            Values::UInt64($vector) => $body,
            Values::Float32($vector) => $body,
            Values::Float64($vector) => $body,
            Values::Decimal($vector, _, _) => $body,
            Values::Boolean($vector) => $body,
            $($pattern => $other,)*
        }
    };
}

impl Column {
    /// An empty column; an error where JSON has no value of its type.
    pub(super) fn new(field: &FieldRef) -> Result<Self> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(vec![]),
            DataType::Int8 => Values::Int8(vec![]),
            DataType::Int16 => Values::Int16(vec![]),
            DataType::Int32 => Values::Int32(vec![]),
            DataType::Int64 => Values::Int64(vec![]),
            DataType::UInt8 => Values::UInt8(vec![]),
            DataType::UInt16 => Values::UInt16(vec![]),
            DataType::UInt32 => Values::UInt32(vec![]),
            DataType::UInt64 => Values::UInt64(vec![]),
            DataType::Float32 => Values::Float32(vec![]),
            DataType::Float64 => Values::Float64(vec![]),
            DataType::Decimal128(precision, scale) => Values::Decimal(vec![], *precision, *scale),
            DataType::Date32 => Values::Date(vec![]),
            DataType::Timestamp(unit, _) => Values::Timestamp(vec![], *unit),
            DataType::Utf8 => Values::Text(Bytes::new()),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::Struct(fields) => Values::Struct(fields.clone(), Members::new(fields)?),
            DataType::List(item) => Values::List(vec![0], Box::new(Self::new(item)?)),
            other => {
                return Err(Error::invalid(format!(
                    "column '{}' has type {other}, which the format 'json' cannot read",
                    field.name()
                )));
            }
        };
        Ok(Self {
            field: Arc::clone(field),
            valid: NullBufferBuilder::new(1024),
            values,
        })
    }

    /// The field's name.
    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    /// Rows so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Appends NULL, unless the field is declared NOT NULL.
    pub(super) fn append_null(&mut self, reason: &str) -> Result<(), Fault> {
        if !self.field.is_nullable() {
            return Err(Fault::at(self.name(), reason));
        }
        self.pad();
        Ok(())
    }

    /// Appends NULL whatever the declaration: inside a STRUCT that is NULL.
    pub(super) fn pad(&mut self) {
        each_vector!(&mut self.values, vector => vector.push(Default::default());
            Values::Text(bytes) | Values::Binary(bytes) => {
                bytes.ends.push(bytes.ends.last().copied().unwrap_or_default());
            },
            Values::Struct(_, members) => members.pad(),
            Values::List(ends, _) => ends.push(ends.last().copied().unwrap_or_default()),
        );
        self.valid.append_null();
    }

    /// Appends the next value of the text.
    #[inline]
    pub(super) fn append(
        &mut self,
        scanner: &mut Scanner<'_>,
        context: &mut Context,
        depth: usize,
    ) -> Result<(), Fault> {
        let kind = scanner
            .kind()
            .map_err(|reason| Fault::at(self.name(), &reason))?;
        if kind == Kind::Null {
            scanner
                .word("null")
                .map_err(|reason| Fault::at(self.name(), &reason))?;
            return self.append_null("is NULL, the column is NOT NULL");
        }
        match self.values.append(kind, scanner, context, depth) {
            Ok(()) => {
                self.valid.append_non_null();
                Ok(())
            }
            Err(fault) => Err(fault.under(self.name())),
        }
    }

    /// Cuts the column back to so many rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        each_vector!(&mut self.values, vector => vector.truncate(rows);
            Values::Text(bytes) | Values::Binary(bytes) => bytes.truncate(rows),
            Values::Struct(_, members) => members.truncate(rows),
            Values::List(ends, items) => {
                ends.truncate(rows + 1);
                items.truncate(ends.last().copied().unwrap_or_default() as usize);
            },
        );
    }

    /// The column; it is empty afterwards.
    pub(super) fn take(&mut self) -> Result<ArrayRef> {
        let rows = self.len();
        let nulls = self.valid.finish();
        macro_rules! primitive {
            ($type:ty, $vector:expr) => {{
                let values = ScalarBuffer::from(taken($vector));
                PrimitiveArray::<$type>::try_new(values, nulls)?
            }};
        }
        Ok(match &mut self.values {
            Values::Boolean(values) => {
                let values = BooleanBuffer::from(taken(values));
                Arc::new(BooleanArray::new(values, nulls))
            }
            Values::Int8(values) => Arc::new(primitive!(Int8Type, values)),
            Values::Int16(values) => Arc::new(primitive!(Int16Type, values)),
            Values::Int32(values) => Arc::new(primitive!(Int32Type, values)),
            Values::Int64(values) => Arc::new(primitive!(Int64Type, values)),
            Values::UInt8(values) => Arc::new(primitive!(UInt8Type, values)),
            Values::UInt16(values) => Arc::new(primitive!(UInt16Type, values)),
            Values::UInt32(values) => Arc::new(primitive!(UInt32Type, values)),
            Values::UInt64(values) => Arc::new(primitive!(UInt64Type, values)),
            Values::Float32(values) => {
                let values = ScalarBuffer::from(taken(values));
                Arc::new(Float32Array::try_new(values, nulls)?)
            }
            Values::Float64(values) => {
                let values = ScalarBuffer::from(taken(values));
                Arc::new(Float64Array::try_new(values, nulls)?)
            }
            Values::Decimal(values, precision, scale) => {
                let values = ScalarBuffer::from(taken(values));
                let array = Decimal128Array::try_new(values, nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Date(values) => Arc::new(primitive!(Date32Type, values)),
            Values::Timestamp(values, _) => timestamps(&self.field, taken(values), nulls)?,
            Values::Text(bytes) => {
                let (offsets, bytes) = bytes.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Binary(bytes) => {
                let (offsets, bytes) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Struct(fields, members) => {
                let columns = members.columns.iter_mut().map(Self::take);
                let columns = columns.collect::<Result<Vec<_>>>()?;
                members.restart();
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    columns,
                    nulls,
                    rows,
                )?)
            }
            Values::List(ends, items) => {
                let offsets = taken_ends(ends);
                let item = Arc::clone(&items.field);
                Arc::new(ListArray::try_new(item, offsets, items.take()?, nulls)?)
            }
        })
    }
}

/// A column of instants of the field's unit and zone.
fn timestamps(field: &FieldRef, values: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let plain: ArrayRef = Arc::new(PrimitiveArray::<Int64Type>::try_new(values.into(), nulls)?);
    let data = plain
        .to_data()
        .into_builder()
        .data_type(field.data_type().clone());
    Ok(make_array(data.build().map_err(Error::from)?))
}

impl Values {
    /// Appends a value that is not null.
    #[inline]
    fn append(
        &mut self,
        kind: Kind,
        scanner: &mut Scanner<'_>,
        context: &mut Context,
        depth: usize,
    ) -> Result<(), Fault> {
        match self {
            Self::Float64(values) => {
                let number = numeric(kind, scanner)?;
                values.push(
                    number
                        .float()
                        .ok_or_else(|| out_of_range(number.text, "DOUBLE"))?,
                );
            }
            Self::Text(text) => {
                let raw = string(kind, scanner)?;
                if raw.escaped {
                    scan::unescape(raw.bytes, &mut text.bytes)?;
                } else {
                    text.bytes.extend_from_slice(raw.bytes);
                }
                text.close()?;
            }
            Self::Int8(values) => values.push(whole(kind, scanner, "TINYINT")?),
            Self::Int16(values) => values.push(whole(kind, scanner, "SMALLINT")?),
            Self::Int32(values) => values.push(whole(kind, scanner, "INT")?),
            Self::Int64(values) => values.push(whole(kind, scanner, "BIGINT")?),
            Self::UInt8(values) => values.push(whole(kind, scanner, "TINYINT UNSIGNED")?),
            Self::UInt16(values) => values.push(whole(kind, scanner, "SMALLINT UNSIGNED")?),
            Self::UInt32(values) => values.push(whole(kind, scanner, "INT UNSIGNED")?),
            Self::UInt64(values) => values.push(whole(kind, scanner, "BIGINT UNSIGNED")?),
            Self::Float32(values) => {
                let number = numeric(kind, scanner)?;
                values.push(
                    number
                        .float32()
                        .ok_or_else(|| out_of_range(number.text, "FLOAT"))?,
                );
            }
            Self::Decimal(values, precision, scale) => {
                values.push(decimal(kind, scanner, *precision, *scale)?);
            }
            Self::Boolean(values) => values.push(boolean(kind, scanner)?),
            Self::Timestamp(values, unit) => {
                values.push(
                    context
                        .time
                        .read(kind, scanner, &mut context.scratch, *unit)?,
                );
            }
            Self::Date(values) => values.push(date(kind, scanner)?),
            Self::Binary(binary) => {
                let raw = string(kind, scanner)?;
                let mut bytes = raw.bytes;
                if raw.escaped {
                    context.scratch.clear();
                    scan::unescape(raw.bytes, &mut context.scratch)?;
                    bytes = &context.scratch;
                }
                base64::decode(bytes, &mut binary.bytes)?;
                binary.close()?;
            }
            Self::Struct(_, members) => {
                if kind != Kind::Object {
                    return Err(unexpected("an object", kind));
                }
                members.append(scanner, context, depth + 1)?;
            }
            Self::List(ends, items) => {
                if kind != Kind::Array {
                    return Err(unexpected("an array", kind));
                }
                scanner.expect(b'[')?;
                let mut first = true;
                while scanner.more(first, b']')? {
                    items.append(scanner, context, depth + 1)?;
                    first = false;
                }
                let end = i32::try_from(items.len());
                ends.push(
                    end.map_err(|_| Fault::new("the batch holds too many items".to_owned()))?,
                );
            }
        }
        Ok(())
    }
}

fn boolean(kind: Kind, scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    match kind {
        Kind::True => scanner.word("true")?,
        Kind::False => scanner.word("false")?,
        _ => return Err(unexpected("a boolean", kind)),
    }
    Ok(kind == Kind::True)
}

fn date(kind: Kind, scanner: &mut Scanner<'_>) -> Result<i32, Fault> {
    let raw = string(kind, scanner)?;
    let days = instant::parse_date(raw.bytes).and_then(|days| i32::try_from(days).ok());
    days.ok_or_else(|| {
        let found = quoted(raw.bytes);
        Fault::new(format!(
            "expected a date such as '2024-01-31', found {found}"
        ))
    })
}

fn decimal(kind: Kind, scanner: &mut Scanner<'_>, precision: u8, scale: i8) -> Result<i128, Fault> {
    let number = numeric(kind, scanner)?;
    let limit = 10_i128.pow(u32::from(precision));
    match number.scaled(i32::from(scale)) {
        Ok((value, _)) if -limit < value && value < limit => Ok(value),
        _ => Err(out_of_range(
            number.text,
            &format!("DECIMAL({precision}, {scale})"),
        )),
    }
}

fn numeric<'a>(kind: Kind, scanner: &mut Scanner<'a>) -> Result<super::number::Number<'a>, Fault> {
    if kind == Kind::Number {
        Ok(scanner.number()?)
    } else {
        Err(unexpected("a number", kind))
    }
}

fn string<'a>(kind: Kind, scanner: &mut Scanner<'a>) -> Result<scan::Raw<'a>, Fault> {
    if kind == Kind::String {
        Ok(scanner.string()?)
    } else {
        Err(unexpected("a string", kind))
    }
}

#[inline]
fn whole<T: TryFrom<i128>>(kind: Kind, scanner: &mut Scanner<'_>, name: &str) -> Result<T, Fault> {
    if kind != Kind::Number {
        return Err(unexpected("a whole number", kind));
    }
    let number = scanner.number()?;
    let value = number.whole().map_err(|what| {
        Fault::new(format!(
            "{} {what}, the column is {name}",
            shown(number.text)
        ))
    })?;
    T::try_from(value).map_err(|_| out_of_range(number.text, name))
}

#[cold]
fn unexpected(wanted: &str, found: Kind) -> Fault {
    Fault::new(format!("expected {wanted}, found {}", found.name()))
}

#[cold]
fn out_of_range(text: &[u8], name: &str) -> Fault {
    Fault::new(format!("{} is out of range for {name}", shown(text)))
}

/// The beginning of a text, for a reason.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The same in quotes.
pub(super) fn quoted(text: &[u8]) -> String {
    format!("'{}'", shown(text))
}
