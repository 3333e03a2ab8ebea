//! A whole job behind live windows: rows are pushed as JSON, pass intake, indicators and commits,
//! and go to readers of which each looks at symbols of its own, or at everything.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use connectors::http::Form;
use connectors::http::push::Pusher;
use engine::{Tap, Taps};
use server::live::Hubs;
use tempfile::TempDir;

use super::readers::{Look, now};
use super::serving::Publish;
use crate::job;

/// Symbols that trade.
pub(super) const SYMBOLS: usize = 1_000;
/// When a row was made is a column of its own, which the readers compare with their clock. It is
/// the event time too.
const SQL: &str = "
    CREATE TABLE trades (symbol STRING, price DOUBLE, at BIGINT, ts AS to_timestamp_nanos(at),
                         WATERMARK FOR ts AS ts)
    WITH ('connector' = 'http', 'mode' = 'push');
    CREATE TABLE signals (symbol STRING, at BIGINT, price DOUBLE, rsi DOUBLE, ema DOUBLE)
    WITH ('connector' = 'blackhole', 'key' = 'symbol');
    INSERT INTO signals
    SELECT symbol, at, price, rsi(price, 14) OVER w, ema(price, 26) OVER w
    FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);";

/// What one of so many readers subscribes to.
pub(super) fn subscription(look: Look, reader: usize, readers: usize) -> String {
    if look == Look::All {
        return r#"{"type":"subscribe","id":"a","stream":"signals"}"#.to_owned();
    }
    let each = SYMBOLS / readers;
    let symbols = (reader * each..(reader + 1) * each).map(|n| format!("'S{n:04}'"));
    let condition = format!("symbol IN ({})", symbols.collect::<Vec<_>>().join(", "));
    format!(r#"{{"type":"subscribe","id":"a","stream":"signals","where":"{condition}"}}"#)
}

/// Starts the job; what publishes rows pushes them.
pub(super) fn publish(hubs: &Hubs) -> Result<Publish> {
    let graph = job::compile(SQL, &[])?;
    let target = graph.targets.first().context("the job writes nothing")?;
    let hub: Arc<dyn Tap> = hubs.open("bench", target, 1);
    let folder = TempDir::new()?;
    let taps = Taps::new(vec![Some(hub)]);
    let (running, mut pushers) = job::start_with(&graph, folder.path(), job::COMMITS, taps)?;
    let pusher = pushers.pop().context("the job takes no rows")?;
    let mut next = 0;
    Ok(Box::new(move |count| {
        // They are there for as long as rows are published.
        let _ = (&running, &folder);
        push(&pusher, count, &mut next)
    }))
}

fn push(pusher: &Pusher, count: usize, next: &mut usize) -> Result<()> {
    let (mut body, born) = (vec![], now());
    for n in *next..*next + count {
        let (symbol, price) = (n % SYMBOLS, 100.0 + (n * 7_919 % 1_009) as f64 / 8.0);
        // No two rows of a symbol are of one instant.
        writeln!(
            body,
            r#"{{"symbol":"S{symbol:04}","price":{price},"at":{born}}}"#
        )?;
    }
    *next += count;
    let receipt = pusher.push(&body, Form::Lines);
    let receipt = receipt.map_err(|refusal| anyhow!("the rows were refused: {refusal:?}"))?;
    ensure!(receipt.rejected == 0, "{:?}", receipt.faults);
    Ok(())
}
