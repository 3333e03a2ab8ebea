//! The table from keys to numbers: one open-addressed table of numbers over keys laid end to end.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, PrimitiveArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::error::{Error, Result};

/// Numbers for keys of some columns.
pub(crate) enum Table {
    /// No columns.
    One,
    /// One column of text, plain or as a dictionary.
    Text {
        bytes: Bytes,
        null: Option<u32>,
        dictionary: Option<Dictionary>,
        data_type: DataType,
    },
    /// One column of integers.
    Integer(Integers),
    /// Anything else, by arrow's row encoding, in which NULL is a value.
    Rows {
        bytes: Bytes,
        converter: RowConverter,
    },
}

/// The numbers of a dictionary's values, kept from batch to batch while it is the same.
pub(crate) struct Dictionary {
    values: ArrayRef,
    numbers: Vec<Option<u32>>,
}

const HASHER: FixedState = FixedState::with_seed(0x6d69_6c6c_7374_7265);

impl Table {
    pub(crate) fn new(types: &[DataType]) -> Result<Self> {
        let dictionary = |keys: &DataType, values: &DataType| {
            *keys == DataType::Int32 && *values == DataType::Utf8
        };
        Ok(match types {
            [] => Self::One,
            [DataType::Int64] => Self::Integer(Integers::default()),
            [text @ DataType::Utf8] => Self::text(text),
            [text @ DataType::Dictionary(keys, values)] if dictionary(keys, values) => {
                Self::text(text)
            }
            types => {
                let fields = types.iter().cloned().map(SortField::new).collect();
                let converter = RowConverter::new(fields).map_err(|error| {
                    Error::invalid("a key has a type without an order").caused_by(error)
                })?;
                Self::Rows {
                    bytes: Bytes::default(),
                    converter,
                }
            }
        })
    }

    fn text(data_type: &DataType) -> Self {
        let (bytes, data_type) = (Bytes::default(), data_type.clone());
        Self::Text {
            bytes,
            null: None,
            dictionary: None,
            data_type,
        }
    }

    /// The number of each row's key; new keys get the next ones.
    pub(crate) fn number(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        match (self, columns) {
            (Self::One, _) => Ok(vec![0; rows]),
            (Self::Integer(table), [column]) => {
                let column = column.as_primitive_opt::<Int64Type>();
                Ok(table.number_all(column.ok_or_else(other_type)?))
            }
            (
                Self::Text {
                    bytes,
                    null,
                    dictionary,
                    ..
                },
                [column],
            ) => {
                if let Some(texts) = column.as_string_opt::<i32>() {
                    let number =
                        |row| text(bytes, null, texts.is_valid(row).then(|| texts.value(row)));
                    return Ok((0..rows).map(number).collect());
                }
                let column = column
                    .as_dictionary_opt::<Int32Type>()
                    .ok_or_else(other_type)?;
                dictionary_numbers(bytes, null, dictionary, column)
            }
            (Self::Rows { bytes, converter }, columns) => {
                let keys = converter.convert_columns(columns)?;
                Ok(keys.iter().map(|key| bytes.number(key.as_ref())).collect())
            }
            _ => Err(other_type()),
        }
    }

    /// The keys by number, as columns.
    pub(crate) fn keys(&self) -> Result<Vec<ArrayRef>> {
        match self {
            Self::One => Ok(vec![]),
            Self::Integer(table) => Ok(vec![table.keys()]),
            Self::Text {
                bytes,
                null,
                data_type,
                ..
            } => {
                let mut texts = StringBuilder::new();
                for number in 0..bytes.len() {
                    let valid = *null != Some(number as u32);
                    let key = std::str::from_utf8(bytes.key(number))
                        .map_err(|error| Error::internal("a key is not UTF-8").caused_by(error))?;
                    texts.append_option(valid.then_some(key));
                }
                let texts: ArrayRef = Arc::new(texts.finish());
                Ok(vec![if data_type == &DataType::Utf8 {
                    texts
                } else {
                    cast(&texts, data_type)?
                }])
            }
            Self::Rows { bytes, converter } => {
                let parser = converter.parser();
                let rows = (0..bytes.len()).map(|number| parser.parse(bytes.key(number)));
                Ok(converter.convert_rows(rows)?)
            }
        }
    }
}

