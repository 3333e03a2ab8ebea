//! How soon a killed job goes on, by how much it knows.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use engine::log::inspect::Inspection;
use engine::runtime::Job;
use engine::runtime::status::State;
use engine::{Emit, Epoch, Polled, Position, Sink, Source, Split};

use crate::measure::peak_memory;
use crate::report::{Goal, Section, number};
use crate::{CHILD, Size, job};

/// Keys of the jobs that are killed.
const KEYS: [usize; 3] = [1_000, 100_000, 10_000_000];
/// Events a second while a job is killed.
const RATE: u64 = 100_000;
/// Rows that come as fast as they are taken, after each key has come once: so many that the kill comes
/// long after a snapshot.
const AHEAD: usize = 3_500_000;
/// How often it commits.
const COMMITS: Duration = Duration::from_millis(250);
const BATCH: usize = 8_192;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Each row knows the number of its key's row before, and has an indicator.
const JOB: &str = "
    CREATE TABLE orders (symbol STRING, number BIGINT, price DOUBLE, ts TIMESTAMP(9),
                         WATERMARK FOR ts AS ts) WITH ('connector' = 'counted');
    CREATE TABLE results (symbol STRING, number BIGINT, before BIGINT, rsi DOUBLE)
    WITH ('connector' = 'checked');
    INSERT INTO results SELECT symbol, number, LAG(number) OVER w, rsi(price, 14) OVER w
    FROM orders WINDOW w AS (PARTITION BY symbol ORDER BY ts);";

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let mut section = Section::default();
    section.say(format!(
        "A job keeps the last row and an RSI of each key, and commits every {COMMITS:?}. Each key comes \
         once, {AHEAD} rows more as fast as they are taken, then {RATE} rows/s; two seconds later it is \
         killed (SIGKILL), and another process goes on over the same log. *Until the first new row*: \
         from the start of that process until it has the row that follows the last commit, with what \
         its key had before. *Run again* is what was committed after the newest snapshot; the source, \
         which costs next to nothing, is asked for it again. (The feed of `latency` cannot be: there \
         the rows are read out of the log.)"
    ));
    let mut lines = vec![];
    for keys in KEYS {
        let keys = size.rows(keys);
        let rounds = if keys > 1_000_000 { 1 } else { size.rounds() };
        let mut restarts = vec![];
        for _ in 0..rounds {
            restarts.push(restart(keys, size.rows(AHEAD))?);
        }
        restarts.sort_by(|a, b| a.first_row.total_cmp(&b.first_row));
        let slowest = restarts.last().context("no round was run")?;
        lines.push(slowest.line(keys));
        let again = slowest.again as f64 / 1e6;
        if keys == size.rows(KEYS[0]) {
            let what = "kill to the first new row, 1,000 keys, 100,000 rows/s, slowest";
            section.goal(Goal::at_most(what, slowest.first_row, 1.0, " s"));
            // A snapshot is due every 2 M rows, and taken at the end of an epoch.
            let what = "run again, 1,000 keys";
            section.goal(Goal::at_most(what, again, 2.5, " M rows"));
        }
        if keys == size.rows(KEYS[2]) {
            let most = slowest.before.max(slowest.after) as f64 / 1e9;
            section.goal(Goal::at_most("memory, 10 M keys", most, 16.0, " GB"));
        }
    }
    let heads = [
        "keys",
        "M rows before",
        "M rows run again",
        "MB of the snapshot",
        "MB of the log",
        "s until it runs",
        "s until the first new row",
        "MB resident before",
        "MB resident after",
    ];
    section.table(&heads, &lines);
    section.say(
        "Resident is the most that a process ever had (`VmHWM`); the slowest of the rounds is shown.",
    );
    Ok(section)
}

/// What a restart took.
struct Restart {
    /// Rows that were committed.
    rows: u64,
    /// Those after the newest snapshot.
    again: u64,
    snapshot_bytes: u64,
    log_bytes: u64,
    /// Seconds since the start of the second process.
    running: f64,
    first_row: f64,
    /// Bytes that were resident, of the one process and the other.
    before: u64,
    after: u64,
}

impl Restart {
    fn line(&self, keys: usize) -> Vec<String> {
        let millions = |rows: u64| number(rows as f64 / 1e6);
        vec![
            keys.to_string(),
            millions(self.rows),
            millions(self.again),
            millions(self.snapshot_bytes),
            millions(self.log_bytes),
            number(self.running),
            number(self.first_row),
            millions(self.before),
            millions(self.after),
        ]
    }
}

