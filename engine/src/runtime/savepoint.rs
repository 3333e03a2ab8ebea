//! Savepoints of a running job, and what another graph makes of one.

use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::redrive::Request;
use super::shard::{Shard, ShardSnapshot};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::blueprint::{Blueprint, Part, Takeover};
use crate::log::record::StoredSnapshot;
use crate::log::savepoint::Savepoint;

/// A state that is committed, and who says that everything before it is out.
#[derive(Debug)]
struct Granted {
    state: Arc<StoredSnapshot>,
    out: Vec<oneshot::Receiver<()>>,
}

/// Somebody waits for a savepoint.
#[derive(Debug)]
pub(super) struct Wish(oneshot::Sender<Granted>);

impl Wish {
    /// The epoch of the state is committed.
    pub(super) fn grant(self, state: Arc<StoredSnapshot>, out: Vec<oneshot::Receiver<()>>) {
        // Whoever asked may have gone.
        let _ = self.0.send(Granted { state, out });
    }
}

/// Asks a job for savepoints, for as long as it runs.
#[derive(Debug, Clone)]
pub struct Savepointer {
    requests: mpsc::Sender<Request>,
}

impl Savepointer {
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self { requests }
    }

    /// Lets the job end its epoch, and gives its state once that is committed and everything
    /// before it is put out.
    pub async fn take(&self) -> Result<StoredSnapshot> {
        let ended = || {
            Error::unavailable(
                "the job ended before the savepoint was taken: take one of the job that has stopped, \
                 or ask again once it runs",
            )
        };
        let (wish, granted) = oneshot::channel();
        let request = Request::Savepoint(Wish(wish));
        self.requests.send(request).await.map_err(|_| ended())?;
        let Granted { state, out } = granted.await.map_err(|_| ended())?;
        for sink in out {
            sink.await.map_err(|_| ended())?;
        }
        Ok(Arc::unwrap_or_clone(state))
    }
}

/// What a graph makes of a savepoint: the state that its log is to begin with.
#[derive(Debug)]
pub struct Inherited {
    /// The state, for the graph.
    pub state: StoredSnapshot,
    /// Steps that have a state and go on with it.
    pub kept: usize,
    /// Tables, steps and functions that begin with what comes from now on.
    pub new: Vec<String>,
    /// Whose state is given up.
    pub dropped: Vec<String>,
}

/// Something of a savepoint that the graph has no place for.
struct Lost {
    name: String,
    why: String,
}

impl Savepoint {
    /// What a graph makes of it. Parts whose state depends on the same (their own line and
    /// everything that feeds them) keep it, new ones begin empty. A state that has no place in the
    /// graph is refused with the difference, unless `may_drop` says that it may be given up.
    pub fn inherit(self, graph: &Arc<Graph>, may_drop: bool) -> Result<Inherited> {
        let blueprint = graph.blueprint();
        let taken = blueprint.take_over(&self.blueprint);
        let (lost, consequences) = lost(&self, &blueprint, &taken);
        if !lost.is_empty() && !may_drop {
            let told = lost
                .iter()
                .map(|lost| format!("{}: {}", lost.name, lost.why));
            let mut told = told.collect::<Vec<_>>().join("; ");
            if consequences > 0 {
                let _ = write!(told, "; with the {consequences} steps that this feeds");
            }
            return Err(Error::invalid(format!(
                "savepoint '{}' holds a state that this text has no place for: {told}. Start from \
                 'empty', or allow that this state is dropped",
                self.name
            )));
        }
        let has_state = |step: &usize| is_state(&self.state.shard, *step);
        let kept = taken.steps.iter().flatten().filter(|step| has_state(step));
        let kept = kept.count();
        let named = |parts: &[Part], from: &[Option<usize>]| {
            let parts = parts.iter().zip(from);
            let new = parts.filter(|(_, from)| from.is_none());
            new.map(|(part, _)| part.name().to_owned()).collect()
        };
        let mut new: Vec<String> = named(blueprint.tables(), &taken.tables);
        new.extend(named(blueprint.steps(), &taken.steps));
        for ((part, from), pieces) in blueprint
            .steps()
            .iter()
            .zip(&taken.steps)
            .zip(&taken.pieces)
        {
            let pieces = part.pieces().iter().zip(pieces);
            let begins = pieces.filter(|(_, piece)| from.is_some() && piece.is_none());
            new.extend(begins.map(|(piece, _)| piece.clone()));
        }
        Ok(Inherited {
            state: taken_over(self, graph, &taken)?,
            kept,
            new,
            dropped: lost.into_iter().map(|lost| lost.name).collect(),
        })
    }
}

/// Whether a step of the savepoint has a state.
fn is_state(shard: &ShardSnapshot, step: usize) -> bool {
    let step = shard.steps.get(step);
    step.is_some_and(|step| !step.tables.is_empty())
}

/// The tables and steps whose state has no place, and how many more have none because of them.
fn lost(savepoint: &Savepoint, new: &Blueprint, taken: &Takeover) -> (Vec<Lost>, usize) {
    let old = &savepoint.blueprint;
    let mut lost = vec![];
    for (table, part) in old.tables().iter().enumerate() {
        if !taken.tables.contains(&Some(table)) {
            lost.push(Lost {
                name: part.name().to_owned(),
                why: new.change_of_table(old, table),
            });
        }
    }
    for ((part, from), kept) in new.steps().iter().zip(&taken.steps).zip(&taken.pieces) {
        let old = from.and_then(|from| old.steps().get(from));
        let pieces = old.map_or(&[][..], Part::pieces).iter().enumerate();
        let gone = pieces.filter(|(at, _)| !kept.contains(&Some(*at)));
        lost.extend(gone.map(|(_, piece)| Lost {
            name: piece.clone(),
            why: format!("it is not in '{}'", part.name()),
        }));
    }
    let mut consequences = 0;
    let mut without: Vec<bool> = vec![];
    for (step, part) in old.steps().iter().enumerate() {
        let is_lost = is_state(&savepoint.state.shard, step) && !taken.steps.contains(&Some(step));
        // Of a chain the lowest is told: the others are lost with it.
        let follows = old.is_fed_by(step, &without, |table| taken.tables.contains(&Some(table)));
        without.push(is_lost || follows);
        match (is_lost, follows) {
            (true, true) => consequences += 1,
            (true, false) => lost.push(Lost {
                name: part.name().to_owned(),
                why: new.change_of(old, step, taken),
            }),
            (false, _) => {}
        }
    }
    (lost, consequences)
}

fn taken_over(
    savepoint: Savepoint,
    graph: &Arc<Graph>,
    taken: &Takeover,
) -> Result<StoredSnapshot> {
    let StoredSnapshot { epoch, mut shard } = savepoint.state;
    let mut taps = std::mem::take(&mut shard.taps);
    let taps = taken.targets.iter().map(|from| {
        let tap = from.and_then(|from| taps.get_mut(from));
        tap.and_then(Option::take)
    });
    let taps = taps.collect();
    let mut fresh = Shard::new(Arc::clone(graph), true)?;
    fresh.take_over(shard, taken)?;
    drop(fresh.take_emitted());
    let shard = ShardSnapshot {
        taps,
        ..fresh.snapshot()?
    };
    Ok(StoredSnapshot { epoch, shard })
}
