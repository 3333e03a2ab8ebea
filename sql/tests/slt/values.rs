//! Values as `.slt` files write them: 2024-01-01 is the day that a time alone is on, numbers have
//! twelve digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimestampNanosecondType};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::sqlparser::ast::{Expr, SetExpr, UnaryOperator, Value};
use engine::{Error, Result};
use sql::catalog::normalised;
use sql::statement::Insert;

const DAY: &str = "2024-01-01";

/// An instant, as `09:30:00` or `2024-01-02 09:30:00`.
pub(super) fn nanos(text: &str) -> Option<i64> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![on_day(text)]));
    let time = cast(&text, &engine::time::TIMESTAMP).ok()?;
    time.as_primitive::<TimestampNanosecondType>()
        .iter()
        .next()
        .flatten()
}

fn on_day(text: &str) -> String {
    let time = text.as_bytes().get(2) == Some(&b':');
    if time {
        format!("{DAY} {text}")
    } else {
        text.to_owned()
    }
}

/// The rows of `INSERT INTO t [(columns)] VALUES …`, with the columns of the source; what is not
/// given is NULL.
pub(super) fn rows(insert: &Insert, schema: &SchemaRef) -> Result<RecordBatch> {
    let SetExpr::Values(values) = insert.query.body.as_ref() else {
        return Err(Error::invalid("no VALUES"));
    };
    let names: Vec<String> = match insert.columns.as_slice() {
        [] => schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect(),
        some => some.iter().map(normalised).collect(),
    };
    let columns = schema.fields().iter().map(|field| {
        let position = names.iter().position(|name| name == field.name());
        let cell = |row: &[Expr]| position.and_then(|i| row.get(i)).and_then(literal);
        let cells = values.rows.iter().map(|row| match field.data_type() {
            DataType::Timestamp(..) => cell(&row.content).map(|text| on_day(&text)),
            _ => cell(&row.content),
        });
        let text: ArrayRef = Arc::new(cells.collect::<StringArray>());
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        Ok(cast_with_options(&text, field.data_type(), &options)?)
    });
    Ok(RecordBatch::try_new(
        Arc::clone(schema),
        columns.collect::<Result<_>>()?,
    )?)
}

fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Null => None,
            Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(format!("-{}", literal(expr)?)),
        other => Some(other.to_string()),
    }
}

/// T text, I integer, R real, P point in time, D day, B truth, X bytes, ? other.
pub(super) fn letter(data_type: &DataType) -> char {
    match data_type {
        DataType::Utf8 => 'T',
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => 'R',
        DataType::Timestamp(..) => 'P',
        DataType::Date32 => 'D',
        DataType::Boolean => 'B',
        DataType::Binary => 'X',
        other if other.is_integer() => 'I',
        _ => '?',
    }
}

/// Every row, cell by cell.
pub(crate) fn print(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(column).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column[row].clone()).collect())
        .collect()
}

fn column(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    let print = |row: usize| match array.data_type() {
        _ if array.is_null(row) => "NULL".to_owned(),
        DataType::Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => time(array.as_primitive::<TimestampNanosecondType>().value(row)),
        _ => formatter.value(row).to_string(),
    };
    let cell = |text: String| {
        if text.is_empty() {
            "(empty)".to_owned()
        } else {
            text
        }
    };
    (0..array.len()).map(|row| cell(print(row))).collect()
}

fn real(value: f64) -> String {
    let rounded = format!("{value:.11e}").parse::<f64>().unwrap_or(value);
    // Zero has no sign here.
    format!("{}", rounded + 0.0)
}

fn time(nanos: i64) -> String {
    let instant = timestamp_ns_to_datetime(nanos).map_or(nanos.to_string(), |i| i.to_string());
    let instant = instant.strip_prefix(&format!("{DAY} ")).unwrap_or(&instant);
    instant.replace(' ', "T")
}