/// A process that runs the job, and what it says.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(keys: usize, ahead: usize, folder: &Path, life: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([CHILD, "recovery", life])
            .args([keys.to_string(), (keys + ahead).to_string()])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let says = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, says })
    }

    /// The number that it says after a word.
    fn hear(&mut self, word: &str) -> Result<u64> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        let number = line.strip_prefix(word).map(str::trim);
        let number = number.with_context(|| format!("it says '{line}' and not '{word}'"))?;
        Ok(number.parse()?)
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

fn restart(keys: usize, ahead: usize) -> Result<Restart> {
    let folder = tempfile::tempdir()?;
    let mut first = Process::start(keys, ahead, folder.path(), FIRST)?;
    first.hear("at its rate")?;
    std::thread::sleep(Duration::from_secs(2));
    let before = peak_memory(&first.child.id().to_string())?;
    first.kill()?;
    let log = job::runtime()?.block_on(job::log(folder.path())?.inspect())?;
    ensure!(log.is_sound(), "the log is damaged: {:?}", log.faults);
    let found = of_log(&log);
    drop(log);
    let started = Instant::now();
    let mut second = Process::start(keys, ahead, folder.path(), SECOND)?;
    second.hear("running")?;
    let running = started.elapsed().as_secs_f64();
    let number = second.hear("first row")?;
    let first_row = started.elapsed().as_secs_f64();
    let after = second.hear("resident")?;
    second.kill()?;
    ensure!(
        number == found.rows,
        "the first new row is number {number}, and {} were committed",
        found.rows
    );
    Ok(Restart {
        running,
        first_row,
        before,
        after,
        ..found
    })
}

/// The figures that a log tells.
fn of_log(log: &Inspection) -> Restart {
    let read = |positions: &BTreeMap<String, Position>| {
        let position = positions
            .get("orders")
            .and_then(|table| table.values().max());
        position.copied().unwrap_or(0) as u64
    };
    let newest = log.snapshots.last();
    let in_snapshot = newest.map_or(0, |snapshot| read(&snapshot.positions));
    let records = log.records.iter().map(|record| read(&record.positions));
    let rows = records.max().unwrap_or(0).max(in_snapshot);
    let records: u64 = log.records.iter().map(|record| record.bytes).sum();
    let snapshots: u64 = log.snapshots.iter().map(|snapshot| snapshot.bytes).sum();
    Restart {
        rows,
        again: rows - in_snapshot,
        snapshot_bytes: newest.map_or(0, |snapshot| snapshot.bytes),
        log_bytes: records + snapshots,
        running: 0.0,
        first_row: 0.0,
        before: 0,
        after: 0,
    }
}

/// The lives of a job.
const FIRST: &str = "first";
const SECOND: &str = "second";

/// Runs the job until it is killed, and says how far it is.
pub fn child(arguments: &[String]) -> Result<()> {
    let [life, keys, fast, folder] = arguments else {
        bail!("the process of 'recovery' is given its life, keys, rows and a folder");
    };
    let (keys, fast) = (keys.parse()?, fast.parse()?);
    let graph = job::compile(JOB, &[])?;
    let seen = Seen::default();
    job::runtime()?.block_on(async {
        let schema = graph.inputs[0].stream.source_schema();
        let source = Box::new(Counted::new(schema, keys, fast));
        let sink = Box::new(Checked {
            keys,
            seen: seen.clone(),
        });
        let job = job::start_between(source, &graph, sink, Path::new(folder), COMMITS)?;
        wait(&job, |job| job.status().state == State::Running).await?;
        if life == FIRST {
            wait(&job, |_| seen.rows() >= fast).await?;
            say("at its rate", seen.rows())?;
        } else {
            say("running", job.status().committed.0)?;
            wait(&job, |_| seen.rows() > 0).await?;
            say("first row", seen.first())?;
            say("resident", peak_memory("self")?)?;
        }
        wait(&job, |_| false).await
    })
}

