//! The figures of jobs, gathered for one reading.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine::runtime::Status;
use engine::runtime::status::{Latency, TableStatus, TargetStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Labels;
use crate::jobs::Slot;
use crate::jobs::view::{instant, now};
use crate::live::{Hub, Hubs};
use crate::state::AppState;

/// Every state, so that a job's is 1 and the others are 0.
const STATES: [&str; 7] = [
    "created",
    "recovering",
    "running",
    "stopping",
    "stopped",
    "finished",
    "failed",
];
/// The shares of rows whose latency is told.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// The jobs at one moment.
#[derive(Debug)]
pub(super) struct Jobs {
    all: Vec<Job>,
    live: Live,
    now: i64,
}

#[derive(Debug)]
struct Job {
    name: String,
    state: &'static str,
    /// What it says of itself where it runs.
    status: Option<Status>,
}

/// Who looks at what, at one moment.
#[derive(Debug)]
struct Live {
    streams: usize,
    connections: usize,
    /// By job and table: channels and subscriptions.
    hubs: Vec<(Labels, (usize, usize))>,
}

impl Live {
    fn of(hubs: &Hubs) -> Self {
        let all = hubs.list();
        let of_table = |hub: &Arc<Hub>| {
            let (job, table) = (hub.job().to_owned(), hub.stream().to_owned());
            (vec![("job", job), ("table", table)], hub.counts())
        };
        Self {
            streams: all.len(),
            connections: hubs.connections(),
            hubs: all.iter().map(of_table).collect(),
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, count: usize| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(count as i64).encode(encoder)
        };
        gauge("live_streams", "Tables that can be watched", self.streams)?;
        let help = "Live connections, WebSocket and SSE";
        gauge("live_connections", help, self.connections)?;
        let by_table = |count: fn(&(usize, usize)) -> usize| -> Figures<i64> {
            let hubs = self.hubs.iter();
            hubs.map(|(labels, counts)| (labels.clone(), count(counts) as i64))
                .collect()
        };
        let help = "Subscriptions that differ: each is filtered, written and compressed once";
        gauges(encoder, "live_channels", help, by_table(|counts| counts.0))?;
        let help = "Subscriptions";
        let subscriptions = by_table(|counts| counts.1);
        gauges(encoder, "live_subscriptions", help, subscriptions)
    }
}

/// A figure and what it is of.
type Figures<T> = Vec<(Labels, T)>;

impl Jobs {
    /// The jobs as they are now.
    pub(super) fn of(state: &AppState) -> Self {
        let job = |slot: &Arc<Slot>| {
            let status = slot.status();
            Job {
                name: slot.name.clone(),
                state: slot
                    .phase()
                    .shown(status.as_ref().map(|status| status.state)),
                status,
            }
        };
        Self {
            all: state.jobs.list().iter().map(job).collect(),
            live: Live::of(&state.hubs),
            now: now(),
        }
    }

    fn running(&self) -> impl Iterator<Item = (&str, &Status)> {
        let running = self.all.iter();
        running.filter_map(|job| Some((job.name.as_str(), job.status.as_ref()?)))
    }

    /// A figure of each running job.
    fn by_job<T>(&self, figure: impl Fn(&Status) -> T) -> Figures<T> {
        let running = self.running();
        running
            .map(|(job, status)| (vec![("job", job.to_owned())], figure(status)))
            .collect()
    }

    /// A figure of each table that is read.
    fn by_table<T>(&self, figure: impl Fn(&TableStatus) -> Option<T>) -> Figures<T> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            for table in &status.tables {
                let labels = vec![("job", job.to_owned()), ("table", table.name.clone())];
                figures.extend(figure(table).map(|figure| (labels, figure)));
            }
        }
        figures
    }

    /// A figure of each table that is written.
    fn by_output<T>(&self, figure: impl Fn(&TargetStatus) -> T) -> Figures<T> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            for target in &status.targets {
                let labels = vec![("job", job.to_owned()), ("table", target.name.clone())];
                figures.push((labels, figure(target)));
            }
        }
        figures
    }

    /// Rows at each step.
    fn by_step(&self) -> Figures<u64> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            for (number, (name, counts)) in status.steps.iter().enumerate() {
                let rows = [
                    ("in", counts.rows_in),
                    ("out", counts.rows_out),
                    ("dead", counts.dead),
                    ("left-out", counts.left_out),
                    ("missed", counts.missed),
                ];
                for (way, rows) in rows {
                    let mut labels = step(job, number, name);
                    labels.push(("rows", way.to_owned()));
                    figures.push((labels, rows));
                }
            }
        }
        figures
    }

    fn by_outcome(&self) -> Figures<u64> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            for table in &status.tables {
                let outcomes = [
                    ("accepted", table.counts.accepted),
                    ("late", table.counts.late),
                    ("future", table.counts.future),
                    ("dead", table.counts.dead),
                    ("rejected", table.rejected),
                ];
                for (outcome, rows) in outcomes {
                    let labels = vec![
                        ("job", job.to_owned()),
                        ("table", table.name.clone()),
                        ("outcome", outcome.to_owned()),
                    ];
                    figures.push((labels, rows));
                }
            }
        }
        figures
    }

    /// By share, how long something took, in seconds.
    fn quantiles(&self, of: impl Fn(&Status) -> &Latency) -> Figures<f64> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            for share in QUANTILES {
                let labels = vec![("job", job.to_owned()), ("quantile", share.to_string())];
                let latency = of(status).quantile(share);
                figures.extend(latency.map(|latency| (labels, latency as f64 / 1e9)));
            }
        }
        figures
    }

    fn states(&self) -> Figures<i64> {
        let states = |job: &Job| {
            let (name, now) = (job.name.clone(), job.state);
            STATES.map(|state| {
                let labels = vec![("job", name.clone()), ("state", state.to_owned())];
                (labels, i64::from(state == now))
            })
        };
        self.all.iter().flat_map(states).collect()
    }
}

