//! A recording through eight indicator columns into Parquet, next to reading and writing alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use connectors::Owner;
use connectors::parquet::read::{Ordered, Request};
use engine::intake::{Arrival, recording};
use engine::runtime::{Replay, Speed};
use engine::stream::ARRIVED_AT;
use engine::{Epoch, Graph, Sink};
use tokio::runtime::Runtime;

use crate::Size;
use crate::job::{self, Feed};
use crate::measure::{Sample, Scope, contest, contestant, sample};
use crate::report::{Goal, Section};

/// Batches of results that *scan and write* writes again and again.
const SPECIMENS: usize = 64;

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let count = size.rows(5_000_000);
    let runtime = job::runtime()?;
    let folder = tempfile::tempdir()?;
    record(&runtime, folder.path(), count)?;
    let bench = Bench {
        runtime: &runtime,
        folder: folder.path(),
        count,
    };
    let results = bench.specimens()?;
    let replayed = contestant("replay", || bench.replay());
    let alone = contestant("scan and write alone", || bench.scan_and_write(&results));
    let series = contest(size.rounds(), vec![replayed, alone])?;
    let mut section = Section::default();
    section.say(format!(
        "{count} rows of 1,000 symbols from a recording (zstd) into Parquet (lz4, floats split by \
         byte) with eight columns more: RSI 14, EMA 12 and 26, MACD with signal and histogram, SMA \
         20, volume z-score 20. The replay also keeps the digest of its output. *Scan and write \
         alone* reads the same recording with the same reader and writes rows that the replay made, \
         held in memory, with the same sink, on one thread; the replay has a thread for the \
         graph."
    ));
    section.compare("rows", &series);
    let what = "replay against scan and write alone";
    let ratio = series[0].ratio(&series[1]);
    section.goal(Goal::at_most(format!("{what}, CPU time"), ratio, 1.5, "×"));
    let ratio = series[0].wall_ratio(&series[1]);
    section.goal(Goal::at_most(
        format!("{what}, by the clock"),
        ratio,
        1.5,
        "×",
    ));
    Ok(section)
}

/// Lets a job record a market.
fn record(runtime: &Runtime, folder: &Path, count: usize) -> Result<()> {
    let source = job::market("max", Some(count));
    let archive = folder.join("recording");
    let script = format!(
        "CREATE TABLE trades (
           symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9), WATERMARK FOR ts AS ts
         ) WITH ({source}, 'archive' = '{}');
         CREATE TABLE results (price DOUBLE) WITH ({});
         INSERT INTO results SELECT price FROM trades;",
        archive.display(),
        job::BLACKHOLE
    );
    let graph = job::compile(&script, &[])?;
    job::finish(runtime, &graph, &folder.join("log")).map(drop)
}

struct Bench<'a> {
    runtime: &'a Runtime,
    folder: &'a Path,
    count: usize,
}

impl Bench<'_> {
    fn reader(&self, graph: &Graph) -> Result<Ordered> {
        let request = Request {
            schema: recording::schema(&graph.inputs[0].stream.source_schema()),
            required: vec![],
            order_by: ARRIVED_AT.to_owned(),
            from: None,
            to: None,
        };
        Ok(Ordered::open(
            &self.folder.join("recording/trades"),
            &request,
        )?)
    }

    fn replay(&self) -> Result<Sample> {
        let output = tempfile::tempdir_in(self.folder)?;
        let graph = graph(output.path())?;
        let mut rows = 0;
        let taken = sample(Scope::Process, self.count, || {
            let replay = Replay {
                graph: Arc::clone(&graph),
                readers: vec![Box::new(self.reader(&graph)?)],
                targets: vec![sink(&graph)?],
                speed: Speed::Max,
                close: true,
            };
            rows = self.runtime.block_on(async {
                let mut job = replay.start();
                job.wait().await?;
                anyhow::Ok(job.status().targets[0].rows)
            })?;
            Ok(())
        })?;
        ensure!(
            rows as usize == self.count,
            "{rows} of {} rows were written",
            self.count
        );
        Ok(taken)
    }

    /// Some results of the replay.
    fn specimens(&self) -> Result<Vec<RecordBatch>> {
        let graph = graph(self.folder)?;
        let mut reader = self.reader(&graph)?;
        let mut feed = Feed::new(&graph)?;
        let mut results = vec![];
        while results.len() < SPECIMENS
            && let Some(batch) = reader.next_batch()?
        {
            for arrival in recording::decode(&batch, 0)? {
                if let Arrival::Records(records) = arrival {
                    results.extend(feed.push(records.rows)?);
                }
            }
        }
        Ok(results)
    }

    fn scan_and_write(&self, results: &[RecordBatch]) -> Result<Sample> {
        let output = tempfile::tempdir_in(self.folder)?;
        let graph = graph(output.path())?;
        let mut results = results.iter().cycle();
        let mut rows = 0;
        let taken = sample(Scope::Process, self.count, || {
            let (mut reader, mut sink) = (self.reader(&graph)?, sink(&graph)?);
            self.runtime.block_on(async {
                sink.published().await?;
                let mut epoch = Epoch(0);
                while let Some(batch) = reader.next_batch()? {
                    let result = results.next().context("the replay made no rows")?;
                    let length = batch.num_rows().min(result.num_rows());
                    rows += std::hint::black_box(batch).num_rows();
                    epoch = epoch.next();
                    sink.publish(epoch, &[result.slice(0, length)]).await?;
                }
                anyhow::Ok(sink.flush().await?)
            })
        })?;
        ensure!(
            rows >= self.count,
            "{rows} of {} rows were read",
            self.count
        );
        Ok(taken)
    }
}

fn sink(graph: &Graph) -> Result<Box<dyn Sink>> {
    let stream = &graph.targets[0].stream;
    let owner = Owner {
        job: "replay".to_owned(),
        shard: 0,
    };
    Ok(connectors::find(&stream.connector)?.sink(stream, &owner)?)
}

/// The query with its output in that folder.
fn graph(output: &Path) -> Result<Arc<Graph>> {
    let path = output.display();
    let sink = format!("'connector' = 'parquet', 'path' = '{path}', 'compression' = 'lz4'");
    job::compile(&job::eight(&job::market("max", None), &sink), &[])
}
