//! JSON: messages to rows, rows to messages, and the whole way with the indicators in between.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, Schema};
use arrow::json::writer::LineDelimited;
use arrow::json::{ReaderBuilder, WriterBuilder};
use connectors::format::{Messages, decoder, encoder};
use engine::Graph;
use serde::Serialize;

use crate::Size;
use crate::job::{self, Feed};
use crate::measure::{Sample, Scope, Series, contest, contestant, sample};
use crate::messages::{Quote, quotes};
use crate::report::{Goal, Section};

/// Messages of a batch.
const BATCH: usize = 8_192;

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let messages = quotes(1_000, size.rows(400_000));
    let bytes = messages.iter().map(String::len).sum::<usize>() / messages.len();
    let as_it_came = job::compile(job::WEALTHARENA, &[])?;
    let indicators = job::compile(job::INDICATORS, &[])?;
    let mut section = Section::default();
    section.say(format!(
        "Messages of twelve fields, {bytes} bytes on average, 1,000 symbols, one thread, batches \
         of 8,192. *Bytes to bytes* decodes, runs the query with its intake and encodes fifteen \
         columns: `wealtharena_indicators.sql` by event time with RSI, EMA and MACD, and \
         `wealtharena.sql` as it came from Flink."
    ));
    let ours = contestant("wealtharena_indicators.sql", || {
        whole_way(&indicators, &messages)
    });
    let came = contestant("wealtharena.sql", || whole_way(&as_it_came, &messages));
    let series = contest(size.rounds(), vec![ours, came])?;
    section.say("Bytes to bytes:").compare("messages", &series);
    let rate = 1e3 / series[0].median(Sample::nanoseconds);
    let what = "bytes to indicators to bytes, per CPU-second";
    section.goal(Goal::at_least(what, rate, 0.8, " M messages"));
    let decoding = decoding(&indicators, &messages, size)?;
    section.say("Decoding:").compare("messages", &decoding);
    let encoding = encoding(&indicators, &messages, size)?;
    section.say("Encoding:").compare("messages", &encoding);
    Ok(section)
}

fn whole_way(graph: &Arc<Graph>, messages: &[String]) -> Result<Sample> {
    let mut decoder = decoder(&graph.inputs[0].stream)?;
    let mut encoder = encoder(&graph.targets[0].stream)?;
    let mut feed = Feed::new(graph)?;
    let mut written = Messages::default();
    let mut out = 0;
    let taken = sample(Scope::Thread, messages.len(), || {
        for batch in messages.chunks(BATCH) {
            for message in batch {
                decoder
                    .decode(message.as_bytes())
                    .map_err(anyhow::Error::msg)?;
            }
            for rows in feed.push(decoder.take()?)? {
                written.clear();
                encoder.encode(&rows, &mut written)?;
                out += std::hint::black_box(&written).ends.len();
            }
        }
        // The delay of the watermark holds the last rows back until the feed ends.
        for rows in feed.end()? {
            written.clear();
            encoder.encode(&rows, &mut written)?;
            out += std::hint::black_box(&written).ends.len();
        }
        Ok(())
    })?;
    feed.check()?;
    anyhow::ensure!(out == messages.len(), "{out} messages came out");
    Ok(taken)
}

fn decoding(graph: &Graph, messages: &[String], size: Size) -> Result<Vec<Series>> {
    let stream = &graph.inputs[0].stream;
    let ours = contestant("millstream, into Arrow", || {
        let mut decoder = decoder(stream)?;
        sample(Scope::Thread, messages.len(), || {
            for batch in messages.chunks(BATCH) {
                for message in batch {
                    decoder
                        .decode(message.as_bytes())
                        .map_err(anyhow::Error::msg)?;
                }
                std::hint::black_box(decoder.take()?);
            }
            Ok(())
        })
    });
    let sonic = contestant("sonic-rs, into structs that borrow", || {
        let mut quotes: Vec<Quote<'_>> = Vec::with_capacity(BATCH);
        sample(Scope::Thread, messages.len(), || {
            for batch in messages.chunks(BATCH) {
                quotes.clear();
                for message in batch {
                    quotes.push(sonic_rs::from_slice(message.as_bytes())?);
                }
                std::hint::black_box(&quotes);
            }
            Ok(())
        })
    });
    let schema = Arc::new(Schema::new(stream.source_schema().fields().clone()));
    let arrow = contestant("arrow-json, into Arrow", || {
        let mut decoder = ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(BATCH)
            .build_decoder()?;
        sample(Scope::Thread, messages.len(), || {
            for batch in messages.chunks(BATCH) {
                for message in batch {
                    decoder.decode(message.as_bytes())?;
                }
                std::hint::black_box(decoder.flush()?);
            }
            Ok(())
        })
    });
    contest(size.rounds(), vec![ours, sonic, arrow])
}

