//! Live windows: what a row to a thousand readers costs, next to a server that broadcasts by
//! tokio-tungstenite alone; ten thousand readers; one that does not read; and how soon what a job is
//! fed with is at its readers.
//!
//! The server is a process of its own, so that its processor time and memory can be told from
//! those of the readers.

mod feeding;
mod readers;
mod rows;
mod serving;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::measure::{Sample, Scope, contest, contestant};
use crate::report::{Goal, Section, number};
use crate::{Size, job};
use readers::{Kind, Look, Readers};
use serving::Server;
pub use serving::child;

const FAN_OUT: usize = 1_000;
const FAN_OUT_RATE: f64 = 2_000.0;
const MANY: usize = 10_000;
const STUCK_RATE: f64 = 4_000.0;
/// Events a second that a job is fed with, and the readers of what it makes of them.
const FEEDS: [f64; 2] = [20_000.0, 100_000.0];
const FED: usize = 100;
const FED_MANY: usize = 1_000;
/// Readers with and without compression, and rows a second: a few in a frame, and many.
const COMPRESSED: u64 = 10;
const COMPRESSED_RATES: [f64; 2] = [2_000.0, 20_000.0];

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let mut section = Section::default();
    let runtime = job::runtime()?;
    fan_out(&mut section, size, &runtime)?;
    bytes(&mut section, size, &runtime)?;
    many(&mut section, size, &runtime)?;
    stuck(&mut section, size, &runtime)?;
    feed(&mut section, size, &runtime)?;
    Ok(section)
}

/// What a round was.
struct Round {
    /// Rows that were published.
    published: u64,
    /// Rows that arrived, over all readers.
    rows: u64,
    /// Rows of which readers were told only that they were left out.
    left_out: u64,
    bytes: u64,
    messages: u64,
    /// Seconds of processor time of the server, and of this process, the readers.
    processor: f64,
    reading: f64,
    wall: f64,
    /// Microseconds, sorted.
    latencies: Vec<u32>,
}

impl Round {
    fn quantile(&self, share: f64) -> Result<f64> {
        let last = self
            .latencies
            .len()
            .checked_sub(1)
            .context("no row arrived")?;
        Ok(f64::from(self.latencies[(last as f64 * share) as usize]) / 1e3)
    }
}

/// Publishes to readers that are there, until all have everything.
async fn round(server: &mut Server, readers: &Readers, rate: f64, seconds: f64) -> Result<Round> {
    readers.forget();
    let reading = Scope::Process.processor_time()?;
    let before = server.processor_time()?;
    let started = tokio::time::Instant::now();
    let rows = server.publish(rate, seconds)?;
    let each = match server.kind {
        // Every row is one reader's.
        Kind::Feed(Look::Own) => 1,
        _ => readers.count() as u64,
    };
    let ended = readers.all_have(rows * each).await;
    let wall = (ended - started).as_secs_f64();
    Ok(Round {
        published: rows,
        rows: readers.rows(),
        left_out: readers.left_out(),
        bytes: readers.bytes(),
        messages: readers.messages(),
        processor: server.processor_time()? - before,
        reading: Scope::Process.processor_time()? - reading,
        wall,
        latencies: readers.latencies(),
    })
}

fn fan_out(section: &mut Section, size: Size, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let readers = size.rows(FAN_OUT).max(20);
    let seconds = size.seconds(5.0);
    let measure = |kind: Kind| {
        move || {
            let mut server = Server::start(kind)?;
            runtime.block_on(async {
                let readers = Readers::connect(&server, readers, false).await?;
                let round = round(&mut server, &readers, FAN_OUT_RATE, seconds).await?;
                ensure!(round.rows > 0, "no row arrived");
                Ok(Sample {
                    rows: round.rows as usize,
                    wall: round.wall,
                    processor: round.processor,
                })
            })
        }
    };
    let kinds = [Kind::Millstream, Kind::Tungstenite];
    let contestants = kinds.map(|kind| contestant(kind.name(), measure(kind)));
    let series = contest(size.rounds().min(3), contestants.into())?;
    section.say(format!(
        "{FAN_OUT_RATE} rows/s of about 250 B, indicators, for {seconds} s to {readers} readers over loopback; \
         processor time of the server's process alone. Millstream gathers rows for up to 5 ms; the \
         other sends each by itself, as its programs do."
    ));
    section.compare("messages", &series);
    let rate = 1e3 / series[0].median(Sample::nanoseconds);
    section.goal(Goal::at_least(
        "fan-out, messages per CPU-second",
        rate,
        2.5,
        " M",
    ));
    Ok(())
}

