//! Rolls: epochs gathered into files that are published together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::SchemaRef;
use engine::crash::{self, Point};
use engine::{Epoch, Error, ErrorKind, Result};
use parquet::file::properties::WriterProperties;

use super::days;
use super::layout::Layout;
use super::start::{Finished, Start};
use super::writer::{Writer, remove};

/// Files that are open at once at most: a roll may have rows of any number of days.
pub(super) const OPEN: usize = 32;
/// Batches of fewer rows are put together before they are written: below that a copy is cheaper
/// than what a batch costs per column.
const SMALL: usize = 256;
/// How many rows batches are put together to.
const BATCH: usize = 8_192;

/// What is to be written, and how.
#[derive(Debug)]
pub(super) struct Plan {
    /// The columns of the files.
    pub(super) schema: SchemaRef,
    pub(super) properties: Arc<WriterProperties>,
    pub(super) layout: Layout,
    /// The column that tells the day.
    pub(super) date: Option<usize>,
    /// Bytes of a roll, about.
    pub(super) size: u64,
    /// How long a roll may take.
    pub(super) interval: Duration,
}

/// Writes what is committed, one roll of epochs after the other. Everything is done on the thread
/// that calls.
#[derive(Debug)]
pub(super) struct Rolls {
    plan: Plan,
    published: Epoch,
    /// It goes before the start, whose folder must be empty to go.
    roll: Option<Roll>,
    /// Begun by the first call.
    start: Option<Start>,
    /// What the first error was.
    failed: Option<(ErrorKind, String)>,
}

/// Files that grow together.
#[derive(Debug)]
struct Roll {
    first: Epoch,
    last: Epoch,
    begun: Instant,
    /// By folder.
    open: BTreeMap<String, Growing>,
    /// Files that are whole, because too many were open.
    whole: Vec<Finished>,
    /// Their bytes.
    bytes: u64,
    /// How many files each folder has.
    parts: BTreeMap<String, u32>,
    /// How often rows were written.
    writes: u64,
}

#[derive(Debug)]
struct Growing {
    writer: Writer,
    part: u32,
    /// When it was last written, in writes of its roll.
    used: u64,
}

impl Rolls {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            published: Epoch(0),
            roll: None,
            start: None,
            failed: None,
        }
    }

    /// The last epoch that is out.
    pub(super) fn published(&mut self) -> Result<Epoch> {
        self.once(Self::recovered)
    }

    /// Takes the rows of an epoch, unless it has them.
    pub(super) fn take(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<Epoch> {
        self.once(|rolls| rolls.gather(epoch, rows))
    }

    /// Publishes what has gathered.
    pub(super) fn finish(&mut self) -> Result<Epoch> {
        self.once(|rolls| {
            rolls.end_roll()?;
            rolls.recovered()
        })
    }

    /// When the roll under way has taken long enough, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let begun = self.roll.as_ref()?.begun;
        begun.checked_add(self.plan.interval)
    }

    fn recovered(&mut self) -> Result<Epoch> {
        if self.start.is_none() {
            let (start, published) = Start::begin(&self.plan.layout)?;
            (self.start, self.published) = (Some(start), published);
        }
        Ok(self.published)
    }

    fn gather(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<Epoch> {
        let published = self.recovered()?;
        let last = self.roll.as_ref().map_or(published, |roll| roll.last);
        let empty = rows.iter().all(|batch| batch.num_rows() == 0);
        if epoch <= last || (empty && self.roll.is_none()) {
            return Ok(published);
        }
        let start = begun(self.start.as_ref())?;
        let roll = self.roll.get_or_insert_with(|| Roll::new(epoch));
        roll.last = epoch;
        let fitted = rows.iter().filter(|batch| batch.num_rows() > 0);
        let fitted = fitted.map(|batch| fitted_to(&self.plan.schema, batch));
        let rows = together(&self.plan.schema, fitted.collect::<Result<_>>()?)?;
        for (folder, rows) in by_folder(rows, self.plan.date)? {
            roll.write(&self.plan, start, &folder, &rows)?;
        }
        if roll.bytes() >= self.plan.size || roll.begun.elapsed() >= self.plan.interval {
            self.end_roll()?;
        }
        self.recovered()
    }

    fn end_roll(&mut self) -> Result<()> {
        let Some(mut roll) = self.roll.take() else {
            return Ok(());
        };
        while let Some((folder, growing)) = roll.open.pop_first() {
            roll.complete(folder, growing)?;
        }
        crash::reach(Point::RollWhole);
        let (first, last) = (roll.first, roll.last);
        let files = std::mem::take(&mut roll.whole);
        begun(self.start.as_ref())?.publish(&files, first, last)?;
        self.published = last;
        Ok(())
    }

    /// Runs a step; the first one that fails is the last.
    fn once<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some((kind, reason)) = &self.failed {
            return Err(Error::new(
                *kind,
                format!("an earlier roll failed: {reason}"),
            ));
        }
        step(self).inspect_err(|error| {
            // To ask again would change nothing.
            let kind = match error.kind() {
                ErrorKind::Unavailable => ErrorKind::Invalid,
                kind => kind,
            };
            self.failed = Some((kind, error.chain()));
            self.roll = None;
        })
    }
}

