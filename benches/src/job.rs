//! From SQL text to what runs: graphs, shards fed from memory, and whole jobs with their log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use connectors::Owner;
use connectors::http::push::{self, Pusher};
use engine::intake::recording;
use engine::intake::{Arrival, Records};
use engine::log::Log;
use engine::runtime::{Backlog, Bindings, Job, JobSpec, Shard, Status};
use engine::{Graph, Polled, Sink, Source, Split, StreamSpec, SystemClock, Taps, Timestamp};
use object_store::local::LocalFileSystem;
use sql::Script;
use sql::catalog::Overrides;
use tokio::runtime::Runtime;

/// The job that came from Flink, as it came.
pub const WEALTHARENA: &str = include_str!("../../sql/examples/wealtharena.sql");
/// The same job with event time and real indicators.
pub const INDICATORS: &str = include_str!("../../sql/examples/wealtharena_indicators.sql");
/// The demo.
pub const DEMO: &str = include_str!("../../sql/examples/demo.sql");

/// The twelve columns of [`crate::monolith`] as SQL, over a table `trades` and into a table
/// `results` with these options.
#[must_use]
pub fn twelve(source: &str, sink: &str) -> String {
    format!(
        "CREATE TABLE trades (
           symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9), WATERMARK FOR ts AS ts
         ) WITH ({source});
         CREATE TABLE results (
           symbol STRING, price DOUBLE, volume BIGINT, lag_1 DOUBLE, lag_5 DOUBLE, lag_15 DOUBLE,
           volume_avg DOUBLE, price_stddev DOUBLE, price_avg DOUBLE, ema_12 DOUBLE, ema_26 DOUBLE,
           macd DOUBLE, signal DOUBLE, hist DOUBLE, rsi_14 DOUBLE
         ) WITH ({sink});
         INSERT INTO results
         SELECT symbol, price, volume,
           LAG(price, 1) OVER w AS lag_1,
           LAG(price, 5) OVER w AS lag_5,
           LAG(price, 15) OVER w AS lag_15,
           AVG(volume) OVER (w ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) AS volume_avg,
           STDDEV(price) OVER (w ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) AS price_stddev,
           AVG(price) OVER (w ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS price_avg,
           ema(price, 12) OVER w AS ema_12,
           ema(price, 26) OVER w AS ema_26,
           (macd(price, 12, 26, 9) OVER w)['macd'] AS macd,
           (macd(price, 12, 26, 9) OVER w)['signal'] AS signal,
           (macd(price, 12, 26, 9) OVER w)['hist'] AS hist,
           rsi(price, 14) OVER w AS rsi_14
         FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);"
    )
}

/// Eight indicator columns, what a backtest would ask for.
#[must_use]
pub fn eight(source: &str, sink: &str) -> String {
    format!(
        "CREATE TABLE trades (
           symbol STRING, price DOUBLE, volume BIGINT, ts TIMESTAMP(9), WATERMARK FOR ts AS ts
         ) WITH ({source});
         CREATE TABLE results (
           symbol STRING, ts TIMESTAMP(9), price DOUBLE, volume BIGINT, rsi_14 DOUBLE,
           ema_12 DOUBLE, ema_26 DOUBLE, macd DOUBLE, signal DOUBLE, hist DOUBLE, sma_20 DOUBLE,
           zscore DOUBLE
         ) WITH ({sink});
         INSERT INTO results
         SELECT symbol, ts, price, volume,
           rsi(price, 14) OVER w AS rsi_14,
           ema(price, 12) OVER w AS ema_12,
           ema(price, 26) OVER w AS ema_26,
           (macd(price, 12, 26, 9) OVER w)['macd'] AS macd,
           (macd(price, 12, 26, 9) OVER w)['signal'] AS signal,
           (macd(price, 12, 26, 9) OVER w)['hist'] AS hist,
           sma(price, 20) OVER w AS sma_20,
           volume_zscore(volume, 20) OVER w AS zscore
         FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);"
    )
}