fn bytes(section: &mut Section, size: Size, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let mut lines = vec![];
    for (kind, rows) in [
        (Kind::Quotes, "prices and sizes"),
        (Kind::Millstream, "indicators"),
    ] {
        for rate in COMPRESSED_RATES {
            let mut received = vec![];
            for deflate in [false, true] {
                let mut server = Server::start(kind)?;
                let round = runtime.block_on(async {
                    let readers = Readers::connect(&server, COMPRESSED as usize, deflate).await?;
                    round(&mut server, &readers, rate, size.seconds(3.0)).await
                })?;
                // Readers do not look into what is compressed.
                let rows = (round.published * COMPRESSED) as f64;
                let together = rows / round.messages as f64;
                received.push((
                    together,
                    round.bytes as f64 / rows,
                    round.processor * 1e9 / rows,
                ));
            }
            let [(_, plain, cheap), (together, packed, dear)] = received[..] else {
                continue;
            };
            let saved = 100.0 * (1.0 - packed / plain);
            let figures = [together, plain, packed, saved, cheap, dear].map(number);
            let what = format!(
                "bytes saved by compression, {rows}, {} rows a frame",
                figures[0]
            );
            section.goal(Goal::at_least(what, saved, 70.0, " %"));
            lines.push([&[rows.to_owned()], &figures[..]].concat());
        }
    }
    section.say(format!(
        "Rows of about 250 B to {COMPRESSED} readers, without and with permessage-deflate; a frame is \
         compressed once for all, and by itself, so that one of few rows repeats little. Prices and \
         sizes have few digits; indicators are six doubles of 15 to 17 digits a row, and a digit that \
         nobody can foresee takes 3.3 bits of its 8 however it is compressed:"
    ));
    let heads = [
        "rows of",
        "rows a frame",
        "bytes a row",
        "compressed",
        "% fewer",
        "CPU ns a row and reader",
        "compressed",
    ];
    section.table(&heads, &lines);
    Ok(())
}

fn many(section: &mut Section, size: Size, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let count = match size {
        Size::Full => MANY,
        Size::Quick => 200,
    };
    let (mut lines, mut tails) = (vec![], vec![]);
    for kind in [Kind::Millstream, Kind::Tungstenite] {
        let mut server = Server::start(kind)?;
        let (each, round) = runtime.block_on(async {
            // Whatever the first connections bring into memory once is not theirs.
            drop(Readers::connect(&server, 50, false).await?);
            tokio::time::sleep(Duration::from_millis(500)).await;
            let before = server.memory()?;
            let readers = Readers::connect(&server, count, false).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let each = (server.memory()? - before) / count as f64;
            let round = round(&mut server, &readers, 8.0, size.seconds(10.0)).await?;
            anyhow::Ok((each, round))
        })?;
        let (p50, p99) = (round.quantile(0.5)?, round.quantile(0.99)?);
        tails.push(p99);
        let name = kind.name();
        lines.push(vec![
            name.to_owned(),
            number(each / 1e3),
            number(p50),
            number(p99),
        ]);
        if kind == Kind::Millstream {
            section.goal(Goal::at_most(
                "memory of an idle connection",
                each / 1e3,
                4.0,
                " kB",
            ));
            section.goal(Goal::at_most(
                "10,000 connections x 8 rows/s, p99",
                p99,
                100.0,
                " ms",
            ));
        }
    }
    section.say(format!(
        "{count} readers: resident memory of the server for each while nothing comes (subscribed, \
         snapshot sent), then 8 rows/s to all of them, from the row's birth to the reader:"
    ));
    section.table(&["", "kB a connection", "p50 ms", "p99 ms"], &lines);
    section.goal(Goal::at_most(
        "their p99 against tokio-tungstenite's",
        tails[0] / tails[1],
        1.1,
        "x",
    ));
    Ok(())
}