/// Waits for something that a job brings about.
async fn wait(job: &Job, done: impl Fn(&Job) -> bool) -> Result<()> {
    let since = Instant::now();
    while !done(job) {
        let state = job.status().state;
        ensure!(
            matches!(state, State::Recovering | State::Running),
            "the job is {state:?}"
        );
        ensure!(since.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn say(what: &str, number: u64) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{what} {number}")?;
    Ok(stdout.flush()?)
}

/// Rows that follow from their number: one key after the other, round and round.
#[derive(Debug)]
struct Counted {
    schema: SchemaRef,
    keys: u64,
    /// Up to here they come as fast as they are taken.
    fast: u64,
    next: u64,
    /// Since when they come at the rate, and from which on.
    since: Option<(Instant, u64)>,
    again: bool,
}

impl Counted {
    fn new(schema: SchemaRef, keys: u64, fast: u64) -> Self {
        let (next, since, again) = (0, None, false);
        Self {
            schema,
            keys,
            fast,
            next,
            since,
            again,
        }
    }

    /// How many rows there are now.
    async fn due(&mut self) -> u64 {
        let most = BATCH as u64;
        if self.again || self.next < self.fast {
            return most;
        }
        let (since, from) = *self.since.get_or_insert((Instant::now(), self.next));
        loop {
            let due = from + (since.elapsed().as_secs_f64() * RATE as f64) as u64;
            if due > self.next {
                return most.min(due - self.next);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Source for Counted {
    async fn splits(&mut self) -> engine::Result<Vec<Split>> {
        Ok(vec![split()])
    }

    async fn seek(&mut self, to: &Position) -> engine::Result<()> {
        self.next = to.get(&split()).copied().unwrap_or(0) as u64;
        self.since = None;
        Ok(())
    }

    async fn next(&mut self) -> engine::Result<Option<Polled>> {
        let count = self.due().await;
        let rows = self.next..self.next + count;
        self.next = rows.end;
        let symbols = rows.clone().map(|row| format!("K{:08}", row % self.keys));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(symbols)),
            Arc::new(Int64Array::from_iter_values(numbers(rows.clone()))),
            Arc::new(Float64Array::from_iter_values(
                numbers(rows.clone()).map(|row| (row * 7_919 % 10_007) as f64 / 8.0),
            )),
            Arc::new(TimestampNanosecondArray::from_iter_values(
                numbers(rows.clone()).map(|row| row * 1_000),
            )),
        ];
        Ok(Some(Polled {
            split: split(),
            rows: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            offsets: numbers(rows.clone()).collect(),
            record_times: None,
            rejected: vec![],
            next_offset: rows.end as i64,
        }))
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn rereading(&mut self, again: bool) {
        self.again = again;
    }
}

/// The numbers of rows.
fn numbers(rows: Range<u64>) -> impl Iterator<Item = i64> {
    rows.map(|row| row as i64)
}

fn split() -> Split {
    Split::new("counted")
}

/// What came out.
#[derive(Debug, Clone, Default)]
struct Seen {
    rows: Arc<AtomicU64>,
    first: Arc<AtomicU64>,
}

impl Seen {
    fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    /// The number of the first row.
    fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }
}

/// Checks that each row has the number that its key had before.
#[derive(Debug)]
struct Checked {
    keys: u64,
    seen: Seen,
}

impl Checked {
    fn is_right(&self, rows: &RecordBatch) -> bool {
        let symbols = rows.column(0).as_string::<i32>().iter();
        let numbers = rows.column(1).as_primitive::<Int64Type>().values().iter();
        let befores = rows.column(2).as_primitive::<Int64Type>().iter();
        symbols
            .zip(numbers)
            .zip(befores)
            .all(|((symbol, number), before)| {
                let key = symbol.and_then(|symbol| symbol[1..].parse::<u64>().ok());
                let (number, keys) = (*number as u64, self.keys);
                let expected = number.checked_sub(keys).map(|before| before as i64);
                key == Some(number % keys) && before == expected
            })
    }
}

#[async_trait]
impl Sink for Checked {
    fn emit(&self) -> Emit {
        Emit::Now
    }

    async fn publish(&mut self, _: Epoch, rows: &[RecordBatch]) -> engine::Result<()> {
        for rows in rows {
            if !self.is_right(rows) {
                let wrong = "a row has not the number that its key had before";
                return Err(engine::Error::internal(wrong));
            }
            if self.seen.rows() == 0 && rows.num_rows() > 0 {
                let numbers = rows.column(1).as_primitive::<Int64Type>();
                self.seen
                    .first
                    .store(numbers.value(0) as u64, Ordering::Release);
            }
            let count = rows.num_rows() as u64;
            self.seen.rows.fetch_add(count, Ordering::Release);
        }
        Ok(())
    }

    async fn published(&mut self) -> engine::Result<Epoch> {
        Ok(Epoch(u64::MAX))
    }

    async fn flush(&mut self) -> engine::Result<()> {
        Ok(())
    }
}
