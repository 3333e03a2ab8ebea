//! The savepoints of a job, in the folder `savepoints` of its data folder: kept of a job that runs
//! or rests, for as long as nobody removes them.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use engine::crash::{self, Point};
use engine::log::record::StoredSnapshot;
use engine::log::savepoint::{Listed, Savepoint, Savepoints};
use engine::runtime::savepoint::Inherited;
use engine::{Clock, Epoch, Error, Graph, Result, SystemClock};
use object_store::local::LocalFileSystem;

use crate::folder;

/// A savepoint that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What it is called.
    pub(crate) name: String,
    /// After which epoch it was taken.
    pub(crate) epoch: Epoch,
    /// How large it is.
    pub(crate) bytes: u64,
}

/// Those of a data folder.
pub(crate) fn of(home: &Path) -> Result<Savepoints> {
    let store = LocalFileSystem::new_with_prefix(home)?;
    Ok(Savepoints::new(Arc::new(store), "savepoints".into()))
}

/// Those there are in a data folder, which a job that never ran has not.
pub(crate) async fn list(home: &Path) -> Result<Vec<Listed>> {
    match home.is_dir() {
        true => of(home)?.list().await,
        false => Ok(vec![]),
    }
}

/// The state of a job that does not run; `graph` is what it ran with.
pub(crate) async fn at_rest(home: &Path, graph: &Graph) -> Result<StoredSnapshot> {
    let log = folder::log_in(home)?;
    if log.plan().await?.is_some_and(|plan| plan != graph.plan()) {
        return Err(Error::invalid(
            "the log is of another text: name the script, with the options, that the job ran with \
             when it stopped",
        ));
    }
    log.at_rest().await
}

/// Keeps a state under a name.
pub(crate) async fn keep(
    home: &Path,
    graph: &Graph,
    name: &str,
    state: StoredSnapshot,
) -> Result<Kept> {
    let savepoint = Savepoint {
        name: name.to_owned(),
        taken_at: SystemClock.now().0,
        blueprint: graph.blueprint(),
        state,
    };
    crash::reach(Point::SavepointDue);
    let bytes = of(home)?.put(&savepoint).await?;
    crash::reach(Point::SavepointStored);
    Ok(Kept {
        name: savepoint.name.clone(),
        epoch: savepoint.epoch(),
        bytes,
    })
}

/// What a graph makes of the savepoint of that name.
pub(crate) async fn inherited(
    home: &Path,
    graph: &Arc<Graph>,
    name: &str,
    may_drop: bool,
) -> Result<Inherited> {
    of(home)?.get(name).await?.inherit(graph, may_drop)
}

/// What a job goes on with, in words.
pub(crate) fn told(name: &str, inherited: &Inherited) -> String {
    let Inherited {
        state,
        kept,
        new,
        dropped,
    } = inherited;
    let steps = if *kept == 1 {
        "step keeps its"
    } else {
        "steps keep their"
    };
    let mut told = format!(
        "starting from savepoint '{name}' of epoch {}: {kept} {steps} state",
        state.epoch
    );
    for (parts, what) in [(new, "begins empty"), (dropped, "is given up")] {
        for part in parts {
            let _ = write!(told, "\n  {part} {what}");
        }
    }
    told
}
