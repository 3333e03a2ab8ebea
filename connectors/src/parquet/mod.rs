//! `'connector' = 'parquet'`: folders of Parquet files, written epoch by epoch, read as a table,
//! and read in order for replays.

mod checksum;
mod days;
mod files;
mod layout;
mod projection;
mod published;
pub mod read;
pub mod recorder;
mod roll;
mod sink;
mod source;
mod start;
mod writer;

use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use engine::{Error, Result, Sink, Source, StreamSpec};
use serde::Deserialize;

use crate::options::{self, Duration, Size};
use crate::{Connector, Owner};

pub use files::{is_pattern, plain_root};
pub use published::{Published, published};
pub use sink::ParquetSink;
pub use source::ParquetSource;

/// Options of the connector `parquet` for a table that is written.
///
/// Rows are published once their epoch is committed. Files are named by owner, shard and the
/// epochs they hold (`owner-shard0-00000012-00000057.parquet`), written in a hidden folder and
/// renamed when they are whole: a reader never sees a half-written file, and an epoch is in exactly
/// one roll however often it is published. The files of one roll appear together, also after a
/// crash. A process whose job another one has taken over publishes nothing any more, even if it
/// only slept, and ends with an error.
///
/// Several jobs may write one folder: each counts, completes and removes files of its own name
/// alone. A job that starts empty is another owner; what it published before stays. Two tables of
/// one job may not: their files have one name.
#[derive(Debug, Deserialize)]
pub struct SinkOptions {
    /// The folder, on this machine; it is created.
    pub path: options::Text,
    /// A roll is finished once it holds about so many bytes; default `64 MB`.
    #[serde(default, rename = "rolling.size")]
    pub size: Option<Size>,
    /// A roll is finished so long after it was begun, also while nothing comes; default `5 min`.
    #[serde(default, rename = "rolling.interval")]
    pub interval: Option<Duration>,
    /// `date`: one folder `date=2024-01-31` per day (UTC) of the table's first TIMESTAMP or DATE
    /// column; `none` (default). A roll has at most 32 files open: where its rows are of more
    /// days, the file that was written least recently is completed, and a day that comes again
    /// gets a further file (`…_1.parquet`). They still appear together.
    #[serde(default)]
    pub partition: Partition,
    /// `zstd` (default), `lz4`, `snappy` or `none`.
    #[serde(default)]
    pub compression: Compression,
}

/// How rows are spread over folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// All in one folder.
    #[default]
    None,
    /// A folder per day.
    Date,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard at its first level.
    #[default]
    Zstd,
    /// LZ4, raw blocks.
    Lz4,
    /// Snappy.
    Snappy,
    /// As they are.
    None,
}

/// Options of the connector `parquet` for a table that is read. The input is bounded.
///
/// Every file is a split, named by its path below the folder; the offset is the number of the
/// row in its file. Files are read one after the other in natural order (`2.parquet` before
/// `10.parquet`), and the watermark does not wait for those that are still to come: with event
/// time they must follow one another in time. Of files side by side in time (one per symbol) all
/// but the first would be late; a replay reads such files merged by time. Columns are found by
/// name; a type that differs is converted where nothing can be lost, and refused otherwise; a
/// nullable column that a file lacks is NULL.
#[derive(Debug, Deserialize)]
pub struct SourceOptions {
    /// A file, a folder (with those in it), or a pattern with `*`, `?` and `**`.
    pub path: options::Text,
}

/// The connector's name in `'connector' = '…'`.
pub const NAME: &str = "parquet";

/// The connector.
#[derive(Debug)]
pub struct Parquet;

impl Connector for Parquet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn Source>> {
        Ok(Box::new(ParquetSource::new(stream)?))
    }

    fn sink(&self, stream: &StreamSpec, owner: &Owner) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ParquetSink::new(stream, owner)?))
    }
}

/// The file, the folder or the pattern that a table of this connector is read from.
pub fn read_from(stream: &StreamSpec) -> Result<PathBuf> {
    let options: SourceOptions = options::parse(stream)?;
    local(stream, &options.path)
}

/// The folder that a table of this connector is written to.
pub fn written_to(stream: &StreamSpec) -> Result<PathBuf> {
    let options: SinkOptions = options::parse(stream)?;
    local(stream, &options.path)
}

/// Puts a file without rows into a folder, so that it can be read as a table of these columns
/// before anything was published to it. A folder that has it already is left alone.
pub fn declare(folder: &Path, schema: &Schema) -> Result<()> {
    let path = folder.join("columns.parquet");
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|e| layout::unwritable(folder, e))?;
    let schema = sink::nullable(schema);
    let properties = writer::properties(&schema, Compression::Zstd, writer::Purpose::Table)?;
    let temporary = folder.join(".columns.parquet.tmp");
    // What a crash left.
    writer::remove(&temporary);
    let file = writer::Writer::create(temporary, &schema, &properties)?.finish()?;
    std::fs::rename(file, &path).map_err(|e| layout::unwritable(&path, e))
}

/// Declares a table that is written to the folder that its options name.
pub fn declare_table(stream: &StreamSpec) -> Result<()> {
    declare(&written_to(stream)?, &stream.schema)
}

/// A path on this machine.
fn local(stream: &StreamSpec, path: &str) -> Result<PathBuf> {
    if path.trim().is_empty() {
        return Err(options::invalid(stream, "path", "is empty"));
    }
    match path.split_once("://") {
        None => Ok(PathBuf::from(path)),
        Some(("file", rest)) => Ok(PathBuf::from(rest)),
        Some((scheme, _)) => Err(options::invalid(
            stream,
            "path",
            &format!("has the scheme '{scheme}', only local paths can be used"),
        )),
    }
}

/// The error of a file that is not what it should be.
fn damaged(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::corrupt(format!(
        "file '{}' is damaged or no Parquet; put a copy in its place, or move it away to go without \
         its rows",
        path.display()
    ))
    .caused_by(error)
}
