//! A replay as it is shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::replays::{Replay, Standing};
use crate::report;

/// A replay.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Replay)]
pub(super) struct View {
    /// Its number.
    id: String,
    /// The job whose text it is.
    job: Option<String>,
    /// `running`, `finished`, `cancelled` or `failed`.
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    ended_at: Option<String>,
    /// Rows so far; the marks of a recording count.
    rows: u64,
    /// How many there are, about.
    total: u64,
    /// Rows a second, from its start.
    rate: f64,
    /// About how many seconds it takes still.
    eta_s: Option<f64>,
    /// The tables whose files are no recording: they are read by event time, and which rows came
    /// late is not known.
    by_event_time: Vec<String>,
    /// What it did so far; the digests come with the end.
    report: Report,
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReplayReport)]
struct Report {
    /// The tables that are read.
    tables: Vec<InputReport>,
    /// The tables that are written: to nowhere, but counted.
    outputs: Vec<OutputReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReplayInput)]
struct InputReport {
    name: String,
    arrived: u64,
    accepted: u64,
    late: u64,
    future: u64,
    dead: u64,
    /// Rows that were accepted and given up by a step of the graph.
    rejected: u64,
    /// Who gave up the first dead row, and why.
    first_dead: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReplayOutput)]
struct OutputReport {
    name: String,
    rows: u64,
    /// Equal digests are equal rows, in the same order for every key.
    digest: Option<String>,
}

impl From<&Replay> for View {
    fn from(replay: &Replay) -> Self {
        let Standing {
            state,
            status,
            end,
            rows,
            elapsed,
            left,
        } = replay.standing();
        let tables = status.tables.iter().map(|table| InputReport {
            name: table.name.clone(),
            arrived: table.counts.arrived,
            accepted: table.counts.accepted,
            late: table.counts.late,
            future: table.counts.future,
            dead: table.counts.dead,
            rejected: table.rejected,
            first_dead: table.first_dead.clone(),
        });
        let outputs = status.targets.iter().enumerate().map(|(number, target)| {
            let digest = report::digest(&status, number);
            OutputReport {
                name: target.name.clone(),
                rows: digest.map_or(target.rows, |digest| digest.rows),
                digest: digest.map(|digest| digest.to_string()),
            }
        });
        let seconds = elapsed.as_secs_f64();
        Self {
            id: replay.id.clone(),
            job: replay.job.clone(),
            state,
            reason: end.as_ref().and_then(|end| end.failure.clone()),
            created_at: replay.created_at.clone(),
            ended_at: end.map(|end| end.at),
            rows,
            total: replay.total,
            rate: if seconds > 0.0 {
                rows as f64 / seconds
            } else {
                0.0
            },
            eta_s: left.map(|left| left.as_secs_f64()),
            by_event_time: replay.by_event_time.clone(),
            report: Report {
                tables: tables.collect(),
                outputs: outputs.collect(),
            },
        }
    }
}