/// The options of a market of a thousand symbols.
#[must_use]
pub fn market(rate: &str, rows: Option<usize>) -> String {
    let rows = rows.map_or_else(String::new, |rows| format!(", 'rows' = '{rows}'"));
    format!("'connector' = 'market', 'symbols' = '1000', 'rate' = '{rate}'{rows}")
}

/// The options of a sink that forgets.
pub const BLACKHOLE: &str = "'connector' = 'blackhole'";

/// Options that put what [`DEMO`] writes below `folder`.
#[must_use]
pub fn demo_options(folder: &Path) -> Vec<String> {
    let below = |key: &str, name: &str| format!("{key}={}", folder.join(name).display());
    vec![
        below("trades.archive", "recording"),
        below("indicators.path", "indicators"),
        below("bars.path", "bars"),
        below("alerts.path", "alerts"),
    ]
}

/// The graph of a script; `options` are like `trades.rate=max`.
pub fn compile(text: &str, options: &[String]) -> Result<Arc<Graph>> {
    let told = |errors: Vec<sql::Error>| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("; "))
    };
    let overrides = Overrides::parse(options).map_err(told)?;
    let script = Script::parse(text, &overrides).map_err(told)?;
    let graph = sql::compile(&script.catalog, &script.inserts).map_err(told)?;
    Ok(Arc::new(graph))
}

/// A shard of one table, fed from memory.
#[derive(Debug)]
pub struct Feed {
    shard: Shard,
    split: Split,
    offset: i64,
}

impl Feed {
    /// A fresh shard. A graph over several tables or into several is not for it.
    pub fn new(graph: &Arc<Graph>) -> Result<Self> {
        anyhow::ensure!(graph.targets.len() == 1, "the graph has not one target");
        let mut shard = Shard::new(Arc::clone(graph), false)?;
        let split = Split::new("memory");
        let splits = vec![split.clone()];
        shard.arrive(Arrival::Splits {
            table: 0,
            splits,
            at: STARTED,
        })?;
        Ok(Self {
            shard,
            split,
            offset: 0,
        })
    }

    /// Rows as a source hands them over, through the intake and the graph; what the sink would
    /// be given.
    pub fn push(&mut self, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        let from = self.offset;
        self.offset += rows.num_rows() as i64;
        let polled = Polled {
            split: self.split.clone(),
            rows,
            offsets: (from..self.offset).collect::<ScalarBuffer<i64>>(),
            record_times: None,
            rejected: vec![],
            next_offset: self.offset,
        };
        let at = self.shard.intake().stamp(Timestamp(STARTED));
        self.arrive(Arrival::Records(Records::of_poll(0, polled, at)))
    }

    /// The end of the feed: what was held back.
    pub fn end(&mut self) -> Result<Vec<RecordBatch>> {
        let at = self.shard.intake().stamp(Timestamp(STARTED));
        self.arrive(Arrival::End { table: 0, at })
    }

    /// Any arrival.
    pub fn arrive(&mut self, arrival: Arrival) -> Result<Vec<RecordBatch>> {
        self.shard.arrive(arrival)?;
        let emitted = self.shard.take_emitted().targets.into_iter().flatten();
        Ok(emitted.map(|leaving| leaving.rows).collect())
    }

    /// Refuses figures of rows that were late or dead.
    pub fn check(&self) -> Result<()> {
        let counts = self.shard.intake().counts();
        let wrong = counts.iter().any(|table| table.accepted != table.arrived);
        anyhow::ensure!(!wrong, "not every row was accepted: {counts:?}");
        Ok(())
    }
}

/// When the first row of a [`Feed`] arrives: later than every event time.
const STARTED: i64 = 1_900_000_000_000_000_000;

/// Workers for I/O, as many as the machine has cores.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// How often a job commits where a benchmark does not say.
pub const COMMITS: Duration = Duration::from_secs(1);

/// Starts a job on the current runtime with its log in the folder `data`. Late and dead rows are
/// dropped.
pub fn start(graph: &Arc<Graph>, data: &Path) -> Result<Job> {
    Ok(start_with(graph, data, COMMITS, Taps::default())?.0)
}

