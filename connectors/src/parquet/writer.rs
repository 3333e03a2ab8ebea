//! One growing Parquet file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::{Error, Result};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression as Codec, Encoding, Type, ZstdLevel};
use parquet::errors::{ParquetError, Result as Written};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::Compression;
use super::checksum::{self, Hashed};
use super::layout::unwritable;

/// Bytes of the texts of a dictionary, from which on a column of a row group does without: ten
/// thousand symbols fit, but texts that never come again are not looked up for long.
const DICTIONARY: usize = 128 * 1024;

/// Rows of a row group: as many as a thread of a query likes to take at once. Twice as many are
/// written no faster, and wait in memory meanwhile.
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
            Type::FIXED_LEN_BYTE_ARRAY => Encoding::PLAIN,
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
    groups: Option<Groups>,
}

/// The row groups that are whole, and the one under way.
#[derive(Debug)]
struct Groups {
    schema: SchemaRef,
    file: SerializedFileWriter<Hashed>,
    factory: ArrowRowGroupWriterFactory,
    /// The columns of the row group under way, nested ones by their leaves; none before its first
    /// row.
    group: Vec<ArrowColumnWriter>,
    /// How many rows it has.
    rows: usize,
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
        let groups = Groups::new(Hashed::new(file), schema, properties);
        let groups = Some(groups.map_err(|e| failed(&path, e))?);
        Ok(Self { path, groups })
    }

    /// Appends the rows of batches.
    pub(super) fn write(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let Some(groups) = &mut self.groups else {
            return Err(Error::internal("a finished file is written"));
        };
        groups.write(batches).map_err(|e| failed(&self.path, e))
    }

    /// About how large the file would be if it ended now.
    pub(super) fn bytes(&self) -> u64 {
        self.groups.as_ref().map_or(0, Groups::bytes)
    }

    /// Completes the file and makes it durable under its temporary name.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        if let Some(groups) = self.groups.take() {
            let file = groups.finish();
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
        if self.groups.take().is_some() {
            remove(&self.path);
        }
    }
}