fn begun(start: Option<&Start>) -> Result<&Start> {
    start.ok_or_else(|| Error::internal("rows are written before anything was recovered"))
}

impl Roll {
    fn new(first: Epoch) -> Self {
        Self {
            first,
            last: first,
            begun: Instant::now(),
            open: BTreeMap::new(),
            whole: vec![],
            bytes: 0,
            parts: BTreeMap::new(),
            writes: 0,
        }
    }

    fn write(
        &mut self,
        plan: &Plan,
        start: &Start,
        folder: &str,
        rows: &[RecordBatch],
    ) -> Result<()> {
        self.writes += 1;
        if !self.open.contains_key(folder) {
            if self.open.len() == OPEN {
                self.close_one()?;
            }
            let parts = self.parts.entry(folder.to_owned()).or_default();
            let part = *parts;
            *parts += 1;
            let columns = (&plan.schema, &*plan.properties);
            let writer = start.create(folder, self.first, part, columns)?;
            let used = self.writes;
            let growing = Growing { writer, part, used };
            self.open.insert(folder.to_owned(), growing);
        }
        let Some(growing) = self.open.get_mut(folder) else {
            return Err(Error::internal("an open file is gone"));
        };
        growing.used = self.writes;
        growing.writer.write(rows)?;
        crash::reach(Point::RollWritten);
        Ok(())
    }

    /// Completes the file that was written least recently. It stays hidden: a roll's files are
    /// published together, or an epoch could be out in part.
    fn close_one(&mut self) -> Result<()> {
        let oldest = self.open.iter().min_by_key(|(_, growing)| growing.used);
        let Some(folder) = oldest.map(|(folder, _)| folder.clone()) else {
            return Ok(());
        };
        match self.open.remove(&folder) {
            Some(growing) => self.complete(folder, growing),
            None => Ok(()),
        }
    }

    fn complete(&mut self, folder: String, growing: Growing) -> Result<()> {
        self.bytes += growing.writer.bytes();
        self.whole.push(Finished {
            folder,
            part: growing.part,
            temporary: growing.writer.finish()?,
        });
        Ok(())
    }

    /// About how large the files would be if they ended now.
    fn bytes(&self) -> u64 {
        let open = self.open.values().map(|growing| growing.writer.bytes());
        self.bytes + open.sum::<u64>()
    }
}

impl Drop for Roll {
    fn drop(&mut self) {
        let temporaries = self.whole.drain(..).map(|file| file.temporary);
        temporaries.for_each(|path: PathBuf| remove(&path));
    }
}

/// The rows of each folder, in their order; those of days that alternate are copied.
fn by_folder(
    batches: Vec<RecordBatch>,
    date: Option<usize>,
) -> Result<BTreeMap<String, Vec<RecordBatch>>> {
    let mut folders: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let parts = match date {
            Some(date) => days::split(&batch, date)?,
            None => vec![(String::new(), batch)],
        };
        for (folder, rows) in parts {
            folders.entry(folder).or_default().push(rows);
        }
    }
    Ok(folders)
}

/// The rows with exactly the columns of the file.
fn fitted_to(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = vec![];
    for (i, field) in schema.fields().iter().enumerate() {
        let column = batch.columns().get(i).ok_or_else(|| {
            Error::internal(format!(
                "rows for Parquet have no column '{}'",
                field.name()
            ))
        })?;
        columns.push(if column.data_type() == field.data_type() {
            ArrayRef::clone(column)
        } else {
            cast(column, field.data_type())?
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        SchemaRef::clone(schema),
        columns,
        &options,
    )?)
}

/// The same rows in batches that are worth writing.
fn together(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if batches.len() < 2 || rows / batches.len() >= SMALL {
        return Ok(batches);
    }
    let mut whole = vec![];
    let (mut from, mut gathered) = (0, 0);
    for (i, batch) in batches.iter().enumerate() {
        gathered += batch.num_rows();
        if gathered >= BATCH || i + 1 == batches.len() {
            whole.push(concat_batches(schema, &batches[from..=i])?);
            (from, gathered) = (i + 1, 0);
        }
    }
    Ok(whole)
}
