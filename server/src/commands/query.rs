//! `millstream query`: one SELECT over files and over the late and dead rows of jobs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json;
use arrow::json::writer::LineDelimited;
use arrow::util::pretty::pretty_format_batches_with_schema;
use engine::Error;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sql::batch::Batch;

use crate::cli::{self, Format};
use crate::exit::Failure;
use crate::script::render_query;

/// What a query may hold in memory; beyond that it goes to the temporary folder.
const MEMORY: usize = 2 << 30;

pub(super) async fn query(arguments: &cli::Query) -> Result<(), Failure> {
    let wrong = |errors| Failure::script(render_query(&arguments.text, errors));
    let format = format(arguments)?;
    let mut batch = Batch::new(MEMORY).map_err(wrong)?;
    add_tables(&mut batch, arguments.data.as_deref())?;
    let mut rows = batch.query(&arguments.text).await.map_err(wrong)?;
    let failed = |error: engine::Error| Failure::run(&error);
    let mut output = Output::open(arguments.output.as_deref()).map_err(failed)?;
    let mut writer = Writer::new(format, output.bytes(), &rows.schema).map_err(failed)?;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.map_err(|error| Failure::failed(&error.to_string()))?;
        writer.write(batch).map_err(failed)?;
        if output.is_closed() {
            return Ok(());
        }
    }
    writer.finish(&rows.schema).map_err(failed)?;
    output.finish().map_err(failed)
}

/// The format that was asked for, or that the output's name says.
fn format(arguments: &cli::Query) -> Result<Format, Failure> {
    let extension = arguments.output.as_ref().and_then(|path| path.extension());
    let named = match extension.and_then(|extension| extension.to_str()) {
        Some("json" | "jsonl" | "ndjson") => Some(Format::Json),
        Some("csv") => Some(Format::Csv),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    };
    let format = arguments.format.or(named).unwrap_or(Format::Table);
    if format == Format::Parquet && arguments.output.is_none() && io::stdout().is_terminal() {
        let message = "Parquet on a terminal helps nobody: name a file with --output";
        return Err(Failure::usage(message));
    }
    Ok(format)
}

/// Makes the tables of the data folder readable by name, or, without one, those of `./data`
/// whose name is there once.
fn add_tables(batch: &mut Batch, data: Option<&Path>) -> Result<(), Failure> {
    let folders = match data {
        Some(data) if data.is_dir() => vec![data.to_owned()],
        Some(data) => {
            let message = format!("there is no data folder '{}'", data.display());
            return Err(Failure::usage(&message));
        }
        None => subfolders(Path::new("data")),
    };
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for table in folders
        .iter()
        .flat_map(|folder| subfolders(&folder.join("tables")))
    {
        let name = table
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.entry(name).or_default().push(table);
    }
    for (name, mut folders) in found {
        let (Some(folder), true) = (folders.pop(), folders.is_empty()) else {
            continue;
        };
        batch.add_folder(&name, folder);
    }
    Ok(())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Standard output, or a file that appears under its name when it is whole.
struct Output {
    /// The name, and the temporary name until then.
    file: Option<(PathBuf, PathBuf)>,
    bytes: Option<Box<dyn Write + Send>>,
    closed: Arc<AtomicBool>,
}

impl Output {
    fn open(path: Option<&Path>) -> engine::Result<Self> {
        let closed = Arc::new(AtomicBool::new(false));
        let Some(path) = path else {
            let bytes = Pipe {
                closed: Arc::clone(&closed),
            };
            return Ok(Self {
                file: None,
                bytes: Some(Box::new(BufWriter::new(bytes))),
                closed,
            });
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.tmp"));
        let file = File::create(&temporary).map_err(|error| unwritable(path, error))?;
        Ok(Self {
            file: Some((path.to_owned(), temporary)),
            bytes: Some(Box::new(BufWriter::new(file))),
            closed,
        })
    }

    fn bytes(&mut self) -> Box<dyn Write + Send> {
        self.bytes.take().unwrap_or_else(|| Box::new(io::sink()))
    }

    /// Whether the reader of standard output has seen enough.
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn finish(mut self) -> engine::Result<()> {
        let Some((path, temporary)) = self.file.take() else {
            return Ok(());
        };
        fs::rename(&temporary, &path).map_err(|error| unwritable(&path, error))
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

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("'{}' cannot be written", path.display())).caused_by(error)
}

/// Standard output; once its reader is gone it takes everything and writes nothing.
struct Pipe {
    closed: Arc<AtomicBool>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match io::stdout().write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(bytes.len())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        io::stdout().flush()
    }
}

type Bytes = Box<dyn Write + Send>;

/// Rows into one of the formats.
enum Writer {
    /// A table needs the widths of all rows.
    Table(Bytes, Vec<RecordBatch>),
    Json(Box<json::Writer<Bytes, LineDelimited>>),
    Csv(Box<csv::Writer<Bytes>>),
    Parquet(Box<ArrowWriter<Bytes>>),
}

impl Writer {
    fn new(format: Format, bytes: Bytes, schema: &SchemaRef) -> engine::Result<Self> {
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

    fn write(&mut self, batch: RecordBatch) -> engine::Result<()> {
        match self {
            Self::Table(_, batches) => batches.push(batch),
            Self::Json(writer) => writer.write(&batch)?,
            Self::Csv(writer) => writer.write(&batch)?,
            Self::Parquet(writer) => writer.write(&batch).map_err(failed)?,
        }
        Ok(())
    }

    fn finish(self, schema: &SchemaRef) -> engine::Result<()> {
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