/// [`start`], with how often it commits, who looks at the outputs, and the ends of the tables whose
/// rows are pushed.
pub fn start_with(
    graph: &Arc<Graph>,
    data: &Path,
    commit_interval: Duration,
    taps: Taps,
) -> Result<(Job, Vec<Pusher>)> {
    let mut pushers = vec![];
    let owner = Owner::unique("bench", 0);
    let targets = connectors::targets(graph, &owner)?;
    let mut bindings = Bindings {
        sources: vec![],
        targets: targets.sinks,
        commit_point: targets.commit_point,
        late: vec![],
        dead: vec![],
        recorders: vec![],
        taps,
    };
    for input in &graph.inputs {
        let stream = &input.stream;
        bindings.sources.push(match push::is_pushed(stream) {
            true => {
                let (pusher, source) = push::open(stream)?;
                pushers.push(pusher);
                source
            }
            false => connectors::find(&stream.connector)?.source(stream)?,
        });
        bindings.late.push(dropped(stream, &owner)?);
        bindings.dead.push(dropped(stream, &owner)?);
        let schema = recording::schema(&stream.source_schema());
        let recorder = input.archive.as_ref().map(|path| {
            connectors::parquet::recorder::recorder(path.as_ref(), &stream.name, &owner, &schema)
        });
        bindings.recorders.push(recorder.transpose()?);
    }
    Ok((go(graph, bindings, data, commit_interval)?, pushers))
}

/// [`start`], of one table into one, with these ends.
pub fn start_between(
    source: Box<dyn Source>,
    graph: &Arc<Graph>,
    sink: Box<dyn Sink>,
    data: &Path,
    commit_interval: Duration,
) -> Result<Job> {
    let (stream, owner) = (&graph.inputs[0].stream, Owner::unique("bench", 0));
    let bindings = Bindings {
        sources: vec![source],
        targets: vec![Some(sink)],
        commit_point: None,
        late: vec![dropped(stream, &owner)?],
        dead: vec![dropped(stream, &owner)?],
        recorders: vec![None],
        taps: Taps::default(),
    };
    go(graph, bindings, data, commit_interval)
}

fn go(graph: &Arc<Graph>, bindings: Bindings, data: &Path, commits: Duration) -> Result<Job> {
    std::fs::create_dir_all(data)?;
    let spec = JobSpec {
        graph: Arc::clone(graph),
        commit_interval: commits,
        snapshot_after: Backlog::A_SECOND,
        digests: false,
    };
    Ok(Job::start(
        spec,
        bindings,
        log(data)?,
        Arc::new(SystemClock),
    ))
}

/// The log of a job in its folder.
pub fn log(data: &Path) -> Result<Log> {
    let store = LocalFileSystem::new_with_prefix(data)?;
    Ok(Log::new(Arc::new(store), "bench".into(), 0))
}

fn dropped(stream: &StreamSpec, owner: &Owner) -> Result<Box<dyn Sink>> {
    let stream = StreamSpec {
        connector: "blackhole".to_owned(),
        options: [("sink.emit".to_owned(), "after-commit".to_owned())].into(),
        ..stream.clone()
    };
    Ok(connectors::find("blackhole")?.sink(&stream, owner)?)
}

/// Runs a bounded job to its end; every row must have been accepted.
pub fn finish(runtime: &Runtime, graph: &Arc<Graph>, data: &Path) -> Result<Status> {
    finish_with(runtime, graph, data, COMMITS)
}

/// [`finish`], with how often it commits.
pub fn finish_with(
    runtime: &Runtime,
    graph: &Arc<Graph>,
    data: &Path,
    commit_interval: Duration,
) -> Result<Status> {
    let status = runtime.block_on(async {
        let (mut job, _) = start_with(graph, data, commit_interval, Taps::default())?;
        job.wait().await?;
        anyhow::Ok(job.status())
    })?;
    for table in &status.tables {
        let counts = table.counts;
        let whole = counts.arrived > 0 && counts.accepted == counts.arrived;
        anyhow::ensure!(whole, "not every row was accepted: {counts:?}");
    }
    Ok(status)
}
