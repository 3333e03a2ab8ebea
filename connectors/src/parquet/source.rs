//! Files as a bounded table.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use engine::source::END;
use engine::{Error, Polled, Position, Result, Source, Split, StreamSpec};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::checksum::{self, Extent};
use super::files::{self, Found};
use super::projection::Projection;
use super::{SourceOptions, damaged, local};
use crate::options;

/// Rows of a batch.
pub(super) const BATCH: usize = 8_192;

/// Reads files one after the other, on the thread that calls it; `next` never waits.
#[derive(Debug)]
pub struct ParquetSource {
    stream: StreamSpec,
    path: PathBuf,
    files: Option<Vec<Found>>,
    /// Where to begin in files that were named by `seek`.
    begin: BTreeMap<Split, i64>,
    /// Position in `files`.
    file: usize,
    open: Option<Open>,
}

struct Open {
    reader: ParquetRecordBatchReader,
    projection: Projection,
    next: i64,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl ParquetSource {
    /// Reads the options.
    pub fn new(stream: &StreamSpec) -> Result<Self> {
        let options: SourceOptions = options::parse(stream)?;
        if let Some(column) = stream.metadata.first() {
            return Err(Error::invalid(format!(
                "table '{}' has the metadata column '{}', but the connector 'parquet' has no \
                 metadata",
                stream.name,
                column.field.name()
            )));
        }
        Ok(Self {
            path: local(stream, &options.path)?,
            stream: stream.clone(),
            files: None,
            begin: BTreeMap::new(),
            file: 0,
            open: None,
        })
    }

    /// The files as they were found first: the input is bounded.
    fn files(&mut self) -> Result<&[Found]> {
        let found = match self.files.take() {
            Some(found) => found,
            None => files::find(&self.path)?,
        };
        Ok(self.files.insert(found))
    }

    fn poll(&mut self) -> Result<Option<Polled>> {
        loop {
            let number = self.file;
            let Some(found) = self.files()?.get(number).cloned() else {
                return Ok(None);
            };
            let split = Split::new(&found.name);
            let mut open = if let Some(open) = self.open.take() {
                open
            } else {
                let begin = self.begin.get(&split).copied().unwrap_or(0);
                if begin == END {
                    self.file += 1;
                    continue;
                }
                open(&found.path, begin, &self.stream)?
            };
            match open.reader.next() {
                None => {
                    self.file += 1;
                    return Ok(Some(read_to_end(split, &self.stream)));
                }
                Some(rows) => {
                    let rows = rows.map_err(|e| damaged(&found.path, e))?;
                    let rows = open.projection.apply(&found.path, &rows)?;
                    let first = open.next;
                    open.next += rows.num_rows() as i64;
                    let next_offset = open.next;
                    self.open = Some(open);
                    return Ok(Some(Polled {
                        split,
                        rows,
                        offsets: (first..next_offset).collect(),
                        record_times: None,
                        rejected: vec![],
                        next_offset,
                    }));
                }
            }
        }
    }
}

#[async_trait]
impl Source for ParquetSource {
    /// The first file alone: the others are read after it and become known then, so that they
    /// do not hold the watermark back before.
    async fn splits(&mut self) -> Result<Vec<Split>> {
        let first = self.files()?.first();
        Ok(first
            .map(|file| Split::new(&file.name))
            .into_iter()
            .collect())
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        let known = self.files()?;
        for (split, offset) in to {
            if !known.iter().any(|file| *file.name == *split.0) {
                return Err(Error::not_found(format!(
                    "file '{split}' was read before and is gone; put it back or start the job fresh"
                )));
            }
            if *offset < 0 {
                return Err(Error::invalid(format!(
                    "file '{split}' has no row {offset}"
                )));
            }
        }
        self.begin.clone_from(to);
        (self.file, self.open) = (0, None);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        self.poll()
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// A file that is read no longer holds the watermark back for those behind it.
fn read_to_end(split: Split, stream: &StreamSpec) -> Polled {
    Polled {
        split,
        rows: RecordBatch::new_empty(stream.source_schema()),
        offsets: vec![].into(),
        record_times: None,
        rejected: vec![],
        next_offset: END,
    }
}

fn open(path: &Path, begin: i64, stream: &StreamSpec) -> Result<Open> {
    let file = File::open(path).map_err(|e| files::unreadable(path, e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| damaged(path, e))?;
    checksum::verify(path, builder.metadata().file_metadata(), Extent::Whole)?;
    let output: SchemaRef = stream.source_schema();
    let projection = Projection::new(path, builder.schema(), &stream.schema, &output)?;
    // Whole row groups before the first row are not even opened.
    let mut skipped = 0;
    let mut groups = vec![];
    for (i, group) in builder.metadata().row_groups().iter().enumerate() {
        if groups.is_empty() && skipped + group.num_rows() <= begin {
            skipped += group.num_rows();
        } else {
            groups.push(i);
        }
    }
    let mask = projection.mask(builder.parquet_schema());
    let reader = builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_offset(usize::try_from(begin - skipped).unwrap_or(usize::MAX))
        .with_batch_size(BATCH)
        .build()
        .map_err(|e| damaged(path, e))?;
    Ok(Open {
        reader,
        projection,
        next: begin,
    })
}
