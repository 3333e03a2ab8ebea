//! `'connector' = 'market'`: a seeded market simulator; the demo's feed and every benchmark's load.

mod columns;
mod simulator;

use std::collections::BTreeSet;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use engine::{Clock, Error, Polled, Position, Result, Source, Split, StreamSpec, SystemClock};
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep_until};

use crate::{Connector, instant, options};
use columns::Column;
use simulator::{Settings, Simulator, Tick};

/// Rows of a batch at most.
const BATCH: usize = 8_192;
/// How long a batch may gather rows.
const GATHER: Duration = Duration::from_millis(10);
/// The symbols where none are named.
const SYMBOLS: [&str; 7] = [
    "AAPL", "GOOGL", "MSFT", "TSLA", "AMZN", "BTC-USD", "ETH-USD",
];

/// Options of the connector `market`. It only reads, has one split `market-0`, and its offset is
/// the number of the row.
///
/// The columns of the table are found by name; which ones are there, and of which types:
/// `symbol` and `side` STRING; `ts` or `timestamp` TIMESTAMP or (ISO-8601) STRING; `price`,
/// `high`, `low`, `open`, `change`, `change_percent`, `market_cap`, `pe_ratio`,
/// `dividend_yield`, `bid`, `ask` DOUBLE, FLOAT or DECIMAL; `volume` and `trade_id` BIGINT
/// (`volume` also DOUBLE, `trade_id` also STRING).
///
/// Prices walk randomly in ticks of 0.01 around a level of their symbol; volumes follow the US
/// session (14:30 to 21:00 UTC, high at both ends), but for symbols with a dash, which trade round the
/// clock; bursts multiply volume and volatility for some hundred rows.
///
/// The same options give the same rows: row n follows from the seed and the rows before it.
/// Seeking simulates the rows before without building them. Rows that are read again in a
/// recovery come as fast as they are taken.
#[derive(Debug, Deserialize)]
pub struct MarketOptions {
    /// How many symbols (`1000`) or which (`AAPL,MSFT`). Beyond the seven defaults they are
    /// called `S0008` and so on.
    #[serde(default)]
    pub symbols: Option<options::Text>,
    /// Rows a second (default 1000), or `max`: as fast as they are taken. The event time
    /// advances by one over the rate per row; at `max` by one millisecond.
    #[serde(default)]
    pub rate: Option<options::Text>,
    /// Rows after which the feed ends; endless where absent.
    #[serde(default)]
    pub rows: Option<i64>,
    /// Another seed is another market; default 42.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Event time of the first row; default `2024-01-02T14:30:00Z`. `now` is the wall clock at
    /// the start: such a feed cannot be read twice, so the log keeps its rows.
    #[serde(default)]
    pub start: Option<options::Text>,
    /// The part of rows (0 to 1) whose event time lies 5 to 30 seconds back; default 0.
    #[serde(default, rename = "late.ratio")]
    pub late: f64,
    /// The part of rows (0 to 1) that repeat the row before in every column; default 0.
    #[serde(default, rename = "duplicate.ratio")]
    pub duplicate: f64,
    /// Every so many rows of a symbol the price jumps by 5 % for one row, with 20 times the
    /// volume: the rows numbered n, 2n, … of that symbol, from 1. Absent: never.
    #[serde(default, rename = "anomaly.every")]
    pub anomaly: Option<u64>,
}

/// The connector.
#[derive(Debug)]
pub struct Market;

impl Connector for Market {
    fn name(&self) -> &'static str {
        "market"
    }

    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn Source>> {
        Ok(Box::new(MarketSource::new(stream)?))
    }
}

/// How fast rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rate {
    PerSecond(u64),
    Max,
}

/// When the first row happens.
#[derive(Debug, Clone, Copy)]
enum Start {
    At(i64),
    Now,
}

