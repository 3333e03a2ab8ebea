//! Rows of many files in one order: what a replay reads, from recordings and foreign files.

mod cursor;

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use engine::intake::recording::Reader;
use engine::{Error, Result};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::checksum::Extent;
use super::{checksum, damaged, files, source::BATCH};
use cursor::{Cursor, Plan};

/// Refuses a file whose footer is none, or not the one it was written with: `Corrupt`. Its pages
/// are not looked at; [`Ordered`] does that before it hands over a row.
pub fn verify(path: &Path) -> Result<()> {
    footer(path).map(drop)
}

/// The columns of a file.
pub fn columns(path: &Path) -> Result<SchemaRef> {
    Ok(SchemaRef::clone(footer(path)?.schema()))
}

/// What a file says about itself, once that is known to be what was written.
fn footer(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(|e| files::unreadable(path, e))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
        .map_err(|e| damaged(path, e))?;
    let about = metadata.metadata().file_metadata();
    checksum::verify(path, about, Extent::Footer)?;
    Ok(metadata)
}

/// What to read.
#[derive(Debug, Clone)]
pub struct Request {
    /// The columns to hand over, found by name; a nullable one that a file lacks is NULL.
    pub schema: SchemaRef,
    /// Columns that every file must have: those that the table declares NOT NULL.
    pub required: Vec<String>,
    /// The TIMESTAMP column to sort by: `_arrived_at` or the event time. A row where it is NULL
    /// stays behind the row before it.
    pub order_by: String,
    /// Leaves out rows before this instant, in nanoseconds.
    pub from: Option<i64>,
    /// Leaves out rows at and after this instant, in nanoseconds.
    pub to: Option<i64>,
}

/// A file of `path` with rows that are more than `delay` nanoseconds older than one of a file that
/// is read before it, and that file: read one after the other, such rows are late. By the
/// statistics alone; files without are left out.
pub fn behind_its_time(
    path: &Path,
    column: &str,
    delay: i64,
) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut latest: Option<(i64, PathBuf)> = None;
    for found in files::find(path)? {
        let Some((least, most)) = cursor::range(&found.path, column)? else {
            continue;
        };
        match &latest {
            Some((before, file)) if least < before.saturating_sub(delay) => {
                return Ok(Some((found.path, file.clone())));
            }
            Some((before, _)) if most <= *before => {}
            _ => latest = Some((most, found.path)),
        }
    }
    Ok(None)
}

/// Reads files in the order of a column: (instant, file in natural order, row).
///
/// A file is opened when the order comes to it and dropped when it is through, so recordings
/// that follow one another are never open at once. A file that is not sorted is sorted in
/// memory. A file of ours whose bytes are not those that were written is an error before any of
/// its rows.
#[derive(Debug)]
pub struct Ordered {
    schema: SchemaRef,
    rows: u64,
    span: Option<(i64, i64)>,
    /// By the least instant they may hold, the latest first.
    waiting: Vec<Plan>,
    open: Vec<Cursor>,
}

impl Ordered {
    /// Reads the metadata of all files that `path` means (a file, a folder, or a pattern).
    pub fn open(path: &Path, request: &Request) -> Result<Self> {
        if request.schema.index_of(&request.order_by).is_err() {
            return Err(Error::invalid(format!(
                "rows are to be read in the order of '{}', which is no column of theirs",
                request.order_by
            )));
        }
        let mut waiting = vec![];
        let mut rows = 0;
        let mut span = None;
        for (number, found) in files::find(path)?.into_iter().enumerate() {
            if let Some(plan) = Plan::new(number, found.path, request, &mut span)? {
                rows += plan.rows;
                waiting.push(plan);
            }
        }
        waiting.sort_by_key(|plan| std::cmp::Reverse((plan.least, plan.number)));
        Ok(Self {
            schema: SchemaRef::clone(&request.schema),
            rows,
            span,
            waiting,
            open: vec![],
        })
    }

    /// The first and the last instant of all rows, also of those out of bounds, in nanoseconds;
    /// `None` where there is no row, or no file says.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// How many rows the row groups within the bounds hold: what progress is measured by. At
    /// the bounds' edges fewer rows may come.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next rows, at most 8,192; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut parts: Vec<RecordBatch> = vec![];
        let mut rows = 0;
        while rows < BATCH {
            let Some(part) = self.run(BATCH - rows)? else {
                break;
            };
            rows += part.num_rows();
            parts.push(part);
        }
        Ok(match parts.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(concat_batches(&self.schema, many)?),
        })
    }

    /// The longest run of rows that one file can give before another has its turn.
    fn run(&mut self, limit: usize) -> Result<Option<RecordBatch>> {
        loop {
            let first = (0..self.open.len()).min_by_key(|i| self.open[*i].head());
            let waiting = self.waiting.last().map(|plan| (plan.least, plan.number));
            let head = first.map(|i| self.open[i].head());
            // A file whose first instant may come before the head has to be opened first.
            if waiting.is_some_and(|waiting| head.is_none_or(|head| waiting <= head)) {
                if let Some(plan) = self.waiting.pop() {
                    self.open.extend(Cursor::open(plan)?);
                }
                continue;
            }
            let Some(first) = first else { return Ok(None) };
            let others = (0..self.open.len()).filter(|i| *i != first);
            let bound = others.map(|i| self.open[i].head()).chain(waiting).min();
            let (part, over) = self.open[first].take(bound, limit)?;
            if over {
                self.open.swap_remove(first);
            }
            if part.num_rows() > 0 {
                return Ok(Some(part));
            }
        }
    }
}

#[async_trait]
impl Reader for Ordered {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.next_batch()
    }
}
