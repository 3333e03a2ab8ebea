//! What `tumble` and `hop` share: appending the bounds of a row's window.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampNanosecondType};

use crate::error::{Error, Result};
use crate::time::TIMESTAMP;

/// Name of the appended column with the window's first instant.
pub const WINDOW_START: &str = "window_start";
/// Name of the appended column with the first instant after the window.
pub const WINDOW_END: &str = "window_end";

/// The input's columns and the two bounds.
pub(super) fn with_bounds(input: &Schema) -> SchemaRef {
    let bounds = [WINDOW_START, WINDOW_END].map(|name| Field::new(name, TIMESTAMP, false));
    let fields = input.fields().iter().cloned().chain(bounds.map(Arc::new));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The times of the rows; NULL or a window beyond the range of time is `Invalid`.
pub(super) fn times(batch: &RecordBatch, column: usize) -> Result<&[i64]> {
    let array = batch.column(column);
    let times = array.as_primitive_opt::<TimestampNanosecondType>();
    let times = times.ok_or_else(|| Error::internal("the time column is not a timestamp"))?;
    if array.null_count() > 0 {
        return Err(Error::invalid("the time of the row is NULL"));
    }
    Ok(times.values())
}

/// The start of the last window of the grid `offset + n × slide` that begins at or before `time`.
pub(super) fn window_start(time: i64, slide: i64, offset: i64) -> Result<i64> {
    let into = time
        .checked_sub(offset)
        .map(|since| since.rem_euclid(slide));
    let start = into.and_then(|into| time.checked_sub(into));
    start.ok_or_else(beyond_time)
}

/// The window of a row near the ends of time cannot be told.
pub(super) fn beyond_time() -> Error {
    Error::invalid("the row's window lies beyond the range of time")
}

/// Bounds as columns after those of `rows`.
pub(super) fn append_bounds(
    rows: &RecordBatch,
    schema: &SchemaRef,
    starts: Vec<i64>,
    size: i64,
) -> Result<RecordBatch> {
    let end = |start: &i64| start.checked_add(size);
    let ends = starts.iter().map(end).collect::<Option<Vec<_>>>();
    let ends = ends.ok_or_else(beyond_time)?;
    let column = |values: Vec<i64>| {
        Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(
            values.into(),
            None,
        )) as ArrayRef
    };
    let mut columns = rows.columns().to_vec();
    columns.extend([column(starts), column(ends)]);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
