//! Queries of people who may see tables and nothing else of the machine: no file by its name, and
//! nothing written to the temporary folder.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::options::{ParquetReadOptions, ReadOptions};
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::{Batch, Verify, explain, parse};
use crate::catalog::normalised;
use crate::error::{Error, Result};
use crate::functions::LENGTHENING;
use crate::script;

/// The tables that a query names, each once, as they are called: whoever answers it makes them
/// readable, and no others. A file is not among them: the query is then refused when it is run.
pub fn tables(text: &str) -> Result<Vec<String>> {
    let (query, _) = parse(text)?;
    let mut names: Vec<String> = script::relations(&query).iter().map(normalised).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

impl Batch {
    /// A place whose queries read the tables that are added to it and nothing else, and fail
    /// where they need more memory. Functions that lengthen text at will are not there.
    pub fn closed(memory_bytes: usize, verify: Verify) -> Result<Self> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(memory_bytes, 1.0)
            .with_disk_manager_builder(disk);
        let batch = Self::build(runtime, true, verify)?;
        for name in LENGTHENING {
            batch.context.deregister_udf(name);
        }
        Ok(batch)
    }

    /// Makes a table readable by name: the rows of Parquet files, and rows in memory that are not
    /// in the files yet. A column that a file lacks is NULL there.
    pub fn add_table(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        files: &[PathBuf],
        rows: Vec<RecordBatch>,
    ) -> Result<()> {
        let table = self.table(schema, files, rows);
        let added = table.and_then(|table| {
            self.context
                .register_table(TableReference::bare(name), table)
        });
        added.map_err(|error| vec![explain(&error, Span::empty())])?;
        self.known.push(name.to_owned());
        Ok(())
    }

    fn table(
        &self,
        schema: &SchemaRef,
        files: &[PathBuf],
        rows: Vec<RecordBatch>,
    ) -> Result<Arc<dyn datafusion::catalog::TableProvider>, DataFusionError> {
        let recent = MemTable::try_new(Arc::clone(schema), vec![rows])?;
        if files.is_empty() {
            return Ok(Arc::new(recent));
        }
        let (config, tables) = (
            self.context.copied_config(),
            self.context.copied_table_options(),
        );
        let options = ParquetReadOptions::default().to_listing_options(&config, tables);
        let urls: Result<Vec<_>, _> = files
            .iter()
            .map(|file| ListingTableUrl::parse(file.to_string_lossy()))
            .collect();
        let config = ListingTableConfig::new_with_multi_paths(urls?)
            .with_listing_options(options)
            .with_schema(Arc::clone(schema));
        let published = ListingTable::try_new(config)?;
        let published = self.context.read_table(Arc::new(published))?;
        let recent = self.context.read_table(Arc::new(recent))?;
        Ok(published.union(recent)?.into_view())
    }

    /// The error of a query that names a file.
    pub(super) fn no_files(&self, span: Span) -> Error {
        let error = Error::invalid("files cannot be read here", span);
        match self.known.as_slice() {
            [] => error.hint("name a table that a job writes"),
            known => error.hint(format!("name a table: {}", known.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::util::pretty::pretty_format_batches;
    use futures::TryStreamExt;

    use super::*;

    fn numbers(numbers: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
    }

    async fn answer(batch: &Batch, text: &str) -> Result<String> {
        let rows = batch.query(text).await?.batches.try_collect::<Vec<_>>();
        let rows = rows.await.map_err(|error| vec![error])?;
        Ok(pretty_format_batches(&rows).unwrap().to_string())
    }

    #[test]
    fn a_query_tells_its_tables() {
        let named = |text| tables(text).unwrap();
        let text = "WITH a AS (SELECT * FROM bars) SELECT * FROM a, \"bars$late\", Bars, 'x.csv'";
        assert_eq!(named(text), ["bars", "bars$late"]);
        assert_eq!(named("SELECT 1"), Vec::<String>::new());
        for wrong in [
            "",
            "DROP TABLE a",
            "SELECT 1; SELECT 2",
            "COPY a TO 'b'",
            "SET a = 1",
        ] {
            assert!(tables(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn files_and_rows_are_one_table() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.parquet");
        let mut writer = datafusion::parquet::arrow::ArrowWriter::try_new(
            std::fs::File::create(&file).unwrap(),
            numbers(&[]).schema(),
            None,
        )
        .unwrap();
        writer.write(&numbers(&[1, 2])).unwrap();
        writer.close().unwrap();
        let mut batch = Batch::closed(16 << 20, |_| Ok(())).unwrap();
        let schema = numbers(&[]).schema();
        let rows = vec![numbers(&[3])];
        batch.add_table("t", &schema, &[file], rows).unwrap();
        batch.add_table("empty", &schema, &[], vec![]).unwrap();
        let text = "SELECT sum(n) AS sum, (SELECT count(*) FROM empty) AS none FROM t WHERE n > 1";
        let found = answer(&batch, text).await.unwrap();
        assert!(found.contains("| 5   | 0    |"), "{found}");
    }

    #[tokio::test]
    async fn nothing_of_the_machine_is_in_reach() {
        let mut batch = Batch::closed(16 << 20, |_| Ok(())).unwrap();
        let schema = numbers(&[]).schema();
        batch.add_table("t", &schema, &[], vec![]).unwrap();
        for text in [
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM '/etc/*.csv'",
            "SELECT * FROM 'https://example.com/a.parquet'",
            "SELECT * FROM t WHERE n IN (SELECT a FROM 'x.csv')",
            "SELECT * FROM t JOIN 'x.csv' ON true",
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM read_parquet('/etc/passwd')",
            "SELECT * INTO u FROM t",
            "COPY t TO '/tmp/x.csv'",
            "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '/etc/passwd'",
            "SET datafusion.execution.batch_size = 1",
            "INSERT INTO t VALUES (1)",
        ] {
            let errors = answer(&batch, text).await.unwrap_err();
            assert!(!errors.is_empty(), "{text}");
        }
        let error = answer(&batch, "SELECT * FROM 'x.csv'").await.unwrap_err();
        let told = "line 1, column 15: files cannot be read here; name a table: t";
        assert_eq!(error[0].to_string(), told);
    }

    #[tokio::test]
    async fn memory_is_limited_and_the_error_says_so() {
        let batch = Batch::closed(1 << 20, |_| Ok(())).unwrap();
        let text = "SELECT value, count(*) FROM generate_series(1, 2000000) GROUP BY value \
                    ORDER BY value";
        let errors = answer(&batch, text).await.unwrap_err();
        assert!(super::super::is_exhausted(&errors[0]), "{errors:?}");
        for text in ["repeat('x', 9)", "lpad('x', 9)", "rpad('x', 9)"] {
            let errors = answer(&batch, &format!("SELECT length({text})"))
                .await
                .unwrap_err();
            let told = errors[0].to_string();
            assert!(told.contains("no function is called"), "{told}");
        }
    }
}
