//! The tables of running jobs that rows are pushed into.

use std::collections::BTreeMap;

use connectors::http::push::Pusher;
use connectors::options::nearest;
use engine::runtime::{Committed, Job};
use engine::{Epoch, Error, Graph, Result};
use tokio::sync::{oneshot, watch};

use super::{Refused, Supervisor};

/// A table that rows are pushed into, while its job runs.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    /// The end that takes them.
    pub(crate) pusher: Pusher,
    /// Its number among the tables that the job reads.
    table: usize,
    committed: watch::Receiver<Committed>,
}

impl Feed {
    /// The feeds of a job that starts, by table.
    pub(crate) fn all(graph: &Graph, pushers: Vec<Pusher>, job: &Job) -> BTreeMap<String, Self> {
        let feed = |pusher: Pusher| {
            let name = pusher.stream().name.clone();
            let table = graph
                .inputs
                .iter()
                .position(|input| input.stream.name == name)?;
            let committed = job.committed();
            Some((
                name,
                Self {
                    pusher,
                    table,
                    committed,
                },
            ))
        };
        pushers.into_iter().filter_map(feed).collect()
    }

    /// Waits until rows are committed, and says up to which epoch everything is. `reached` tells
    /// the number behind the last of them. Where the job ends first it cannot be known.
    pub(crate) async fn committed(mut self, reached: oneshot::Receiver<i64>) -> Result<Epoch> {
        let name = self.pusher.stream().name.clone();
        let ended = || {
            Error::unavailable(format!(
                "the job that reads '{name}' ended before the rows were committed: they may be \
                 lost, or not; push them again once it runs, and they may come twice"
            ))
        };
        let reached = reached.await.map_err(|_| ended())?;
        let (table, split) = (self.table, Pusher::split());
        let holds = |committed: &Committed| {
            let position = committed.positions.get(table);
            let position = position.and_then(|position| position.get(&split));
            // Before the first row the split has no position: none of its rows is missing.
            position.copied().unwrap_or_default() >= reached
        };
        let committed = self.committed.wait_for(holds).await.map_err(|_| ended())?;
        Ok(committed.epoch)
    }
}

impl Supervisor {
    /// The table of a running job that rows are pushed into, by its name or by `job.table`.
    pub(crate) fn feed(&self, name: &str) -> Result<Feed, Refused> {
        let (mut found, mut known, mut read) = (vec![], vec![], None);
        for slot in self.list() {
            let Some(running) = slot.running() else {
                continue;
            };
            for input in &running.graph.inputs {
                let table = &input.stream.name;
                let whole = format!("{}.{table}", slot.name);
                let feed = running.feeds.get(table);
                if feed.is_some() {
                    known.push(table.clone());
                }
                if name != table && name != whole {
                    continue;
                }
                match feed {
                    Some(feed) => found.push((whole, feed.clone())),
                    None => read = Some(input.stream.connector.clone()),
                }
            }
        }
        if found.len() > 1 {
            let names: Vec<String> = found.iter().map(|(name, _)| format!("'{name}'")).collect();
            return Err(Refused::Conflict(format!(
                "several jobs have a table '{name}': write {}",
                names.join(" or ")
            )));
        }
        if let Some((_, feed)) = found.pop() {
            return Ok(feed);
        }
        if let Some(connector) = read {
            return Err(Refused::Conflict(format!(
                "table '{name}' is read by the connector '{connector}': rows are pushed into \
                 tables WITH ('connector' = 'http', 'mode' = 'push')"
            )));
        }
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean '{near}'?"),
            None => String::new(),
        };
        let message = format!("no running job takes rows for a table '{name}'{hint}");
        Err(Error::not_found(message).into())
    }
}
