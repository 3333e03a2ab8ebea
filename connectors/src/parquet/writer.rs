//! One growing Parquet file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression as Codec, Encoding, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::Compression;
use super::checksum::{self, Hashed};
use super::layout::unwritable;

/// Bytes of the texts of a dictionary, from which on a column of a row group does without: ten
/// thousand symbols fit, but texts that never come again are not looked up for long.
const DICTIONARY: usize = 128 * 1024;

/// Rows of a row group: as many as a thread of a query likes to take at once. A compressor is set up
/// anew for each column of each.
const ROW_GROUP: usize = 128 * 1024;

/// What files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Queries of any kind: each column has the least and the highest value of each row group, by
    /// which queries leave some out, at a comparison per value. Pages have none.
    Table,
    /// Replays: they leave out row groups by instants alone, and most are read whole. So other
    /// columns are not compared.
    Recording,
}

/// How files are written: texts by dictionary, floats split by byte, whole numbers and instants
/// by their differences. For numbers a dictionary costs three times as much, and saves little.
///
/// Pages are of the second version: what a compressor does not make smaller stays as it was, and
/// each is made with a copy less.
pub(super) fn properties(
    schema: &SchemaRef,
    compression: Compression,
    purpose: Purpose,
) -> Result<WriterProperties> {
    let codec = match compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
        Compression::Lz4 => Codec::LZ4_RAW,
        Compression::Snappy => Codec::SNAPPY,
        Compression::None => Codec::UNCOMPRESSED,
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(checksum::CREATED_BY.to_owned())
        .set_key_value_metadata(Some(vec![checksum::placeholder()]))
        .set_compression(codec)
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_statistics_enabled(match purpose {
            Purpose::Table => EnabledStatistics::Chunk,
            Purpose::Recording => EnabledStatistics::None,
        })
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_encoding(Encoding::PLAIN);
    for field in schema.fields() {
        if field.data_type().is_temporal() {
            let column = ColumnPath::from(field.name().as_str());
            builder = builder.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
        }
    }
    let columns = ArrowSchemaConverter::new()
        .convert(schema)
        .map_err(|e| Error::invalid("a column has a type that Parquet cannot hold").caused_by(e))?;
    for column in columns.columns() {
        let encoding = match column.physical_type() {
            Type::FLOAT | Type::DOUBLE => Encoding::BYTE_STREAM_SPLIT,
            Type::INT32 | Type::INT64 => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        builder = builder
            .set_column_dictionary_enabled(column.path().clone(), false)
            .set_column_encoding(column.path().clone(), encoding);
    }
    Ok(builder.build())
}

/// A file under its temporary name; dropped unfinished, it is removed.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    writer: Option<ArrowWriter<Hashed>>,
}

impl Writer {
    /// Begins a file in a folder that is there. One that is there already is being written by
    /// somebody else: what a crash left was removed before.
    pub(super) fn create(
        path: PathBuf,
        schema: &SchemaRef,
        properties: &WriterProperties,
    ) -> Result<Self> {
        let file = File::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::invalid(format!(
                "'{}' is being written by another process; give each a 'path' of its own",
                path.display()
            )),
            _ => unwritable(&path, error),
        })?;
        let file = Hashed::new(file);
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties.clone()));
        let writer = writer.map_err(|e| failed(&path, e))?;
        Ok(Self {
            path,
            writer: Some(writer),
        })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::internal("a finished file is written"));
        };
        writer.write(rows).map_err(|e| failed(&self.path, e))
    }

    /// About how large the file would be if it ended now.
    pub(super) fn bytes(&self) -> u64 {
        let bytes =
            |writer: &ArrowWriter<Hashed>| writer.bytes_written() + writer.in_progress_size();
        self.writer
            .as_ref()
            .map_or(0, |writer| bytes(writer) as u64)
    }

    /// Completes the file and makes it durable under its temporary name.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner();
            let file = file.and_then(|file| Ok(file.seal()?.sync_all()?));
            if let Err(error) = file {
                let failure = failed(&self.path, error);
                remove(&self.path);
                return Err(failure);
            }
        }
        Ok(self.path.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            remove(&self.path);
        }
    }
}

/// Removes a temporary file; one that stays is removed by the next start.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "a temporary file stays");
    }
}

fn failed(path: &Path, error: ParquetError) -> Error {
    let broken = || Error::internal(format!("'{}' cannot be written", path.display()));
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => unwritable(path, *error),
            Err(cause) => broken().caused_by(cause),
        },
        other => broken().caused_by(other),
    }
}

#[cfg(test)]
mod tests {
    use engine::intake::recording;

    use super::*;

    #[test]
    fn what_files_are_for_decides_statistics() {
        use arrow::datatypes::{DataType, Field, Schema};
        let source = Schema::new(vec![
            Field::new("symbol", DataType::Utf8, true),
            Field::new("price", DataType::Float64, true),
        ]);
        let schema = recording::schema(&source);
        let of = |purpose| properties(&schema, Compression::Zstd, purpose).unwrap();
        let (table, recorded) = (of(Purpose::Table), of(Purpose::Recording));
        for name in ["symbol", "price", "_arrived_at", "_record_time", "_offset"] {
            let column = ColumnPath::from(name);
            let instant = name.ends_with("_at") || name.ends_with("_time");
            let statistics = match instant {
                true => EnabledStatistics::Chunk,
                false => EnabledStatistics::None,
            };
            assert_eq!(table.statistics_enabled(&column), EnabledStatistics::Chunk);
            assert_eq!(recorded.statistics_enabled(&column), statistics, "{name}");
            assert_eq!(recorded.compression(&column), table.compression(&column));
        }
    }
}
