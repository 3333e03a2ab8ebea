//! Savepoints: states of a job by name, kept until somebody removes them, whatever becomes of its
//! log. They are in a folder beside it, one object each, `<name>.savepoint`.
//!
//! A savepoint is taken at the end of an epoch, once that is committed and every sink has put out
//! all rows up to there. So it stands by itself: it says how far the inputs are read and what the
//! steps know, and nothing before it is owed to anybody. A log that begins from it goes on with the
//! epoch after.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::container::{Reader, Writer};
use super::record::{SnapshotHead, StoredSnapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::blueprint::Blueprint;
use crate::sink::Epoch;

const MAGIC: [u8; 8] = *b"MSSAVEPT";
/// It grows with the version of snapshots, too.
const VERSION: u32 = 1;
const SUFFIX: &str = ".savepoint";

/// A state of a job that somebody asked to be kept.
#[derive(Debug, Clone)]
pub struct Savepoint {
    /// What it is called.
    pub name: String,
    /// When it was taken, in nanoseconds.
    pub taken_at: i64,
    /// What the state of each part depends on.
    pub blueprint: Blueprint,
    /// The state.
    pub state: StoredSnapshot,
}

#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    taken_at: i64,
    blueprint: Blueprint,
    state: SnapshotHead,
}

/// A savepoint, unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub name: String,
    /// How large it is.
    pub bytes: u64,
    /// When it was stored, in nanoseconds.
    pub stored_at: i64,
}

/// The savepoints of a job.
#[derive(Debug, Clone)]
pub struct Savepoints {
    store: Arc<dyn ObjectStore>,
    folder: Path,
}

impl Savepoint {
    /// After which epoch it was taken.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.state.epoch
    }
}

impl Savepoints {
    /// Those in a folder; does no I/O.
    pub fn new(store: Arc<dyn ObjectStore>, folder: Path) -> Self {
        Self { store, folder }
    }

    fn path(&self, name: &str) -> Path {
        self.folder.clone().join(format!("{name}{SUFFIX}"))
    }

    /// Keeps one and says how large it is; one of that name must not be there.
    pub async fn put(&self, savepoint: &Savepoint) -> Result<u64> {
        let head = Head {
            name: savepoint.name.clone(),
            taken_at: savepoint.taken_at,
            blueprint: savepoint.blueprint.clone(),
            state: SnapshotHead::of(&savepoint.state),
        };
        let mut writer = Writer::new(MAGIC, VERSION, &head)?;
        savepoint.state.write_tables(&mut writer)?;
        let (path, payload) = (self.path(&savepoint.name), writer.finish());
        let bytes = payload.content_length() as u64;
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, payload, options).await {
            Ok(_) => Ok(bytes),
            Err(object_store::Error::AlreadyExists { .. }) => Err(taken(&savepoint.name)),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a name that is taken.
    pub async fn check_free(&self, name: &str) -> Result<()> {
        match self.store.head(&self.path(name)).await {
            Ok(_) => Err(taken(name)),
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<Savepoint> {
        let path = self.path(name);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Err(self.unknown(name).await),
            Err(error) => return Err(error.into()),
        };
        let read = || {
            let (head, mut reader) = Reader::open::<Head>(&bytes, MAGIC, VERSION)?;
            Ok(Savepoint {
                name: head.name,
                taken_at: head.taken_at,
                blueprint: head.blueprint,
                state: head.state.read(&mut reader)?,
            })
        };
        read().map_err(|error: Error| {
            let message = format!(
                "{path} is damaged or of another build; nothing was changed: restore the file, or \
                 start from another savepoint"
            );
            Error::corrupt(message).caused_by(error)
        })
    }

    /// What there is, by name.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let objects: Vec<_> = self.store.list(Some(&self.folder)).try_collect().await?;
        let listed = objects.iter().filter_map(|object| {
            Some(Listed {
                name: object.location.filename()?.strip_suffix(SUFFIX)?.to_owned(),
                bytes: object.size,
                stored_at: object.last_modified.timestamp_nanos_opt().unwrap_or(0),
            })
        });
        let mut listed: Vec<Listed> = listed.collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let known = self.list().await?.iter().any(|listed| listed.name == name);
        if !known {
            return Err(self.unknown(name).await);
        }
        let removed = self.store.delete(&self.path(name)).await;
        removed.map_err(Error::from)
    }

    async fn unknown(&self, name: &str) -> Error {
        let known = self.list().await.unwrap_or_default();
        let names: Vec<String> = known.into_iter().map(|listed| listed.name).collect();
        let known = match names.as_slice() {
            [] => "the job has none".to_owned(),
            names => format!("the job has {}", names.join(", ")),
        };
        Error::new(
            ErrorKind::NotFound,
            format!("there is no savepoint '{name}': {known}"),
        )
    }
}

fn taken(name: &str) -> Error {
    Error::invalid(format!(
        "there is a savepoint '{name}' already: choose another name, or remove that one"
    ))
}
