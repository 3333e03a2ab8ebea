//! Recordings: a table's arrivals, kept for good in
//! `<path>/<table>/job=<id>/shard=<n>/date=YYYY-MM-DD/*.parquet`.
//!
//! They are compressed by zstd at its first level: with LZ4 files are a third larger, and a job that
//! reads messages is no faster, as more has to be written. What takes time besides is the encoding,
//! most of all of texts (each is looked up in a dictionary); so only instants have statistics.

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use engine::stream::ARRIVED_AT;
use engine::{Error, Result, Sink};

use super::Compression;
use super::layout::{Layout, file_name};
use super::sink::{ParquetSink, Setup};
use super::writer::Purpose;
use crate::Owner;

/// The folder below the archive `path` with a table's recordings, one folder a job.
#[must_use]
pub fn folder(path: &Path, table: &str) -> PathBuf {
    path.join(file_name(table))
}

/// The folder with the recording of one job's log, all of its shards.
#[must_use]
pub fn of_job(path: &Path, table: &str, owner: &Owner) -> PathBuf {
    folder(path, table).join(format!("job={}", file_name(&owner.job)))
}

/// A sink for the rows of a recording (see [`engine::intake::recording`]), in the order of
/// `_arrived_at`, whose day (UTC) is the folder. It rolls and publishes as the connector
/// `parquet` does by default.
pub fn recorder(
    path: &Path,
    table: &str,
    owner: &Owner,
    schema: &SchemaRef,
) -> Result<Box<dyn Sink>> {
    let date = schema.index_of(ARRIVED_AT).map_err(|_| {
        Error::internal(format!(
            "the recording of table '{table}' has no column '{ARRIVED_AT}'"
        ))
    })?;
    let root = of_job(path, table, owner).join(format!("shard={}", owner.shard));
    let setup = Setup {
        layout: Layout::new(root, owner),
        date: Some(date),
        size: None,
        interval: None,
        compression: Compression::Zstd,
        purpose: Purpose::Recording,
    };
    Ok(Box::new(ParquetSink::build(
        SchemaRef::clone(schema),
        setup,
    )?))
}
