//! Plain SQL over what jobs have written, at one cut: of each table the rows that are published
//! up to an epoch, and the live ones after it.
//!
//! A query runs on a thread of its own, so that it delays no other request, with a limit to its
//! time, its memory and its rows. It reads tables and nothing else of the machine.

mod run;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

pub(crate) use tables::find;

/// How long a query that has no time left may take to notice.
const NOTICE: Duration = Duration::from_secs(2);

/// What a query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rows of the answer.
    pub(crate) rows: usize,
    /// From its start to its last row.
    pub(crate) time: Duration,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its type in SQL.
    pub(crate) data_type: String,
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) struct Answer {
    /// In order.
    pub(crate) columns: Vec<Column>,
    /// A JSON array of objects.
    pub(crate) rows: Box<RawValue>,
    /// Whether there are more rows than the limit.
    pub(crate) truncated: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The text is wrong, or cannot be computed.
    Wrong(Vec<sql::Error>),
    /// It takes more than it may.
    Limit(String),
    /// Too many queries run.
    Busy,
    /// A defect.
    Failed(engine::Error),
}

impl Unanswered {
    fn too_long(limits: Limits) -> Self {
        Self::Limit(format!(
            "the query takes longer than {} ms: read fewer rows, or raise timeout_ms",
            limits.time.as_millis()
        ))
    }
}

/// Where queries run.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    places: Arc<Semaphore>,
    /// What one may hold, in bytes.
    memory: usize,
}

impl Queries {
    /// So many at once, each with so much memory.
    pub(crate) fn new(at_once: usize, memory: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            memory,
        }
    }

    /// Runs a query over the tables that it names. It ends when nobody waits for it any more.
    pub(crate) async fn run(
        &self,
        text: String,
        tables: BTreeMap<String, tables::Cut>,
        limits: Limits,
    ) -> Result<Answer, Unanswered> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Unanswered::Busy)?;
        let memory = self.memory;
        // Dropped with this future.
        let (_waiting, nobody_waits) = oneshot::channel::<()>();
        let running = tokio::task::spawn_blocking(move || {
            let answer = run::run(&text, tables, limits, memory, nobody_waits);
            drop(place);
            answer
        });
        // It is answered also where one step of it takes longer than that, and keeps its place.
        let ran = timeout(limits.time + NOTICE, running).await;
        let ran = ran.map_err(|_| Unanswered::too_long(limits))?;
        ran.map_err(|error| {
            tracing::error!(%error, "a query broke down");
            let message = "the query cannot be run: it broke down; write it otherwise";
            Unanswered::Wrong(vec![sql::Error::of_whole(message)])
        })?
    }
}
