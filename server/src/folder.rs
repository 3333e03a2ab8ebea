//! A job's data folder: `log/` (records, snapshots, plan, the name its files go by), `tables/`
//! (late and dead rows), and a lock that keeps a second process out.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::Owner;
use engine::log::Log;
use engine::{Emit, Epoch, Error, Graph, Result};
use object_store::local::LocalFileSystem;

use crate::bind;

/// The file with the name that the job's outputs and recordings go by.
const NAME: &str = "name.txt";

/// How far a job has come before this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It has not run.
    Nothing,
    /// It was stopped or killed.
    UnderWay,
    /// All its inputs have come to their end.
    Finished,
}

/// An open data folder; no other process opens it meanwhile.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    log: Log,
    _lock: File,
}

impl Folder {
    /// Creates the folder where it is not there yet, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let unusable = |error: io::Error| {
            Error::invalid(format!(
                "the data folder '{}' cannot be written; allow this user to write there, or \
                 choose another with --data",
                path.display()
            ))
            .caused_by(error)
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::create(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::unavailable(format!(
                    "the data folder '{}' is in use: another process runs this job; stop it, or \
                     choose another folder with --data",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let store = LocalFileSystem::new_with_prefix(path)?;
        Ok(Self {
            path: path.to_owned(),
            log: Log::new(Arc::new(store), "log".into(), 0),
            _lock: lock,
        })
    }

    /// The job's log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Where late and dead rows are.
    pub(crate) fn tables(&self) -> PathBuf {
        self.path.join("tables")
    }

    /// Removes the log with the state, and the late and dead rows; says which folders were
    /// there. Nothing else is touched.
    pub(crate) fn clear(&self) -> Result<Vec<PathBuf>> {
        let mut removed = vec![];
        for folder in ["log", "tables"] {
            let folder = self.path.join(folder);
            match fs::remove_dir_all(&folder) {
                Ok(()) => removed.push(folder),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("'{}' cannot be removed", folder.display());
                    return Err(Error::invalid(message).caused_by(error));
                }
            }
        }
        Ok(removed)
    }

    /// How far the job has come before.
    pub(crate) async fn past(&self) -> Result<Past> {
        Ok(match self.log.contents().await?.records.last() {
            None => Past::Nothing,
            Some(last) if self.log.read(*last).await?.finished => Past::Finished,
            Some(_) => Past::UnderWay,
        })
    }

    /// Whose outputs and recordings these are. Files are named by job and epoch, so a job that
    /// starts empty where an earlier run left files must not go by the same name: it is then
    /// called `name.2`, and so on. The name stays for as long as the log does.
    pub(crate) async fn owner(&self, name: &str, graph: &Graph) -> Result<Owner> {
        let file = self.path.join("log").join(NAME);
        let unusable = |error: io::Error| {
            Error::invalid(format!("'{}' cannot be used", file.display())).caused_by(error)
        };
        match fs::read_to_string(&file) {
            Ok(job) => return Ok(Owner { job, shard: 0 }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        let mut number = 1_u32;
        let owner = loop {
            let job = match number {
                1 => name.to_owned(),
                _ => format!("{name}.{number}"),
            };
            let owner = Owner { job, shard: 0 };
            if is_new(graph, &owner).await? {
                break owner;
            }
            number += 1;
        };
        fs::create_dir_all(self.path.join("log")).map_err(unusable)?;
        fs::write(&file, &owner.job).map_err(unusable)?;
        Ok(owner)
    }
}

/// Whether no file of outputs and recordings is this owner's. Outputs elsewhere know no owner.
async fn is_new(graph: &Graph, owner: &Owner) -> Result<bool> {
    let targets = graph.targets.iter().zip(bind::targets(graph, owner)?);
    let local = targets.filter(|(target, _)| target.stream.connector == "parquet");
    let recorders = bind::recorders(graph, owner)?.into_iter().flatten();
    for mut sink in local.map(|(_, sink)| sink).chain(recorders) {
        if sink.emit() == Emit::AfterCommit && sink.published().await? > Epoch(0) {
            return Ok(false);
        }
    }
    Ok(true)
}
