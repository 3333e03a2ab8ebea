//! Columns as the kernels see them: 64-bit words (floats by their bits, integers, instants,
//! booleans) and texts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::kernel::as_double;

/// What a kernel reads of its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The value.
    Value,
    /// The value as a DOUBLE.
    Real,
    /// One for each row that has a value, or for each row where there is no argument.
    Presence,
}

/// How the cells of a column are read and written.
pub(super) trait Values: Send + Sync + 'static {
    type Cell: Clone + Send + Serialize + DeserializeOwned;
    type Column;
    fn read(reading: Reading, arguments: &[ArrayRef], rows: usize) -> Result<Self::Column>;
    fn get(column: &Self::Column, row: usize) -> Option<Self::Cell>;
    fn array(cells: Vec<Option<Self::Cell>>, data_type: &DataType) -> Result<ArrayRef>;
}

/// 64-bit words.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) values: ScalarBuffer<u64>,
    pub(super) nulls: Option<NullBuffer>,
}

/// The array of these words.
pub(super) fn array(
    words: Vec<u64>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    Ok(match data_type {
        DataType::Boolean => {
            let bits = BooleanBuffer::collect_bool(words.len(), |row| words[row] != 0);
            Arc::new(BooleanArray::new(bits, nulls))
        }
        DataType::Float64 => Arc::new(Float64Array::new(
            ScalarBuffer::from(Buffer::from_vec(words)),
            nulls,
        )),
        DataType::Int64 => Arc::new(Int64Array::new(
            ScalarBuffer::from(Buffer::from_vec(words)),
            nulls,
        )),
        DataType::UInt64 => Arc::new(UInt64Array::new(ScalarBuffer::from(words), nulls)),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let values = ScalarBuffer::from(Buffer::from_vec(words));
            let instants = TimestampNanosecondArray::new(values, nulls);
            Arc::new(instants.with_timezone_opt(zone.clone()))
        }
        other => return Err(Error::internal(format!("no column of words is a {other}"))),
    })
}

impl Values for Words {
    type Cell = u64;
    type Column = Self;

    fn read(reading: Reading, arguments: &[ArrayRef], rows: usize) -> Result<Self> {
        let ones = || ScalarBuffer::from(vec![1; rows]);
        let Some(column) = arguments.first() else {
            return Ok(Self {
                values: ones(),
                nulls: None,
            });
        };
        if column.len() != rows {
            return Err(Error::internal(
                "an argument has another number of rows than its keys",
            ));
        }
        let nulls = column
            .nulls()
            .filter(|nulls| nulls.null_count() > 0)
            .cloned();
        if reading == Reading::Presence {
            return Ok(Self {
                values: ones(),
                nulls,
            });
        }
        let buffer = match column.data_type() {
            DataType::Float64 => column
                .as_primitive::<Float64Type>()
                .values()
                .inner()
                .clone(),
            _ if reading == Reading::Real => as_double(column)?
                .as_primitive::<Float64Type>()
                .values()
                .inner()
                .clone(),
            DataType::Int64 => column.as_primitive::<Int64Type>().values().inner().clone(),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => column
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .inner()
                .clone(),
            DataType::Boolean => {
                let bits = column.as_boolean().values();
                Buffer::from_vec(bits.iter().map(u64::from).collect::<Vec<_>>())
            }
            other => {
                return Err(Error::internal(format!(
                    "a {other} cannot be read as words"
                )));
            }
        };
        Ok(Self {
            values: ScalarBuffer::from(buffer),
            nulls,
        })
    }

    fn get(column: &Self, row: usize) -> Option<u64> {
        let valid = column
            .nulls
            .as_ref()
            .is_none_or(|nulls| nulls.is_valid(row));
        valid.then(|| column.values[row])
    }

    fn array(cells: Vec<Option<u64>>, data_type: &DataType) -> Result<ArrayRef> {
        let nulls = BooleanBuffer::collect_bool(cells.len(), |row| cells[row].is_some());
        let words = cells.into_iter().map(Option::unwrap_or_default).collect();
        array(words, Some(NullBuffer::new(nulls)), data_type)
    }
}

/// Texts of any Arrow encoding.
#[derive(Debug)]
pub(super) struct Texts;

impl Values for Texts {
    type Cell = Box<str>;
    type Column = StringArray;

    fn read(_: Reading, arguments: &[ArrayRef], rows: usize) -> Result<StringArray> {
        let column = arguments.first().filter(|column| column.len() == rows);
        let column = column.ok_or_else(|| Error::internal("a function of a text has none"))?;
        if column.data_type() == &DataType::Utf8 {
            return Ok(column.as_string::<i32>().clone());
        }
        Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    fn get(column: &StringArray, row: usize) -> Option<Box<str>> {
        column.is_valid(row).then(|| column.value(row).into())
    }

    fn array(cells: Vec<Option<Box<str>>>, data_type: &DataType) -> Result<ArrayRef> {
        let texts: ArrayRef = Arc::new(StringArray::from_iter(cells));
        if data_type == &DataType::Utf8 {
            Ok(texts)
        } else {
            Ok(cast(&texts, data_type)?)
        }
    }
}