/// The feed.
#[derive(Debug)]
pub struct MarketSource {
    settings: Settings,
    start: Start,
    schema: SchemaRef,
    columns: Vec<Column>,
    rate: Rate,
    rows: i64,
    simulator: Option<Simulator>,
    /// Whether rows are read again.
    again: bool,
    /// Where they are read again from: the position to go on from lies behind it.
    begun: Option<Simulator>,
    ticks: Vec<Tick>,
    /// Since when rows are due, and the row that was due then.
    since: Option<(Instant, i64)>,
}

impl MarketSource {
    /// Reads the options and matches the columns.
    pub fn new(stream: &StreamSpec) -> Result<Self> {
        let options: MarketOptions = options::parse(stream)?;
        let rate = match options.rate.as_deref().map(str::trim) {
            None => Rate::PerSecond(1_000),
            Some("max") => Rate::Max,
            Some(text) => {
                let rate = text
                    .parse()
                    .ok()
                    .filter(|rate| (1..=1_000_000_000).contains(rate));
                let message = format!("is '{text}', expected rows a second or 'max'");
                Rate::PerSecond(rate.ok_or_else(|| options::invalid(stream, "rate", &message))?)
            }
        };
        let start = match options.start.as_deref() {
            None => Start::At(1_704_205_800_000_000_000),
            Some("now") => Start::Now,
            Some(text) => Start::At(instant::parse(text.as_bytes()).ok_or_else(|| {
                let expected = "expected 'now' or an instant such as '2024-01-02T14:30:00Z'";
                options::invalid(stream, "start", &format!("is '{text}', {expected}"))
            })?),
        };
        for (key, ratio) in [
            ("late.ratio", options.late),
            ("duplicate.ratio", options.duplicate),
        ] {
            if !(0.0..=1.0).contains(&ratio) {
                let message = format!("is '{ratio}', expected a number from 0 to 1");
                return Err(options::invalid(stream, key, &message));
            }
        }
        if options.anomaly == Some(0) || options.rows.is_some_and(|rows| rows < 0) {
            let key = if options.anomaly == Some(0) {
                "anomaly.every"
            } else {
                "rows"
            };
            return Err(options::invalid(stream, key, "must count upwards from 1"));
        }
        if let Some(column) = stream.metadata.first() {
            return Err(Error::invalid(format!(
                "table '{}' has the metadata column '{}', but the connector 'market' has no metadata",
                stream.name,
                column.field.name()
            )));
        }
        let columns = stream
            .schema
            .fields()
            .iter()
            .map(|field| Column::new(stream, field));
        Ok(Self {
            settings: Settings {
                symbols: symbols(stream, options.symbols.as_deref())?,
                seed: options.seed.unwrap_or(42),
                rate: match rate {
                    Rate::PerSecond(rate) => rate,
                    Rate::Max => 1_000,
                },
                late: options.late,
                duplicate: options.duplicate,
                anomaly: options.anomaly.unwrap_or(u64::MAX),
            },
            start,
            schema: stream.source_schema(),
            columns: columns.collect::<Result<_>>()?,
            rate,
            rows: options.rows.unwrap_or(i64::MAX),
            simulator: None,
            again: false,
            begun: None,
            ticks: Vec::with_capacity(BATCH),
            since: None,
        })
    }

    fn fresh(&self) -> Simulator {
        let start = match self.start {
            Start::At(start) => start,
            Start::Now => SystemClock.now().0,
        };
        Simulator::new(&self.settings, start)
    }

    fn row(&self) -> i64 {
        self.simulator.as_ref().map_or(0, Simulator::row)
    }

