//! One file of an ordered read: planned by its metadata, then read batch by batch.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use engine::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::Request;
use crate::parquet::checksum::{self, Extent};
use crate::parquet::projection::{self, Projection};
use crate::parquet::source::BATCH;
use crate::parquet::{damaged, files};

/// A file with the row groups that reach into the bounds.
#[derive(Debug)]
pub(super) struct Plan {
    /// Place among all files, in natural order.
    pub(super) number: usize,
    pub(super) path: PathBuf,
    pub(super) rows: u64,
    /// No row comes before this instant.
    pub(super) least: i64,
    metadata: ArrowReaderMetadata,
    groups: Vec<usize>,
    projection: Projection,
    request: Request,
}

impl Plan {
    /// `None` where no row lies within the bounds. `span` is widened by what the file spans.
    pub(super) fn new(
        number: usize,
        path: PathBuf,
        request: &Request,
        span: &mut Option<(i64, i64)>,
    ) -> Result<Option<Self>> {
        // What the footer says decides which rows are read, and when.
        let metadata = super::footer(&path)?;
        let schema = metadata.schema();
        let rows = metadata.metadata().file_metadata().num_rows();
        let lacks = |name: &&String| schema.index_of(name).is_err();
        if let Some(name) = request.required.iter().find(lacks)
            && rows > 0
        {
            return Err(projection::lacking(&path, name));
        }
        let projection = Projection::new(&path, schema, &request.schema, &request.schema)?;
        let (least, most) = bounds(&path, schema, &metadata, &request.order_by)?;
        for at in least.iter().chain(&most).flatten() {
            let (from, to) = span.unwrap_or((*at, *at));
            *span = Some((from.min(*at), to.max(*at)));
        }
        let within = |group: &usize| {
            let after = request
                .to
                .is_some_and(|to| least[*group].is_some_and(|at| at >= to));
            let before = request
                .from
                .is_some_and(|from| most[*group].is_some_and(|at| at < from));
            // A row without an instant goes with the row before it: keep its group in doubt.
            !after && !before
        };
        let all = metadata.metadata().row_groups();
        let groups = (0..all.len()).filter(within).collect::<Vec<_>>();
        let rows = groups
            .iter()
            .map(|group| all[*group].num_rows() as u64)
            .sum();
        let least = groups
            .iter()
            .map(|group| least[*group].unwrap_or(i64::MIN))
            .min();
        let Some(least) = least.filter(|_| rows > 0) else {
            return Ok(None);
        };
        let request = request.clone();
        Ok(Some(Self {
            number,
            path,
            rows,
            least,
            metadata,
            groups,
            projection,
            request,
        }))
    }