fn other_type() -> Error {
    Error::corrupt("a key column is not of the type that was planned")
}

#[inline]
fn text(bytes: &mut Bytes, null: &mut Option<u32>, key: Option<&str>) -> u32 {
    match key {
        Some(key) => bytes.number(key.as_bytes()),
        None => *null.get_or_insert_with(|| bytes.add_unlisted()),
    }
}

fn dictionary_numbers(
    bytes: &mut Bytes,
    null: &mut Option<u32>,
    known: &mut Option<Dictionary>,
    column: &DictionaryArray<Int32Type>,
) -> Result<Vec<u32>> {
    let values = column.values();
    let same = known
        .take()
        .filter(|known| Arc::ptr_eq(&known.values, values));
    let dictionary = known.insert(same.unwrap_or_else(|| Dictionary {
        values: Arc::clone(values),
        numbers: vec![None; values.len()],
    }));
    let texts = values.as_string_opt::<i32>().ok_or_else(other_type)?;
    let keys = column.keys();
    let number = |row: usize| {
        if keys.is_null(row) {
            return text(bytes, null, None);
        }
        let place = keys.value(row) as usize;
        *dictionary.numbers[place].get_or_insert_with(|| {
            text(
                bytes,
                null,
                texts.is_valid(place).then(|| texts.value(place)),
            )
        })
    };
    Ok((0..column.len()).map(number).collect())
}

/// Distinct byte strings, numbered, laid end to end.
#[derive(Default)]
pub(crate) struct Bytes {
    table: HashTable<u32>,
    hashes: Vec<u64>,
    /// Where each key lies: its start and its end.
    spans: Vec<(usize, usize)>,
    text: Vec<u8>,
}

impl Bytes {
    fn len(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    fn key(&self, number: usize) -> &[u8] {
        let (start, end) = self.spans[number];
        &self.text[start..end]
    }

    #[inline]
    fn number(&mut self, bytes: &[u8]) -> u32 {
        let mut hasher = HASHER.build_hasher();
        hasher.write(bytes);
        let hash = hasher.finish();
        match self
            .table
            .find(hash, |number| self.key(*number as usize) == bytes)
        {
            Some(number) => *number,
            None => self.add(hash, bytes),
        }
    }

    #[cold]
    fn add(&mut self, hash: u64, bytes: &[u8]) -> u32 {
        let (number, start) = (self.spans.len() as u32, self.text.len());
        self.text.extend_from_slice(bytes);
        self.spans.push((start, self.text.len()));
        self.hashes.push(hash);
        self.table
            .insert_unique(hash, number, |number| self.hashes[*number as usize]);
        number
    }

    /// A number for what is no byte string: NULL.
    fn add_unlisted(&mut self) -> u32 {
        self.spans.push((0, 0));
        self.hashes.push(0);
        self.spans.len() as u32 - 1
    }
}

/// Distinct integers, numbered.
#[derive(Default)]
pub(crate) struct Integers {
    table: HashTable<u32>,
    values: Vec<i64>,
    null: Option<u32>,
}

fn hash(value: i64) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write_i64(value);
    hasher.finish()
}

impl Integers {
    fn number_all(&mut self, column: &Int64Array) -> Vec<u32> {
        let number = |row: usize| {
            if column.is_valid(row) {
                self.number(column.value(row))
            } else {
                self.number_of_null()
            }
        };
        (0..column.len()).map(number).collect()
    }

    #[inline]
    fn number(&mut self, value: i64) -> u32 {
        let hashed = hash(value);
        if let Some(number) = self
            .table
            .find(hashed, |n| self.values[*n as usize] == value)
        {
            return *number;
        }
        let number = self.values.len() as u32;
        self.values.push(value);
        self.table
            .insert_unique(hashed, number, |number| hash(self.values[*number as usize]));
        number
    }

    fn number_of_null(&mut self) -> u32 {
        *self.null.get_or_insert_with(|| {
            self.values.push(0);
            self.values.len() as u32 - 1
        })
    }

    fn keys(&self) -> ArrayRef {
        let key =
            |(number, value): (usize, &i64)| (self.null != Some(number as u32)).then_some(*value);
        Arc::new(
            self.values
                .iter()
                .enumerate()
                .map(key)
                .collect::<PrimitiveArray<Int64Type>>(),
        )
    }
}