    /// How many rows are due, or until when to wait. It changes nothing but the first instant.
    fn due(&mut self) -> std::result::Result<usize, Instant> {
        let row = self.row();
        let left = usize::try_from(self.rows - row).unwrap_or(BATCH).min(BATCH);
        let rate = match self.rate {
            Rate::PerSecond(rate) if !self.again => rate,
            _ => return Ok(left),
        };
        let now = Instant::now();
        let (since, first) = *self.since.get_or_insert((now, row));
        let taken = (row - first) as u128;
        let due = now.duration_since(since).as_nanos() * u128::from(rate) / 1_000_000_000;
        // A batch gathers for up to 10 ms, but one row is enough where rows are rarer.
        let wanted = u128::from(rate / 100).clamp(1, left.max(1) as u128);
        if due >= taken + wanted {
            return Ok(left.min(usize::try_from(due - taken).unwrap_or(BATCH)));
        }
        let nanos = ((taken + wanted) * 1_000_000_000).div_ceil(u128::from(rate));
        let at = since + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Err(at.min(now + GATHER.max(Duration::from_secs(1))))
    }
}

#[async_trait]
impl Source for MarketSource {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        Ok(vec![Split::new("market-0")])
    }

    async fn seek(&mut self, to: &Position) -> Result<()> {
        let Some(offset) = to.get(&Split::new("market-0")).copied() else {
            return Ok(());
        };
        if offset < 0 {
            return Err(Error::invalid(format!("the market has no row {offset}")));
        }
        let known = [self.simulator.take(), self.begun.take()].into_iter();
        let known = known.flatten().find(|known| known.row() <= offset);
        let mut simulator = known.unwrap_or_else(|| self.fresh());
        let to = offset.min(self.rows);
        let skipped = tokio::task::spawn_blocking(move || {
            simulator.skip_to(to);
            simulator
        });
        let simulator = skipped.await.map_err(|e| {
            Error::internal(format!("the market broke down before row {to}")).caused_by(e)
        })?;
        self.begun = self.again.then(|| simulator.clone());
        self.simulator = Some(simulator);
        self.since = None;
        Ok(())
    }

    fn rereading(&mut self, again: bool) {
        (self.again, self.since) = (again, None);
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        if self.row() >= self.rows {
            return Ok(None);
        }
        let count = loop {
            match self.due() {
                Ok(count) => break count,
                Err(at) => sleep_until(at).await,
            }
        };
        let mut simulator = match self.simulator.take() {
            Some(simulator) => simulator,
            None => self.fresh(),
        };
        let first = simulator.row();
        self.ticks.clear();
        self.ticks.extend((0..count).map(|_| simulator.next()));
        let next_offset = simulator.row();
        let names = simulator.symbols();
        let columns = self
            .columns
            .iter()
            .map(|column| column.build(&self.ticks, names));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        self.simulator = Some(simulator);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = SchemaRef::clone(&self.schema);
        Ok(Some(Polled {
            split: Split::new("market-0"),
            rows: RecordBatch::try_new_with_options(schema, columns, &options)?,
            offsets: (first..next_offset).collect(),
            record_times: None,
            rejected: vec![],
            next_offset,
        }))
    }

    fn repeatable(&self) -> bool {
        matches!(self.start, Start::At(_))
    }
}

fn symbols(stream: &StreamSpec, option: Option<&str>) -> Result<Vec<String>> {
    let Some(text) = option.map(str::trim) else {
        return Ok(SYMBOLS.map(str::to_owned).to_vec());
    };
    if let Ok(count) = text.parse::<usize>() {
        if !(1..=1_000_000).contains(&count) {
            return Err(options::invalid(
                stream,
                "symbols",
                "must be between 1 and 1000000",
            ));
        }
        let name = |i: usize| match SYMBOLS.get(i) {
            Some(name) => (*name).to_owned(),
            None => format!("S{:04}", i + 1),
        };
        return Ok((0..count).map(name).collect());
    }
    let names = text
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect::<Vec<_>>();
    let distinct = names.iter().collect::<BTreeSet<_>>();
    if names.iter().any(String::is_empty) || distinct.len() < names.len() {
        let message =
            format!("is '{text}', expected a count or distinct names such as 'AAPL,MSFT'");
        return Err(options::invalid(stream, "symbols", &message));
    }
    Ok(names)
}
