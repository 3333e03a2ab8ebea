//! A job's data folder: `log/` (records, snapshots, plan, the name its files go by), `tables/`
//! (late and dead rows), `savepoints/`, and a lock that keeps a second process out.
//!
//! The store does not sync what it writes: a kill of the process loses nothing, a power cut may
//! lose or damage the last epochs of the log, also such as outputs have published. The next start
//! then refuses.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::{Owner, parquet};
use engine::crash::{self, Point};
use engine::log::Log;
use engine::log::record::StoredSnapshot;
use engine::{Emit, Error, Graph, Result};
use object_store::local::LocalFileSystem;

use crate::{bind, terminal};

/// The file with the name that the job's outputs and recordings go by.
const NAME: &str = "name.txt";

/// Where a log begins with a savepoint: under the first name until it is whole, under the second
/// until it has taken the place of the one before.
const DRAFT: &str = "log.draft";
const NEXT: &str = "log.next";

/// The file whose lock keeps others out.
const LOCK: &str = "lock";

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
        let unusable = |error| unwritable(path, error);
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::create(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Self::locked(path, lock),
            Err(TryLockError::WouldBlock) => Err(Error::unavailable(format!(
                "the data folder '{}' is in use: another process runs this job; stop it, choose \
                 another folder with --data, or, where it does not answer, run with --take-over",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// As [`open`](Self::open), also where another process has it: that one keeps a lock that is
    /// in nobody's way any more. What it does here is refused by the log and by the sinks.
    pub(crate) fn take_over(path: &Path) -> Result<Self> {
        let unusable = |error| unwritable(path, error);
        fs::create_dir_all(path).map_err(unusable)?;
        let draft = path.join(format!("{LOCK}.{}", std::process::id()));
        let lock = File::create(&draft).map_err(unusable)?;
        lock.try_lock().map_err(|error| unusable(error.into()))?;
        fs::rename(&draft, path.join(LOCK)).map_err(unusable)?;
        Self::locked(path, lock)
    }

    fn locked(path: &Path, lock: File) -> Result<Self> {
        let folder = Self {
            path: path.to_owned(),
            log: log_in(path)?,
            _lock: lock,
        };
        folder.replace_log()?;
        Ok(folder)
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
    /// there. Outputs and recordings stay as they are, and stay out of the reach of what runs
    /// next, which goes by another name; of the rolls of files that were under way, those that
    /// were published are completed, and the others go.
    pub(crate) async fn clear(&self, graph: &Graph) -> Result<Vec<PathBuf>> {
        if let Some(owner) = self.known_owner()? {
            tidy(graph, &owner).await?;
        }
        let mut removed = vec![];
        for folder in ["log", "tables"] {
            removed.extend(self.remove(folder)?);
        }
        Ok(removed)
    }

    fn remove(&self, name: &str) -> Result<Option<PathBuf>> {
        remove(self.path.join(name))
    }

    /// Makes the log that begins with a savepoint and is to take the place of the one in use. It does
    /// with [`replace_log`](Self::replace_log), or when the folder is opened the next time, unless it
    /// is [withdrawn](withdraw) before: a kill leaves the one or the other. What the job wrote goes by
    /// another name from then on, as after [`clear`](Self::clear); late and dead rows stay.
    pub(crate) async fn stage(
        &self,
        graph: &Graph,
        name: &str,
        savepoint: &str,
        state: &StoredSnapshot,
    ) -> Result<()> {
        if let Some(owner) = self.known_owner()? {
            tidy(graph, &owner).await?;
        }
        self.remove(DRAFT)?;
        let store = LocalFileSystem::new_with_prefix(&self.path)?;
        let draft = Log::new(Arc::new(store), DRAFT.into(), 0);
        draft.begin_with(&graph.plan(), savepoint, state).await?;
        name_log(&self.path.join(DRAFT), name)?;
        self.rename(DRAFT, NEXT)?;
        crash::reach(Point::BeginStaged);
        Ok(())
    }

    /// Puts the log that is [staged](Self::stage), if one is, in its place, or completes that.
    pub(crate) fn replace_log(&self) -> Result<()> {
        if !self.path.join(NEXT).is_dir() {
            return Ok(());
        }
        self.remove("log")?;
        crash::reach(Point::BeginCleared);
        self.rename(NEXT, "log")
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        fs::rename(&from, &to).map_err(|error| unusable(&from, error))
    }

    /// How far the job has come before.
    pub(crate) async fn past(&self) -> Result<Past> {
        Ok(match self.log.contents().await?.records.last() {
            None => Past::Nothing,
            Some(last) if self.log.read(*last).await?.finished => Past::Finished,
            Some(_) => Past::UnderWay,
        })
    }

    /// Whose outputs and recordings these are: the job's name with the log's identity, because
    /// files are named by owner and epoch, and epochs begin anew with every log. It is the same
    /// for as long as the log is.
    pub(crate) fn owner(&self, name: &str) -> Result<Owner> {
        if let Some(owner) = self.known_owner()? {
            return Ok(owner);
        }
        name_log(&self.path.join("log"), name)
    }

    fn known_owner(&self) -> Result<Option<Owner>> {
        owner_in(&self.path)
    }
}

/// Gives up the log that was to take the place of the one in use, in a data folder that nobody has
/// open: what was asked for never began.
pub(crate) fn withdraw(folder: &Path) -> Result<()> {
    remove(folder.join(NEXT)).map(|_| ())
}

/// Removes a folder; says which, where it was there.
fn remove(folder: PathBuf) -> Result<Option<PathBuf>> {
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("'{}' cannot be removed", folder.display());
            Err(Error::invalid(message).caused_by(error))
        }
    }
}

/// Gives the log in a folder an identity of its own.
fn name_log(log: &Path, name: &str) -> Result<Owner> {
    let owner = Owner::unique(name, 0);
    let (draft, file) = (log.join(format!(".{NAME}.tmp")), log.join(NAME));
    let written = fs::create_dir_all(log)
        .and_then(|()| File::create(&draft))
        .and_then(|mut draft| {
            draft.write_all(owner.job.as_bytes())?;
            draft.sync_all()
        })
        .and_then(|()| fs::rename(&draft, &file));
    written.map_err(|error| unusable(&file, error))?;
    Ok(owner)
}

/// The log of a data folder, open or not, to be read.
pub(crate) fn log_in(folder: &Path) -> Result<Log> {
    let store = LocalFileSystem::new_with_prefix(folder)?;
    Ok(Log::new(Arc::new(store), "log".into(), 0))
}

/// Whose outputs and recordings those of a data folder are, open or not; `None` where its job has
/// not begun.
pub(crate) fn owner_in(folder: &Path) -> Result<Option<Owner>> {
    let file = folder.join("log").join(NAME);
    match fs::read_to_string(&file) {
        Ok(job) => Ok(Some(Owner { job, shard: 0 })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&file, error)),
    }
}

fn unwritable(folder: &Path, error: io::Error) -> Error {
    Error::invalid(format!(
        "the data folder '{}' cannot be written; allow this user to write there, or choose another \
         with --data",
        folder.display()
    ))
    .caused_by(error)
}

fn unusable(file: &Path, error: io::Error) -> Error {
    Error::invalid(format!("'{}' cannot be used", file.display())).caused_by(error)
}

/// Lets an owner's files of outputs and recordings be completed or removed that a kill left under
/// temporary names.
async fn tidy(graph: &Graph, owner: &Owner) -> Result<()> {
    let targets = connectors::targets(graph, owner)?.sinks;
    let mut sinks = bind::recorders(graph, owner)?;
    for (target, sink) in graph.targets.iter().zip(targets) {
        sinks.extend((target.stream.connector == parquet::NAME).then_some(sink));
    }
    for mut sink in sinks.into_iter().flatten() {
        if sink.emit() == Emit::AfterCommit
            && let Err(error) = sink.published().await
        {
            // A job that starts empty must not be held up by what it does not need.
            terminal::say(&format!(
                "files of the earlier run stay half done: {}",
                error.chain()
            ));
        }
    }
    Ok(())
}
