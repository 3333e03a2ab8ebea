//! A job as the API shows it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use connectors::options::secrets;
use engine::runtime::Status;
use engine::runtime::shard::StepCounts;
use engine::runtime::status::{TableStatus, TargetStatus};
use engine::{Timestamp, Watermark};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its number for good: a UUID.
    pub(crate) id: String,
    /// Its name, unique among jobs.
    pub(crate) name: String,
    /// The text, secrets starred.
    pub(crate) sql: String,
    /// Options of tables that replace those of the text, by `table.key`; secrets starred.
    pub(crate) options: BTreeMap<String, String>,
    /// `created`, `recovering`, `running`, `stopping`, `stopped`, `finished` or `failed`.
    #[schema(example = "running")]
    pub(crate) state: &'static str,
    /// Why it failed.
    pub(crate) reason: Option<String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// RFC 3339: the last start.
    pub(crate) started_at: Option<String>,
    /// Its figures: those of the whole job over all its starts, but for the latency.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Who does not answer at the moment, and why: tables, or the log.
    pub(crate) waiting: BTreeMap<String, String>,
    /// The steps of its graph.
    pub(crate) plan: String,
}

/// What a job counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Figures {
    /// The last epoch that is committed.
    pub(crate) committed_epoch: u64,
    /// The tables that are read.
    pub(crate) tables: Vec<InputFigures>,
    /// The tables that are written.
    pub(crate) outputs: Vec<OutputFigures>,
    /// The steps, by their number.
    #[serde(default)]
    pub(crate) steps: Vec<StepFigures>,
    /// From a row's arrival to its leaving the graph, since the last start.
    pub(crate) latency_ms: Latency,
    /// What a stop could not settle, and what becomes of it.
    pub(crate) unsettled: Vec<String>,
}

/// What is counted of a table that is read: arrived = accepted + late + future + dead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct InputFigures {
    /// The table.
    pub(crate) name: String,
    /// Everything that the source handed over.
    pub(crate) arrived: u64,
    /// On time.
    pub(crate) accepted: u64,
    /// Below the watermark: in `<table>$late`.
    pub(crate) late: u64,
    /// Too far ahead: in `<table>$dead`.
    pub(crate) future: u64,
    /// Not a row of the table: in `<table>$dead`.
    pub(crate) dead: u64,
    /// Accepted, and given up by a step of the graph: in `<table>$dead`.
    pub(crate) rejected: u64,
    /// How far the table is complete: RFC 3339; `end` where it has ended.
    pub(crate) watermark: Option<String>,
    /// How far the watermark is behind the clock, in milliseconds.
    pub(crate) lag_ms: Option<i64>,
    /// How many records its source has not handed over yet, where the source knows.
    #[serde(default)]
    pub(crate) lag_records: Option<u64>,
    /// How many records were gone before they were read, and were gone past, since a start from
    /// `offset`.
    #[serde(default)]
    pub(crate) skipped: u64,
}

/// What is counted of a step. What it reads handed on what it received and missed; what it received
/// went out, was left out or given up, is held still, or went into a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StepFigures {
    /// What it does.
    pub(crate) operator: String,
    /// What it reads: tables by their name, steps as `step 3`, counted from 0.
    pub(crate) reads: Vec<String>,
    /// Rows received.
    pub(crate) rows_in: u64,
    /// Rows handed on.
    pub(crate) rows_out: u64,
    /// Rows left out: by a filter, or by an order that they came too late for.
    pub(crate) left_out: u64,
    /// Rows given up: in `<table>$dead`.
    pub(crate) dead: u64,
    /// Rows that were handed on before it was there: of a job that was changed.
    pub(crate) missed: u64,
}

/// What is counted of a table that is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OutputFigures {
    /// The table.
    pub(crate) name: String,
    /// What its live window is called.
    pub(crate) stream: String,
    /// Rows it was given.
    pub(crate) rows: u64,
    /// The last epoch that is out.
    pub(crate) published_epoch: u64,
}

/// Durations in milliseconds, each known to about 9 %.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Latency {
    /// Half of the rows took less.
    pub(crate) p50: Option<f64>,
    /// All but one in a hundred took less.
    pub(crate) p99: Option<f64>,
}