impl Groups {
    fn new(file: Hashed, schema: &SchemaRef, properties: &WriterProperties) -> Written<Self> {
        let schema = SchemaRef::clone(schema);
        let properties = Some(properties.clone());
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(&schema), properties)?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            schema,
            file,
            factory,
            group: vec![],
            rows: 0,
        })
    }

    /// Appends the rows of batches, and ends each row group that has all of its rows.
    fn write(&mut self, batches: &[RecordBatch]) -> Written<()> {
        let mut fitting = vec![];
        for batch in batches {
            let (mut first, end) = (0, batch.num_rows());
            while first < end {
                let rows = (end - first).min(ROW_GROUP - self.rows);
                fitting.push(batch.slice(first, rows));
                first += rows;
                self.rows += rows;
                if self.rows == ROW_GROUP {
                    self.append(&fitting)?;
                    fitting.clear();
                    self.end()?;
                }
            }
        }
        match fitting.is_empty() {
            true => Ok(()),
            false => self.append(&fitting),
        }
    }

    /// Appends rows to the row group, a column after the other; `ArrowWriter` does it a batch after
    /// the other. So what encodes a column stays in the processor's cache for all of the batches.
    fn append(&mut self, batches: &[RecordBatch]) -> Written<()> {
        if self.group.is_empty() {
            let number = self.file.flushed_row_groups().len();
            self.group = self.factory.create_column_writers(number)?;
        }
        let mut first = 0;
        for (i, field) in self.schema.fields().iter().enumerate() {
            let mut end = first;
            for batch in batches {
                let leaves = compute_leaves(field, batch.column(i))?;
                end = first + leaves.len();
                let columns = self.group.get_mut(first..end).ok_or_else(|| {
                    ParquetError::General(format!("column '{}' has too many leaves", field.name()))
                })?;
                for (column, leaf) in columns.iter_mut().zip(&leaves) {
                    column.write(leaf)?;
                }
            }
            first = end;
        }
        Ok(())
    }

    /// Ends the row group.
    fn end(&mut self) -> Written<()> {
        let mut group = self.file.next_row_group()?;
        for column in self.group.drain(..) {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let group = self.group.iter();
        let group = group.map(ArrowColumnWriter::get_estimated_total_bytes);
        (self.file.bytes_written() + group.sum::<usize>()) as u64
    }

    fn finish(mut self) -> Written<Hashed> {
        if self.rows > 0 {
            self.end()?;
        }
        self.file.into_inner()
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
    use std::ops::Range;
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, DictionaryArray, Float64Array, ListArray, StringArray, StructArray,
        new_null_array,
    };
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
    use engine::intake::recording;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    /// Rows with columns of one leaf and of several, some of them NULL.
    fn rows(numbers: Range<usize>) -> RecordBatch {
        let some = |n: usize| (!n.is_multiple_of(7)).then_some(n);
        let each = || numbers.clone().map(some);
        let floats: Float64Array = each().map(|n| Some(n? as f64)).collect();
        let texts: StringArray = each().map(|n| Some(format!("row {}", n?))).collect();
        let (floats, texts): (ArrayRef, ArrayRef) = (Arc::new(floats), Arc::new(texts));
        let days: DictionaryArray<Int32Type> =
            each().map(|n| Some(["Mon", "Tue"][n? % 2])).collect();
        let list = |n| Some((0..n? as i64 % 4).map(Some).collect::<Vec<_>>());
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(each().map(list));
        let field = |name, values: &ArrayRef| Field::new(name, values.data_type().clone(), true);
        let parts = StructArray::new(
            vec![field("x", &floats), field("text", &texts)].into(),
            vec![Arc::clone(&floats), Arc::clone(&texts)],
            Some(
                each()
                    .map(|n| n.is_none_or(|n| !n.is_multiple_of(5)))
                    .collect(),
            ),
        );
        let columns: [(&str, ArrayRef); 6] = [
            ("parts", Arc::new(parts)),
            ("x", floats),
            ("lists", Arc::new(lists)),
            ("day", Arc::new(days)),
            ("text", texts),
            ("nothing", new_null_array(&DataType::Utf8, numbers.len())),
        ];
        let nullable = columns.map(|(name, values)| (name, values, true));
        RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
    }

    /// Row groups that begin in one call and end in another, and a batch with more than one.
    #[test]
    fn rows_are_read_back_as_they_were_written() {
        let sizes = [1, 8_192, ROW_GROUP - 8_190, 0, 3, 2 * ROW_GROUP, 5];
        let mut next = 0;
        let batches = sizes.map(|count| {
            next += count;
            rows(next - count..next)
        });
        let schema = batches[0].schema();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let properties = properties(&schema, Compression::Zstd, Purpose::Table).unwrap();
        let mut writer = Writer::create(path.clone(), &schema, &properties).unwrap();
        for part in [&batches[..2], &batches[2..5], &[], &batches[5..]] {
            writer.write(part).unwrap();
        }
        writer.finish().unwrap();

        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let groups = reader.metadata().row_groups().iter();
        let groups: Vec<_> = groups.map(|group| group.num_rows() as usize).collect();
        assert_eq!(groups, [ROW_GROUP, ROW_GROUP, ROW_GROUP, 11]);
        let read: Written<Vec<_>, _> = reader.build().unwrap().collect();
        let whole = |batches: &[RecordBatch]| concat_batches(&schema, batches).unwrap();
        assert_eq!(whole(&read.unwrap()), whole(&batches));
    }

    #[test]
    fn a_number_has_no_dictionary_whatever_holds_it() {
        let types = [
            DataType::Float64,
            DataType::Int64,
            DataType::Decimal128(18, 4),
            DataType::Decimal128(38, 4),
        ];
        let field = |of: DataType| Field::new(of.to_string(), of, true);
        let schema = Arc::new(Schema::new(types.map(field).to_vec()));
        let properties = properties(&schema, Compression::Zstd, Purpose::Table).unwrap();
        for field in schema.fields() {
            let column = ColumnPath::from(field.name().as_str());
            assert!(!properties.dictionary_enabled(&column), "{}", field.name());
        }
    }

    #[test]
    fn what_files_are_for_decides_statistics() {
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
