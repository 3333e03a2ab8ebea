//! The rows of each day, and the name of its folder.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Int64Type};
use engine::Result;

use crate::instant;

/// The rows of each day, in the order of the days, with the name of their folder. Rows without a
/// day come first.
pub(super) fn split(batch: &RecordBatch, column: usize) -> Result<Vec<(String, RecordBatch)>> {
    let mut days: BTreeMap<Option<i64>, Vec<Range<usize>>> = BTreeMap::new();
    for (day, rows) in runs(batch.column(column))? {
        days.entry(day).or_default().push(rows);
    }
    let part = |(day, runs): (_, Vec<Range<usize>>)| {
        let part = match runs.as_slice() {
            [rows] => batch.slice(rows.start, rows.len()),
            _ => {
                let rows = runs.into_iter().flatten().map(|row| row as u32);
                take_record_batch(batch, &UInt32Array::from_iter_values(rows))?
            }
        };
        Ok((folder(day), part))
    };
    days.into_iter().map(part).collect()
}

fn folder(day: Option<i64>) -> String {
    let mut folder = b"date=".to_vec();
    match day {
        Some(day) => instant::write_date(&mut folder, day),
        None => folder.extend_from_slice(b"__HIVE_DEFAULT_PARTITION__"),
    }
    String::from_utf8_lossy(&folder).into_owned()
}

/// Rows that follow one another and are of one day, and which that is, counted from 1970-01-01.
fn runs(column: &ArrayRef) -> Result<Vec<(Option<i64>, Range<usize>)>> {
    let (values, length) = if *column.data_type() == DataType::Date32 {
        (cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?, 1)
    } else {
        let nanos = cast(column, &engine::time::TIMESTAMP)?;
        (cast(&nanos, &DataType::Int64)?, instant::DAY)
    };
    let values = values.as_primitive::<Int64Type>();
    let value = |row: usize| values.is_valid(row).then(|| values.value(row));
    let (mut runs, mut row) = (vec![], 0);
    while row < values.len() {
        let first = row;
        let day = value(row).map(|value| value.div_euclid(length));
        // A division for each row would take as long as to write one of its columns.
        let within = day.map(|day| day.saturating_mul(length)..(day + 1).saturating_mul(length));
        let is_same = |row: usize| match (&within, value(row)) {
            (Some(within), Some(value)) => within.contains(&value),
            (None, None) => true,
            _ => false,
        };
        row += 1;
        while row < values.len() && is_same(row) {
            row += 1;
        }
        runs.push((day, first..row));
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, TimestampNanosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    /// The numbers of the rows of each folder.
    fn parts(column: ArrayRef) -> Vec<(String, Vec<i64>)> {
        let numbers = Int64Array::from_iter_values(0..column.len() as i64);
        let field = Field::new("at", column.data_type().clone(), true);
        let schema = Schema::new(vec![field, Field::new("number", DataType::Int64, false)]);
        let batch =
            RecordBatch::try_new(Arc::new(schema), vec![column, Arc::new(numbers)]).unwrap();
        let numbers = |(folder, part): (String, RecordBatch)| {
            let numbers = part.column(1).as_primitive::<Int64Type>();
            (folder, numbers.values().to_vec())
        };
        split(&batch, 0).unwrap().into_iter().map(numbers).collect()
    }

    fn told(parts: &[(&str, &[i64])]) -> Vec<(String, Vec<i64>)> {
        let part = |(day, rows): &(&str, &[i64])| (format!("date={day}"), rows.to_vec());
        parts.iter().map(part).collect()
    }

    #[test]
    fn each_day_has_its_rows_in_their_order() {
        let day = instant::DAY;
        let at = [
            Some(day),
            Some(2 * day - 1),
            Some(2 * day),
            None,
            None,
            Some(day + 5),
            Some(-1),
            Some(0),
            Some(i64::MIN),
            Some(i64::MIN + 1),
            Some(i64::MAX),
            Some(i64::MAX),
        ];
        let expected: &[(&str, &[i64])] = &[
            ("__HIVE_DEFAULT_PARTITION__", &[3, 4]),
            ("1677-09-21", &[8, 9]),
            ("1969-12-31", &[6]),
            ("1970-01-01", &[7]),
            ("1970-01-02", &[0, 1, 5]),
            ("1970-01-03", &[2]),
            ("2262-04-11", &[10, 11]),
        ];
        let at: TimestampNanosecondArray = at.into_iter().collect();
        assert_eq!(parts(Arc::new(at)), told(expected));
    }

    #[test]
    fn dates_are_days() {
        let at = [Some(1), Some(1), Some(-1), None, Some(1)];
        let expected: &[(&str, &[i64])] = &[
            ("__HIVE_DEFAULT_PARTITION__", &[3]),
            ("1969-12-31", &[2]),
            ("1970-01-02", &[0, 1, 4]),
        ];
        let at: Date32Array = at.into_iter().collect();
        assert_eq!(parts(Arc::new(at)), told(expected));
    }
}
