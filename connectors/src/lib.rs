//! Sources and sinks. A connector is one folder and one line in [`all`].
//!
//! Invariants, each with what enforces it:
//! * **Transports know no formats, formats no transports**: [`format`](mod@format) turns bytes into
//!   columns and back, connectors move bytes.
//! * **A bad record never stops a job**: it is handed over as rejected, with its bytes, offset and
//!   reason: property tests of the decoder, poison messages against a real Kafka.
//! * **A repeatable source repeats exactly from any offset; a sink that publishes after the commit
//!   publishes an epoch once, however often it is asked**: the contract tests.
//! * **What Kafka gets exactly once it gets in the job's one transaction** ([`targets`]): the crash
//!   tests of the binary.
//! * **An unknown option is an error that names the nearest; secrets never show**: [`options`].

pub mod blackhole;
#[cfg(any(feature = "http", feature = "websocket"))]
mod collect;
pub mod format;
#[cfg(feature = "http")]
pub mod http;
mod instant;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod market;
pub mod options;
pub mod parquet;
#[cfg(any(feature = "http", feature = "websocket"))]
mod pointer;
#[cfg(any(feature = "http", feature = "kafka", feature = "websocket"))]
pub mod retry;
pub mod stdout;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "http", feature = "websocket"))]
mod tls;
#[cfg(feature = "websocket")]
pub mod websocket;

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use engine::{CommitPoint, Error, Graph, Result, Sink, Source, StreamSpec};

/// Whose source or sink it is: what a sink names its files and messages by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The job's name; where it has a log, with the log's identity (see [`Owner::unique`]).
    pub job: String,
    /// The shard's number.
    pub shard: u32,
}

impl Owner {
    /// An owner like no other, for a log that begins: the job's name and 12 random digits. Jobs
    /// of one name with logs of their own then share folders without sharing files.
    #[must_use]
    pub fn unique(name: &str, shard: u32) -> Self {
        // The hasher's keys are random; two logs begun at once differ by process or by keys.
        let random = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
        Self {
            job: format!("{name}-{:012x}", random >> 16),
            shard,
        }
    }
}

/// A kind of feed. `source` and `sink` read and check the options and do no I/O: that begins
/// with the first call of [`Source::splits`] or [`Sink::published`], so a script is checked
/// without its brokers.
pub trait Connector: Debug + Send + Sync {
    /// The name in `'connector' = '…'`.
    fn name(&self) -> &'static str;
    /// The feed of a table; `Invalid` where the connector only writes, as one does that has none.
    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn Source>> {
        Err(Error::invalid(format!(
            "table '{}' is read, but the connector '{}' only writes",
            stream.name,
            self.name()
        )))
    }
    /// The output of a table; `Invalid` where the connector only reads, as one does that has none.
    fn sink(&self, stream: &StreamSpec, _: &Owner) -> Result<Box<dyn Sink>> {
        Err(Error::invalid(format!(
            "table '{}' is written, but the connector '{}' only reads; write to kafka or parquet",
            stream.name,
            self.name()
        )))
    }
}

/// Every connector, in the order of the manual.
#[must_use]
pub fn all() -> Vec<Box<dyn Connector>> {
    vec![
        Box::new(market::Market),
        Box::new(parquet::Parquet),
        Box::new(stdout::Stdout),
        Box::new(blackhole::Blackhole),
        #[cfg(feature = "kafka")]
        Box::new(kafka::Kafka),
        #[cfg(feature = "http")]
        Box::new(http::Http),
        #[cfg(feature = "websocket")]
        Box::new(websocket::WebSocket),
    ]
}

/// The connector of that name; the error names the nearest one.
pub fn find(name: &str) -> Result<Box<dyn Connector>> {
    let mut connectors = all();
    let found = connectors
        .iter()
        .position(|connector| connector.name() == name);
    if let Some(found) = found {
        return Ok(connectors.swap_remove(found));
    }
    let names = connectors.iter().map(|connector| connector.name());
    let hint = match options::nearest(name, names.clone()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    };
    let message = format!("no connector is called '{name}'; {hint}");
    Err(Error::not_found(message))
}

/// Where the rows of a job go.
pub struct Targets {
    /// By target, its sink; `None` where the commit point carries its rows.
    pub sinks: Vec<Option<Box<dyn Sink>>>,
    /// What commits the job, where some of its targets share a transaction.
    pub commit_point: Option<Box<dyn CommitPoint>>,
}

impl Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets").finish_non_exhaustive()
    }
}

/// The sinks of a graph's targets, and what commits them. Does no I/O.
pub fn targets(graph: &Graph, owner: &Owner) -> Result<Targets> {
    let streams = || graph.targets.iter().map(|target| &target.stream);
    let (carried, commit_point) = carried(graph, owner)?.unzip();
    let carried = carried.unwrap_or_default();
    let sink = |(number, stream): (usize, &StreamSpec)| match carried.contains(&number) {
        true => Ok(None),
        false => find(&stream.connector)?.sink(stream, owner).map(Some),
    };
    Ok(Targets {
        sinks: streams().enumerate().map(sink).collect::<Result<_>>()?,
        commit_point,
    })
}

type Carried = (Vec<usize>, Box<dyn CommitPoint>);

#[cfg(feature = "kafka")]
fn carried(graph: &Graph, owner: &Owner) -> Result<Option<Carried>> {
    let targets = graph.targets.iter().map(|target| &target.stream);
    let inputs = graph.inputs.iter().map(|input| &input.stream);
    kafka::commit_point(targets, inputs, owner)
}

#[cfg(not(feature = "kafka"))]
fn carried(_: &Graph, _: &Owner) -> Result<Option<Carried>> {
    Ok(None)
}
