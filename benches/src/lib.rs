//! Benchmarks that anyone can run: `make bench`, or some of them by `make bench BENCH='over json'`.
//!
//! One module a benchmark, listed in [`ALL`]; they share [`measure`] (rounds, processor time),
//! [`job`] (SQL text to a running job), [`messages`] (what comes in) and [`report`] (Markdown).
//! [`monolith`] is the loop written by hand that `over` is compared with, [`chain`] the two
//! operators of it alone.

pub mod chain;
pub mod commits;
pub mod job;
pub mod json;
pub mod kafka;
pub mod latency;
pub mod live;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod messages;
pub mod monolith;
pub mod over;
pub mod recording;
pub mod recovery;
pub mod replay;
pub mod report;
pub mod start;
pub mod topics;

use anyhow::Result;

use report::Section;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the results are of.
    Full,
    /// A few rows and two rounds: shows that a benchmark runs, its figures and verdicts mean nothing.
    Quick,
}

impl Size {
    /// Rows, fewer when quick.
    #[must_use]
    pub fn rows(self, rows: usize) -> usize {
        match self {
            Self::Full => rows,
            Self::Quick => (rows / 100).clamp(1, 20_000),
        }
    }

    /// Rounds of a comparison.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Full => 5,
            Self::Quick => 2,
        }
    }

    /// Seconds of a run that is timed by the clock.
    #[must_use]
    pub fn seconds(self, seconds: f64) -> f64 {
        match self {
            Self::Full => seconds,
            Self::Quick => seconds / 5.0,
        }
    }
}

/// What a benchmark is called, and what runs it.
pub type Benchmark = (&'static str, fn(Size) -> Result<Section>);

/// Every benchmark, in the order of the results.
pub const ALL: [Benchmark; 11] = [
    ("over", over::run),
    ("json", json::run),
    ("kafka", kafka::run),
    ("commits", commits::run),
    ("replay", replay::run),
    ("recording", recording::run),
    ("memory", memory::run),
    ("latency", latency::run),
    ("recovery", recovery::run),
    ("start", start::run),
    ("live", live::run),
];

/// The second argument of a process that a benchmark starts to measure it from outside.
pub const CHILD: &str = "--child";

/// Runs the part of a benchmark that has a process of its own.
pub fn child(name: &str, arguments: &[String]) -> Result<()> {
    match name {
        "memory" => memory::child(arguments),
        "latency" => latency::child(arguments),
        "recovery" => recovery::child(arguments),
        "start" => start::child(),
        "live" => live::child(arguments),
        _ => anyhow::bail!("no benchmark has a process called '{name}'"),
    }
}
