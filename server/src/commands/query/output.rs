//! Where the rows of a query go, and as what.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json;
use arrow::json::writer::LineDelimited;
use arrow::util::pretty::pretty_format_batches_with_schema;
use engine::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::cli::Format;

/// Standard output, or a file that appears under its name when it is whole.
pub(super) struct Output {
    /// The name, and the temporary name until then.
    file: Option<(PathBuf, PathBuf)>,
    bytes: Option<Bytes>,
    told: Told,
}

impl Output {
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::new(
                "the standard output",
                None,
                Box::new(io::stdout()),
            ));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.tmp"));
        let file = File::create(&temporary).map_err(|error| unwritable(&shown(path), &error))?;
        let files = Some((path.to_owned(), temporary));
        Ok(Self::new(&shown(path), files, Box::new(file)))
    }

    fn new(name: &str, file: Option<(PathBuf, PathBuf)>, bytes: Bytes) -> Self {
        let told = Told {
            name: name.to_owned(),
            standard: file.is_none(),
            first: Arc::default(),
        };
        let watched = Watched {
            bytes,
            told: told.clone(),
        };
        Self {
            file,
            bytes: Some(Box::new(BufWriter::new(watched))),
            told,
        }
    }

    pub(super) fn bytes(&mut self) -> Bytes {
        self.bytes.take().unwrap_or_else(|| Box::new(io::sink()))
    }

    /// What the system has said about the output.
    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let Some((path, temporary)) = self.file.take() else {
            return Ok(());
        };
        fs::rename(&temporary, &path).map_err(|error| unwritable(&shown(&path), &error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((_, temporary)) = &self.file {
            // It failed before: a file that stays does no harm.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn shown(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn unwritable(name: &str, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the disk is full: free some space or write elsewhere with --output"
        }
        _ => "",
    };
    let cause = io::Error::new(error.kind(), error.to_string());
    Error::invalid(format!("{name} cannot be written{remedy}")).caused_by(cause)
}

/// The first error of an output. The writers of the formats lose its kind.
#[derive(Debug, Clone)]
pub(super) struct Told {
    name: String,
    /// Whether it is the standard output.
    standard: bool,
    first: Arc<OnceLock<io::Error>>,
}

impl Told {
    /// Whether the reader of standard output has seen enough.
    pub(super) fn is_closed(&self) -> bool {
        let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        self.standard && self.first.get().is_some_and(closed)
    }

    /// Why a writer failed: because of its output, or for a reason of its own.
    pub(super) fn error(&self, error: Error) -> Error {
        match self.first.get() {
            Some(first) => unwritable(&self.name, first),
            None => error,
        }
    }
}

/// An output whose first error is kept. Once the reader of standard output is gone it takes
/// everything and writes nothing.
struct Watched {
    bytes: Bytes,
    told: Told,
}

impl Watched {
    fn watch<T>(&self, done: io::Result<T>, otherwise: T) -> io::Result<T> {
        let error = match done {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => error,
            done => return done,
        };
        let copy = io::Error::new(error.kind(), error.to_string());
        // Only the first is of interest.
        let _ = self.told.first.set(copy);
        if self.told.is_closed() {
            Ok(otherwise)
        } else {
            Err(error)
        }
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.told.is_closed() {
            return Ok(bytes.len());
        }
        let done = self.bytes.write(bytes);
        self.watch(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.told.is_closed() {
            return Ok(());
        }
        let done = self.bytes.flush();
        self.watch(done, ())
    }
}

type Bytes = Box<dyn Write + Send>;

/// Rows into one of the formats.
pub(super) enum Writer {
    /// A table needs the widths of all rows.
    Table(Bytes, Vec<RecordBatch>),
    Json(Box<json::Writer<Bytes, LineDelimited>>),
    Csv(Box<csv::Writer<Bytes>>),
    Parquet(Box<ArrowWriter<Bytes>>),
}

impl Writer {
    pub(super) fn new(format: Format, bytes: Bytes, schema: &SchemaRef) -> Result<Self> {
        Ok(match format {
            Format::Table => Self::Table(bytes, vec![]),
            Format::Json => {
                let builder = json::WriterBuilder::new().with_explicit_nulls(true);
                Self::Json(Box::new(builder.build(bytes)))
            }
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(bytes);
                // The header, also of no rows.
                writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
                Self::Csv(Box::new(writer))
            }
            Format::Parquet => {
                let codec = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(codec).build();
                let writer = ArrowWriter::try_new(bytes, Arc::clone(schema), Some(properties));
                Self::Parquet(Box::new(writer.map_err(failed)?))
            }
        })
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Self::Table(_, batches) => batches.push(batch),
            Self::Json(writer) => writer.write(&batch)?,
            Self::Csv(writer) => writer.write(&batch)?,
            Self::Parquet(writer) => writer.write(&batch).map_err(failed)?,
        }
        Ok(())
    }

    pub(super) fn finish(self, schema: &SchemaRef) -> Result<()> {
        let mut bytes = match self {
            Self::Table(mut bytes, batches) => {
                let table = pretty_format_batches_with_schema(Arc::clone(schema), &batches)?;
                writeln!(bytes, "{table}").map_err(failed)?;
                bytes
            }
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Csv(writer) => writer.into_inner(),
            Self::Parquet(writer) => writer.into_inner().map_err(failed)?,
        };
        bytes.flush().map_err(failed)
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("the rows cannot be written").caused_by(error)
}