/// The first word of a step, which is what the operator is called.
fn operator(step: &str) -> String {
    let end = step
        .find(|letter: char| !letter.is_alphanumeric())
        .unwrap_or(step.len());
    step[..end].to_lowercase()
}

/// Seconds, as counters have them.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

impl Jobs {
    /// What things cost: time, bytes, waiting.
    fn costs(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "How long a step has worked, in seconds, from one message of 32";
        counters(encoder, "step_busy_seconds", help, self.by_busy())?;
        let help = "Bytes of the rows that were polled, in memory";
        let bytes = self.by_table(|table| Some(table.bytes));
        counters(encoder, "table_bytes", help, bytes)?;
        let help = "For how long a source had rows and the job no room for them, in seconds";
        let blocked = self.by_table(|table| Some(seconds(table.blocked)));
        counters(encoder, "table_blocked_seconds", help, blocked)?;
        let help = "Records that a source has not handed over yet";
        let lag = self.by_table(|table| Some(table.lag?.cast_signed()));
        gauges(encoder, "table_lag_records", help, lag)?;
        let commits = self.by_job(|status| status.commits.times.count());
        counters(
            encoder,
            "job_commits",
            "Epochs that were committed",
            commits,
        )?;
        let help = "From the end of an epoch's output to its commit, in seconds, by share of them";
        let times = self.quantiles(|status| &status.commits.times);
        gauges(encoder, "job_commit_seconds", help, times)?;
        let help = "Bytes of the records of these epochs in the log";
        let bytes = self.by_job(|status| status.commits.bytes);
        counters(encoder, "job_commit_bytes", help, bytes)?;
        let snapshots = self.by_job(|status| status.snapshots.stored);
        counters(
            encoder,
            "job_snapshots",
            "Snapshots that were stored",
            snapshots,
        )?;
        let bytes = self.by_job(|status| status.snapshots.bytes);
        counters(
            encoder,
            "job_snapshot_bytes",
            "Bytes of these snapshots",
            bytes,
        )?;
        let help = "How long storing them took, in seconds";
        let time = self.by_job(|status| seconds(status.snapshots.time));
        counters(encoder, "job_snapshot_seconds", help, time)
    }

