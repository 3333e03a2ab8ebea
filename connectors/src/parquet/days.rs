//! The rows of each day, and the name of its folder.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use engine::Result;

use crate::instant;

/// The rows of each day, in the order of the days, with the name of their folder. Rows without a
/// day come first.
pub(super) fn split(batch: &RecordBatch, column: usize) -> Result<Vec<(String, RecordBatch)>> {
    let days = days(batch.column(column))?;
    let mut rows: BTreeMap<Option<i64>, Vec<u32>> = BTreeMap::new();
    for (row, day) in days.iter().enumerate() {
        rows.entry(day).or_default().push(row as u32);
    }
    let mut parts = vec![];
    for (day, rows) in rows {
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        // Where a day's rows follow one another they are not copied.
        let part = if (last - first) as usize + 1 == rows.len() {
            batch.slice(first as usize, rows.len())
        } else {
            take_record_batch(batch, &UInt32Array::from(rows))?
        };
        parts.push((folder(day), part));
    }
    Ok(parts)
}

fn folder(day: Option<i64>) -> String {
    let mut folder = b"date=".to_vec();
    match day {
        Some(day) => instant::write_date(&mut folder, day),
        None => folder.extend_from_slice(b"__HIVE_DEFAULT_PARTITION__"),
    }
    String::from_utf8_lossy(&folder).into_owned()
}

/// The day of every row since 1970-01-01.
fn days(column: &ArrayRef) -> Result<Int64Array> {
    if *column.data_type() == DataType::Date32 {
        let dates = column.as_primitive::<Date32Type>();
        return Ok(dates.unary(i64::from));
    }
    let nanos = cast(column, &engine::time::TIMESTAMP)?;
    let nanos = cast(&nanos, &DataType::Int64)?;
    Ok(nanos
        .as_primitive::<Int64Type>()
        .unary(|nanos| nanos.div_euclid(instant::DAY)))
}
