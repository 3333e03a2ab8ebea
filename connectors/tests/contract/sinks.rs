//! What every output keeps ([`sink_contract`]), by those that write files.
//!
//! Kafka's transactions keep it in `kafka::contract`, live streams in the server's hub. It does not
//! apply to Kafka with `at-least-once` (a kill doubles rows, which `kafka::write` says), to `stdout`
//! (rows are there before their commit, and again after a kill), nor to `blackhole` (nobody sees
//! anything): what these keep is `sinks_publish_an_epoch_once`, and `terminal`.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use connectors::parquet::{self, recorder};
use engine::intake::{Records, recording};
use engine::testing::contract::{
    Outlet, Publishing, Writer, sink_contract, table_rows, table_schema,
};
use engine::{Arrival, Result, Split, StreamSpec};
use tempfile::TempDir;

use crate::tables::{DAY, owner, stream};

/// The day of some of [`table_rows`].
const SOME_DAY: &str = "date=2024-01-01";

/// A folder of Parquet files.
struct Files {
    folder: TempDir,
    options: Vec<(&'static str, &'static str)>,
}

impl Files {
    fn new(options: &[(&'static str, &'static str)]) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        parquet::declare(folder.path(), &table_schema())?;
        let options = options.to_vec();
        Ok(Self { folder, options })
    }

    fn table(&self) -> StreamSpec {
        let path = self.folder.path().to_str().expect("UTF-8");
        let options = [&[("path", path)], &self.options[..]].concat();
        table_in(&table_schema(), &options)
    }
}

fn table_in(schema: &SchemaRef, options: &[(&str, &str)]) -> StreamSpec {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    stream("parquet", fields.collect(), options)
}

async fn rows_in(folder: &Path, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let path = folder.to_str().expect("UTF-8");
    let table = table_in(schema, &[("path", path)]);
    let mut source = connectors::find("parquet")?.source(&table)?;
    source.splits().await?;
    let mut rows = vec![];
    while let Some(polled) = source.next().await? {
        rows.push(polled.rows);
    }
    Ok(rows)
}

/// A file in the place of a folder that is to be written; dropped, the folder is back.
struct InTheWay(PathBuf);

impl InTheWay {
    fn of(folder: PathBuf) -> Self {
        let aside = folder.with_extension("aside");
        if folder.is_dir() {
            fs::rename(&folder, aside).expect("moved");
        }
        fs::write(&folder, "").expect("written");
        Self(folder)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("removed");
        let aside = self.0.with_extension("aside");
        if aside.is_dir() {
            fs::rename(aside, &self.0).expect("moved back");
        }
    }
}

#[async_trait]
impl Outlet for Files {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        let sink = connectors::find("parquet")?.sink(&self.table(), &owner())?;
        Ok(Box::new(Publishing::new(sink)))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        rows_in(self.folder.path(), &table_schema()).await
    }

    fn fail(&self) -> Result<Option<(Box<dyn Send>, &'static str)>> {
        if !self.options.contains(&("partition", "date")) {
            return Ok(None);
        }
        let day = self.folder.path().join(SOME_DAY);
        let fault: Box<dyn Send> = Box::new(InTheWay::of(day));
        Ok(Some((fault, SOME_DAY)))
    }
}

#[tokio::test]
async fn parquet_files_keep_the_contract() {
    for options in [
        // A roll an epoch; several epochs a roll; as many files as days.
        &[("rolling.size", "1 B")][..],
        &[("rolling.size", "16 kB")],
        &[("partition", "date")],
        &[("partition", "date"), ("rolling.size", "1 B")],
    ] {
        let kept = sink_contract(async || Files::new(options)).await;
        kept.map_err(|error| error.chain()).expect("kept");
    }
}

/// The recording of a table.
struct Recording(TempDir);

impl Recording {
    fn new() -> Result<Self> {
        let recording = Self(tempfile::tempdir().expect("a folder"));
        parquet::declare(&recording.folder(), &recorded_schema())?;
        Ok(recording)
    }

    fn folder(&self) -> PathBuf {
        recorder::of_job(self.0.path(), "t", &owner()).join("shard=0")
    }
}

fn recorded_schema() -> SchemaRef {
    recording::schema(&table_schema())
}

#[async_trait]
impl Outlet for Recording {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        let sink = recorder::recorder(self.0.path(), "t", &owner(), &recorded_schema())?;
        Ok(Box::new(Publishing::new(sink)))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        rows_in(&self.folder(), &recorded_schema()).await
    }

    fn rows(&self, numbers: std::ops::Range<i64>) -> Result<RecordBatch> {
        if numbers.is_empty() {
            return Ok(RecordBatch::new_empty(recorded_schema()));
        }
        // Every third row is of another day.
        let arrived_at = numbers.clone().map(|number| number / 3 * DAY + number);
        let arrival = Arrival::Records(Records {
            table: 0,
            split: Split::new("split"),
            rows: table_rows(numbers.clone())?,
            offsets: numbers.clone().collect(),
            record_times: None,
            arrived_at: arrived_at.collect(),
            rejected: vec![],
            next_offset: numbers.end,
        });
        let rows = recording::encode(&recorded_schema(), &arrival, 0)?;
        Ok(arrow::compute::concat_batches(&recorded_schema(), &rows)?)
    }
}

#[tokio::test]
async fn recordings_keep_the_contract() {
    let kept = sink_contract(async || Recording::new()).await;
    kept.map_err(|error| error.chain()).expect("kept");
}