    /// Seconds that each step has worked.
    fn by_busy(&self) -> Figures<f64> {
        let mut figures = vec![];
        for (job, status) in self.running() {
            let steps = status.steps.iter().zip(&status.busy);
            for (number, ((name, _), busy)) in steps.enumerate() {
                figures.push((step(job, number, name), seconds(*busy)));
            }
        }
        figures
    }
}

/// The labels of a step: its number keeps apart those of one name.
fn step(job: &str, number: usize, name: &str) -> Labels {
    vec![
        ("job", job.to_owned()),
        ("step", number.to_string()),
        ("operator", operator(name)),
    ]
}

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let delay = |table: &TableStatus| {
            let time = table.watermark.and_then(instant)?;
            Some(self.now.saturating_sub(time) as f64 / 1e9)
        };
        gauges(
            encoder,
            "job_state",
            "1 for the state that the job is in",
            self.states(),
        )?;
        let help = "The last committed epoch";
        let epochs = self.by_job(|status| status.committed.0 as i64);
        gauges(encoder, "job_committed_epoch", help, epochs)?;
        let help = "Whoever does not answer at the moment: tables, or the log";
        let waiting = self.by_job(|status| status.waiting.len() as i64);
        gauges(encoder, "job_waiting", help, waiting)?;
        let help = "From arrival to leaving the graph, in seconds, by share of the rows";
        gauges(
            encoder,
            "job_latency_seconds",
            help,
            self.quantiles(|status| &status.latency),
        )?;
        let help = "Records that a source handed over";
        let arrived = self.by_table(|table| Some(table.counts.arrived));
        counters(encoder, "table_rows_arrived", help, arrived)?;
        let help = "Where the records of a table went";
        counters(encoder, "table_rows", help, self.by_outcome())?;
        let help = "Records that were gone before they were read, since a start from 'offset'";
        let skipped = self.by_table(|table| Some(table.skipped));
        counters(encoder, "table_rows_skipped", help, skipped)?;
        let help = "How far the watermark is behind the clock, in seconds";
        gauges(
            encoder,
            "table_watermark_delay_seconds",
            help,
            self.by_table(delay),
        )?;
        let help = "Rows given to a table that is written";
        counters(
            encoder,
            "output_rows",
            help,
            self.by_output(|target| target.rows),
        )?;
        let help = "The last epoch that is out";
        let published = self.by_output(|target| target.published.0 as i64);
        gauges(encoder, "output_published_epoch", help, published)?;
        let help = "Rows into a step, out of it, given up by it (dead), left out by a filter or as too \
                    late, and handed on before the step was there (missed)";
        counters(encoder, "step_rows", help, self.by_step())?;
        self.costs(encoder)?;
        self.live.encode(encoder)
    }
}

fn counters<T>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    figures: Figures<T>,
) -> fmt::Result
where
    ConstCounter<T>: EncodeMetric,
{
    let figures = figures
        .into_iter()
        .map(|(labels, value)| (labels, ConstCounter::new(value)));
    family(encoder, name, help, MetricType::Counter, figures)
}

fn gauges<T>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    figures: Figures<T>,
) -> fmt::Result
where
    ConstGauge<T>: EncodeMetric,
{
    let figures = figures
        .into_iter()
        .map(|(labels, value)| (labels, ConstGauge::new(value)));
    family(encoder, name, help, MetricType::Gauge, figures)
}

fn family(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    metric_type: MetricType,
    figures: impl Iterator<Item = (Labels, impl EncodeMetric)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (labels, figure) in figures {
        figure.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}
