//! Twelve columns from SQL, through intake and graph, next to the loop written by hand.
//!
//! The feed is batches in memory; what leaves the graph is cut to the sink's columns and dropped.

use anyhow::Result;
use arrow::array::RecordBatch;

use crate::Size;
use crate::chain::{Chain, rows};
use crate::job::{self, Feed};
use crate::measure::{Sample, Scope, Series, contest, contestant, sample};
use crate::monolith::Monolith;
use crate::report::{Goal, Section};

/// Runs it.
pub fn run(size: Size) -> Result<Section> {
    let mut section = Section::default();
    section.say(
        "LAG 1, 5, 15; AVG and STDDEV over 60 rows; AVG over 20; EMA 12, 26; MACD with signal and \
         histogram; RSI 14; symbols as text, rows in no order of symbols. One thread. *SQL* is \
         the compiled query with its intake; *operators* are its steps `key` and `over` alone; \
         *by hand* is one loop over structs that knows nothing else.",
    );
    for symbols in [7, 1_000, 5_000] {
        let series = compare(symbols, size.rows(2_000_000), 8_192, size.rounds())?;
        section.say(format!("{symbols} symbols, batches of 8,192 rows:"));
        section.compare("rows", &series);
        let what = format!("SQL against by hand, {symbols} symbols");
        section.goal(Goal::at_most(what, series[0].ratio(&series[2]), 1.5, "×"));
        if symbols == 1_000 {
            let rate = 1e3 / series[0].median(Sample::nanoseconds);
            let what = "SQL, 1,000 symbols, per CPU-second";
            section.goal(Goal::at_least(what, rate, 10.0, " M rows"));
        }
    }
    let series = compare(1_000, size.rows(200_000), 1, size.rounds())?;
    section.say("1,000 symbols, batches of one row:");
    section.compare("rows", &series);
    let each = series[0].median(Sample::nanoseconds);
    section.goal(Goal::at_most(
        "SQL, batches of one row",
        each,
        5_000.0,
        " ns a row",
    ));
    Ok(section)
}

fn compare(symbols: u64, count: usize, batch: usize, rounds: usize) -> Result<Vec<Series>> {
    let batches = rows(symbols, count, batch)?;
    let without_time = batches.iter().map(|batch| batch.project(&[0, 1, 2]));
    let without_time = without_time.collect::<Result<Vec<_>, _>>()?;
    let graph = job::compile(&job::twelve(&job::market("max", None), job::BLACKHOLE), &[])?;
    let sql = contestant("SQL", || {
        let mut feed = Feed::new(&graph)?;
        let taken = timed(&batches, count, |batch| feed.push(batch.clone()))?;
        feed.check()?;
        Ok(taken)
    });
    let operators = contestant("operators", || {
        let mut chain = Chain::new()?;
        timed(&batches, count, |batch| chain.evaluate(batch.clone()))
    });
    let by_hand = contestant("by hand", || {
        let mut monolith = Monolith::default();
        timed(&without_time, count, |batch| {
            Ok(vec![monolith.evaluate(batch)?])
        })
    });
    contest(rounds, vec![sql, operators, by_hand])
}

/// The time of all batches; not one row may be missing.
fn timed(
    batches: &[RecordBatch],
    count: usize,
    mut evaluate: impl FnMut(&RecordBatch) -> Result<Vec<RecordBatch>>,
) -> Result<Sample> {
    let mut out = 0;
    let taken = sample(Scope::Thread, count, || {
        for batch in batches {
            let results = std::hint::black_box(evaluate(batch)?);
            out += results.iter().map(RecordBatch::num_rows).sum::<usize>();
        }
        Ok(())
    })?;
    anyhow::ensure!(out == count, "{out} of {count} rows came out");
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monolith::COLUMNS;

    #[test]
    fn sql_and_the_monolith_agree_bit_for_bit() -> Result<()> {
        let graph = job::compile(&job::twelve(&job::market("max", None), job::BLACKHOLE), &[])?;
        for (symbols, size) in [(7, 512), (100, 1)] {
            let (mut monolith, mut feed) = (Monolith::default(), Feed::new(&graph)?);
            for batch in rows(symbols, 4_000, size)? {
                let expected = monolith.evaluate(&batch.project(&[0, 1, 2])?)?;
                let results = feed.push(batch)?;
                assert_eq!(results.len(), 1);
                for (column, name) in COLUMNS.iter().enumerate() {
                    let [ours, theirs] = [&results[0], &expected].map(|b| b.column(column + 3));
                    assert_eq!(ours, theirs, "{name}");
                }
            }
        }
        Ok(())
    }
}