/// A row of `processed_market_data`.
#[derive(Debug, Serialize)]
struct Processed<'a> {
    symbol: &'a str,
    timestamp: &'a str,
    price: Option<f64>,
    volume: Option<i64>,
    price_change_1m: Option<f64>,
    price_change_5m: Option<f64>,
    price_change_15m: Option<f64>,
    volume_avg_1h: Option<f64>,
    volatility_1h: Option<f64>,
    rsi_14: Option<f64>,
    sma_20: Option<f64>,
    ema_12: Option<f64>,
    ema_26: Option<f64>,
    macd: Option<f64>,
    signal_strength: &'a str,
}

fn encoding(graph: &Arc<Graph>, messages: &[String], size: Size) -> Result<Vec<Series>> {
    let batches = results(graph, messages)?;
    let count = batches.iter().map(RecordBatch::num_rows).sum();
    anyhow::ensure!(count > 0, "there are no rows to encode");
    let ours = contestant("millstream, from Arrow", || {
        let mut encoder = encoder(&graph.targets[0].stream)?;
        let mut written = Messages::default();
        sample(Scope::Thread, count, || {
            for batch in &batches {
                written.clear();
                encoder.encode(batch, &mut written)?;
                std::hint::black_box(&written);
            }
            Ok(())
        })
    });
    let arrow = contestant("arrow-json, from Arrow", || {
        let mut written = vec![];
        sample(Scope::Thread, count, || {
            for batch in &batches {
                written.clear();
                let builder = WriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, LineDelimited>(&mut written);
                writer.write(batch)?;
                writer.finish()?;
                std::hint::black_box(&written);
            }
            Ok(())
        })
    });
    let rows: Vec<Vec<Processed<'_>>> = batches.iter().map(processed).collect();
    let serde = contestant("serde_json, from structs", || {
        let mut written = vec![];
        sample(Scope::Thread, count, || {
            for batch in &rows {
                written.clear();
                for row in batch {
                    serde_json::to_writer(&mut written, row)?;
                }
                std::hint::black_box(&written);
            }
            Ok(())
        })
    });
    contest(size.rounds(), vec![ours, arrow, serde])
}

/// What the query makes of the messages.
fn results(graph: &Arc<Graph>, messages: &[String]) -> Result<Vec<RecordBatch>> {
    let mut decoder = decoder(&graph.inputs[0].stream)?;
    let mut feed = Feed::new(graph)?;
    let mut batches = vec![];
    for batch in messages.chunks(BATCH) {
        for message in batch {
            decoder
                .decode(message.as_bytes())
                .map_err(anyhow::Error::msg)?;
        }
        batches.extend(feed.push(decoder.take()?)?);
    }
    batches.extend(feed.end()?);
    Ok(batches)
}

fn processed(batch: &RecordBatch) -> Vec<Processed<'_>> {
    let text = |column: usize, row| batch.column(column).as_string::<i32>().value(row);
    let float = |column: usize, row| {
        let column = batch.column(column).as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let row = |row| Processed {
        symbol: text(0, row),
        timestamp: text(1, row),
        price: float(2, row),
        volume: Some(batch.column(3).as_primitive::<Int64Type>().value(row)),
        price_change_1m: float(4, row),
        price_change_5m: float(5, row),
        price_change_15m: float(6, row),
        volume_avg_1h: float(7, row),
        volatility_1h: float(8, row),
        rsi_14: float(9, row),
        sma_20: float(10, row),
        ema_12: float(11, row),
        ema_26: float(12, row),
        macd: float(13, row),
        signal_strength: text(14, row),
    };
    (0..batch.num_rows()).map(row).collect()
}