impl Figures {
    /// Those of a job at an instant, in nanoseconds.
    pub(crate) fn of(status: &Status, now: i64) -> Self {
        let quantile = |share| status.latency.quantile(share).map(|time| time as f64 / 1e6);
        Self {
            committed_epoch: status.committed.0,
            tables: status
                .tables
                .iter()
                .map(|table| input(table, now))
                .collect(),
            outputs: status.targets.iter().map(output).collect(),
            steps: status.steps.iter().zip(&status.reads).map(step).collect(),
            latency_ms: Latency {
                p50: quantile(0.5),
                p99: quantile(0.99),
            },
            unsettled: status.unsettled.clone(),
        }
    }

    /// Those of a job that does not run: no time passes for it.
    pub(crate) fn at_rest(mut self) -> Self {
        for table in &mut self.tables {
            table.lag_ms = None;
            table.lag_records = None;
        }
        self
    }
}

fn step(((name, counts), reads): (&(String, StepCounts), &Vec<String>)) -> StepFigures {
    StepFigures {
        operator: name.clone(),
        reads: reads.clone(),
        rows_in: counts.rows_in,
        rows_out: counts.rows_out,
        left_out: counts.left_out,
        dead: counts.dead,
        missed: counts.missed,
    }
}

fn input(table: &TableStatus, now: i64) -> InputFigures {
    let (counts, time) = (table.counts, table.watermark.and_then(instant));
    InputFigures {
        name: table.name.clone(),
        arrived: counts.arrived,
        accepted: counts.accepted,
        late: counts.late,
        future: counts.future,
        dead: counts.dead,
        rejected: table.rejected,
        skipped: table.skipped,
        watermark: match table.watermark {
            Some(Watermark {
                time: Timestamp::MAX,
                ..
            }) => Some("end".to_owned()),
            _ => time.map(rfc3339),
        },
        lag_ms: time.map(|time| now.saturating_sub(time) / 1_000_000),
        lag_records: table.lag,
    }
}

fn output(target: &TargetStatus) -> OutputFigures {
    OutputFigures {
        name: target.name.clone(),
        stream: target.name.clone(),
        rows: target.rows,
        published_epoch: target.published.0,
    }
}

/// The event time of a watermark that stands at one, in nanoseconds.
pub(crate) fn instant(watermark: Watermark) -> Option<i64> {
    match watermark.time {
        Timestamp::MIN | Timestamp::MAX => None,
        Timestamp(time) => Some(time),
    }
}

/// The clock, in nanoseconds.
pub(crate) fn now() -> i64 {
    Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX)
}

/// An instant in nanoseconds, as the API writes it.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    let instant = DateTime::from_timestamp_nanos(nanoseconds);
    instant.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// Options without their secrets. The key is what follows the table's name where there is one.
pub(crate) fn masked(options: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mask = |(key, value): (String, String)| {
        let option = key
            .split_once('.')
            .map_or(key.as_str(), |(_, option)| option);
        let mut hidden = secrets(&key, &value);
        hidden.extend(secrets(option, &value));
        let shown = |(at, letter)| match hidden.iter().any(|range| range.contains(&at)) {
            true => '*',
            false => letter,
        };
        let value = value.char_indices().map(shown).collect();
        (key, value)
    };
    options.into_iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_is_told_as_an_instant() {
        let mut table = TableStatus {
            name: "trades".to_owned(),
            watermark: Some(Watermark {
                time: Timestamp(1_500_000_000),
                ..Watermark::MIN
            }),
            ..TableStatus::default()
        };
        let figures = input(&table, 4_500_000_000);
        assert_eq!(
            figures.watermark.as_deref(),
            Some("1970-01-01T00:00:01.500000000Z")
        );
        assert_eq!(figures.lag_ms, Some(3_000));
        table.watermark = Some(Watermark::MAX);
        let figures = input(&table, 0);
        assert_eq!(
            (figures.watermark.as_deref(), figures.lag_ms),
            (Some("end"), None)
        );
        table.watermark = Some(Watermark::MIN);
        assert_eq!(input(&table, 0).watermark, None);
    }

    #[test]
    fn secrets_are_starred() {
        let options = [
            ("trades.properties.sasl.password", "HUNTER2"),
            ("trades.headers.X-Key", "HUNTER2"),
            ("headers.X-Key", "HUNTER2"),
            ("trades.url", "http://me:HUNTER2@h/x"),
            ("trades.rate", "5"),
        ];
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let masked = masked(options.map(own).into());
        assert!(
            masked.values().all(|value| !value.contains("HUNTER2")),
            "{masked:?}"
        );
        assert_eq!(masked["trades.rate"], "5");
    }
}