fn stuck(section: &mut Section, size: Size, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let mut figures = [vec![], vec![]];
    for _ in 0..size.rounds() {
        for (stuck, figures) in [0, 1].into_iter().zip(&mut figures) {
            let mut server = Server::start(Kind::Millstream)?;
            let p99 = runtime.block_on(async {
                let readers = Readers::connect(&server, 100, false).await?;
                let _stuck = readers::stuck(&server, stuck).await?;
                // What the system keeps for who does not read is full after this.
                round(&mut server, &readers, STUCK_RATE, size.seconds(3.0)).await?;
                round(&mut server, &readers, STUCK_RATE, size.seconds(5.0))
                    .await?
                    .quantile(0.99)
            })?;
            figures.push(p99);
        }
    }
    let medians = figures.map(median);
    let ratio = medians[1] / medians[0];
    section.say(format!(
        "100 readers, {STUCK_RATE} rows/s: p99 {} ms; with one more that never reads: {} ms \
         (medians).",
        number(medians[0]),
        number(medians[1])
    ));
    section.goal(Goal::at_most(
        "a stuck reader's effect on the others' p99",
        ratio,
        1.1,
        "x",
    ));
    Ok(())
}

fn feed(section: &mut Section, size: Size, runtime: &tokio::runtime::Runtime) -> Result<()> {
    section.say(format!(
        "A job is pushed JSON of {} symbols, computes RSI and EMA, and commits every second. {FED} \
         readers look at ten symbols each, or {FED_MANY} at one, by conditions of their own, so that \
         every row is some reader's; or {FED} look at everything, which is {FED} times as many rows to \
         deliver. From a row's making to its reader, the oldest row of each frame; medians of the \
         rounds. Who cannot follow is told the newest row of each symbol, and how many rows it was \
         spared:",
        feeding::SYMBOLS
    ));
    let mut lines = vec![];
    for (look, count, name) in [
        (Look::Own, FED, "ten symbols"),
        (Look::Own, FED_MANY, "one symbol"),
        (Look::All, FED, "everything"),
    ] {
        for rate in FEEDS {
            let mut figures: [Vec<f64>; 6] = Default::default();
            for _ in 0..size.rounds().min(3) {
                let round = fed(look, count, rate, size, runtime)?;
                let told = (round.rows + round.left_out) as f64;
                let of_round = [
                    round.quantile(0.5)?,
                    round.quantile(0.99)?,
                    round.rows as f64 / round.wall / 1e6,
                    100.0 * round.left_out as f64 / told,
                    round.processor / round.wall,
                    round.reading / round.wall,
                ];
                for (all, figure) in figures.iter_mut().zip(of_round) {
                    all.push(figure);
                }
            }
            let medians = figures.map(median);
            let events = number(rate / 1e3);
            if (look, count) == (Look::Own, FED) {
                let what = format!("feed to reader, p99 at {events} k events/s");
                section.goal(Goal::at_most(what, medians[1], 5.0, " ms"));
            }
            let figures = medians.map(number);
            let of_line = [events, count.to_string(), name.to_owned()];
            lines.push([&of_line[..], &figures[..]].concat());
        }
    }
    let heads = [
        "k events/s",
        "readers",
        "each looks at",
        "p50 ms",
        "p99 ms",
        "M rows/s delivered",
        "% spared",
        "cores of the server",
        "cores of the readers",
    ];
    section.table(&heads, &lines);
    Ok(())
}

/// A round of a job that is fed, behind one that warms it up.
fn fed(
    look: Look,
    count: usize,
    rate: f64,
    size: Size,
    runtime: &tokio::runtime::Runtime,
) -> Result<Round> {
    let mut server = Server::start(Kind::Feed(look))?;
    runtime.block_on(async {
        let readers = Readers::connect(&server, count, false).await?;
        round(&mut server, &readers, rate, size.seconds(1.0)).await?;
        let round = round(&mut server, &readers, rate, size.seconds(5.0)).await?;
        let told = round.rows + round.left_out;
        let due = match look {
            Look::Own => round.published,
            Look::All => round.published * count as u64,
        };
        ensure!(
            told == due,
            "{due} rows were due to the readers, {told} were told"
        );
        Ok(round)
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