    fn reader(&self, mask: ProjectionMask) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(|e| files::unreadable(&self.path, e))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_row_groups(self.groups.clone())
            .with_batch_size(BATCH)
            .build()
            .map_err(|e| damaged(&self.path, e))
    }

    /// Whether the file is sorted; reads the one column.
    fn sorted(&self) -> Result<bool> {
        let schema = self.metadata.parquet_schema();
        let name = &self.request.order_by;
        let root = schema
            .root_schema()
            .get_fields()
            .iter()
            .position(|f| f.name() == name);
        let Some(root) = root else { return Ok(true) };
        let mut last = i64::MIN;
        for rows in self.reader(ProjectionMask::roots(schema, [root]))? {
            let rows = rows.map_err(|e| damaged(&self.path, e.to_string()))?;
            let keys = keys(&self.path, rows.column(0), &mut last)?;
            if !keys.is_sorted() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The least and the highest instant of a file, where its statistics say.
pub(super) fn range(path: &Path, column: &str) -> Result<Option<(i64, i64)>> {
    let metadata = super::footer(path)?;
    let (least, most) = bounds(path, metadata.schema(), &metadata, column)?;
    let least = least.into_iter().collect::<Option<Vec<i64>>>();
    let most = most.into_iter().collect::<Option<Vec<i64>>>();
    let least = least.and_then(|least| least.into_iter().min());
    Ok(least.zip(most.and_then(|most| most.into_iter().max())))
}

/// The least and the highest instant of every row group, where the file says.
#[expect(clippy::type_complexity, reason = "two columns of figures, used once")]
fn bounds(
    path: &Path,
    schema: &Schema,
    metadata: &ArrowReaderMetadata,
    column: &str,
) -> Result<(Vec<Option<i64>>, Vec<Option<i64>>)> {
    let groups = metadata.metadata().row_groups();
    if schema.index_of(column).is_err() {
        return Err(Error::invalid(format!(
            "file '{}' has no column '{column}' to be read in the order of",
            path.display()
        )));
    }
    let converter = StatisticsConverter::try_new(column, schema, metadata.parquet_schema());
    let converter = converter.map_err(|e| damaged(path, e))?;
    let read = |figures: ArrayRef| -> Result<Vec<Option<i64>>> {
        let instants = instants(path, &figures)?;
        Ok(instants.as_primitive::<Int64Type>().iter().collect())
    };
    let least = converter
        .row_group_mins(groups)
        .map_err(|e| damaged(path, e))?;
    let most = converter
        .row_group_maxes(groups)
        .map_err(|e| damaged(path, e))?;
    Ok((read(least)?, read(most)?))
}

/// A column as nanoseconds.
fn instants(path: &Path, column: &ArrayRef) -> Result<ArrayRef> {
    if !matches!(column.data_type(), DataType::Timestamp(_, _)) {
        return Err(Error::invalid(format!(
            "file '{}' has the column to be read in the order of as {}, expected a TIMESTAMP",
            path.display(),
            column.data_type()
        )));
    }
    Ok(cast(
        &cast(column, &engine::time::TIMESTAMP)?,
        &DataType::Int64,
    )?)
}

/// The instants of the rows; a missing one is that of the row before.
fn keys(path: &Path, column: &ArrayRef, last: &mut i64) -> Result<Vec<i64>> {
    let instants = instants(path, column)?;
    let before = *last;
    let mut keys = Vec::with_capacity(instants.len() + 1);
    keys.push(before);
    for key in instants.as_primitive::<Int64Type>() {
        *last = key.unwrap_or(*last);
        keys.push(*last);
    }
    Ok(keys)
}

/// An open file.
pub(super) struct Cursor {
    plan: Plan,
    /// `None` once the file is in memory as a whole.
    reader: Option<ParquetRecordBatchReader>,
    rows: RecordBatch,
    keys: Vec<i64>,
    at: usize,
    last: i64,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor")
            .field("path", &self.plan.path)
            .finish_non_exhaustive()
    }
}

impl Cursor {
    /// `None` where no row lies within the bounds.
    pub(super) fn open(plan: Plan) -> Result<Option<Self>> {
        let about = plan.metadata.metadata().file_metadata();
        checksum::verify(&plan.path, about, Extent::Whole)?;
        let sorted = plan.sorted()?;
        let mask = plan.projection.mask(plan.metadata.parquet_schema());
        let reader = plan.reader(mask)?;
        let rows = RecordBatch::new_empty(SchemaRef::clone(&plan.request.schema));
        let (keys, last) = (vec![], i64::MIN);
        let mut cursor = Self {
            plan,
            reader: Some(reader),
            rows,
            keys,
            at: 0,
            last,
        };
        if !sorted {
            cursor.sort()?;
        }
        Ok(if cursor.fill()? { Some(cursor) } else { None })
    }

    /// The next row's instant and the file's number; only asked while there is a row.
    pub(super) fn head(&self) -> (i64, usize) {
        (
            self.keys.get(self.at).copied().unwrap_or(i64::MAX),
            self.plan.number,
        )
    }

    /// The rows up to `bound`, at most `limit`, and whether the file is through.
    pub(super) fn take(
        &mut self,
        bound: Option<(i64, usize)>,
        limit: usize,
    ) -> Result<(RecordBatch, bool)> {
        let number = self.plan.number;
        let run = match bound {
            None => self.keys.len() - self.at,
            Some(bound) => self.keys[self.at..].partition_point(|key| (*key, number) < bound),
        };
        let part = self.rows.slice(self.at, run.min(limit));
        self.at += part.num_rows();
        let over = self.at == self.keys.len() && !self.fill()?;
        Ok((part, over))
    }

    /// Makes sure that there is a row; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.at == self.keys.len() {
            let Some(rows) = self.read()? else {
                return Ok(false);
            };
            self.keep(&rows)?;
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let path = &self.plan.path;
        let Some(rows) = self.reader.as_mut().and_then(Iterator::next) else {
            return Ok(None);
        };
        let rows = rows.map_err(|e| damaged(path, e))?;
        self.plan.projection.apply(path, &rows).map(Some)
    }

    /// Takes rows that follow in order, without those out of bounds.
    fn keep(&mut self, rows: &RecordBatch) -> Result<()> {
        let request = &self.plan.request;
        let column = rows.column(request.schema.index_of(&request.order_by)?);
        let keys = keys(&self.plan.path, column, &mut self.last)?;
        let keys = &keys[1..];
        let start = request
            .from
            .map_or(0, |from| keys.partition_point(|key| *key < from));
        let end = request
            .to
            .map_or(keys.len(), |to| keys.partition_point(|key| *key < to));
        let end = end.max(start);
        self.rows = rows.slice(start, end - start);
        self.keys = keys[start..end].to_vec();
        self.at = 0;
        Ok(())
    }

    /// Reads everything and sorts it; rows of one instant stay in their order.
    fn sort(&mut self) -> Result<()> {
        let mut batches = vec![];
        while let Some(rows) = self.read()? {
            batches.push(rows);
        }
        self.reader = None;
        let request = &self.plan.request;
        tracing::info!(
            path = %self.plan.path.display(), column = request.order_by,
            "the file is not sorted, it is sorted in memory"
        );
        let rows = concat_batches(&request.schema, &batches)?;
        let column = rows.column(request.schema.index_of(&request.order_by)?);
        let keys = keys(&self.plan.path, column, &mut self.last)?;
        let mut order = (0..rows.num_rows()).collect::<Vec<_>>();
        order.sort_by_key(|row| keys[row + 1]);
        let within = |row: &usize| {
            let key = keys[row + 1];
            request.from.is_none_or(|from| key >= from) && request.to.is_none_or(|to| key < to)
        };
        order.retain(within);
        let sorted_keys = order.iter().map(|row| keys[row + 1]).collect();
        let indices = UInt64Array::from_iter_values(order.iter().map(|row| *row as u64));
        self.rows = take_record_batch(&rows, &indices)?;
        self.keys = sorted_keys;
        self.at = 0;
        Ok(())
    }
}
