//! The write-ahead log of a shard: one record per epoch, and a snapshot now and then.
//!
//! Objects of a shard, in the job's folder of any [`ObjectStore`]:
//! `shard-0/epoch-00000000000000000042.record`, `shard-0/epoch-….snapshot`, and, once per job,
//! `plan.txt`, and `begun-from.txt` where the log began from a [`savepoint`]; `shard-0/published`, written whenever the job ends in order, says what the sinks had
//! out then, which no record can: they put out the last rows after it. A record is put only where
//! there is none: without a [`CommitPoint`](crate::CommitPoint) that is the commit, and of two
//! processes that run one job the one that comes second fails.
//!
//! So a start begins with an epoch of its own, without rows, at the very number that a predecessor
//! that is still there would append next: its **fence**. `shard-0/epoch-….fence` marks it, and the
//! record of a fence is never cut, or a process that slept for long could append there again.
//!
//! With a commit point the log may end with records that were appended and never committed: what a
//! predecessor was about to commit, and fences of starts that did not come to it. They are left
//! where they are: a record is never removed for that, or one that somebody has committed meanwhile
//! could go with it. The fence is appended behind them and names the epoch that it
//! [follows](record::Start::follows). So of the records that are there the [history](Log::history)
//! of the job is what is found by going back from its last epoch, fence by fence.
//!
//! Every object begins with a magic number and a version and ends with a
//! checksum; one that does not check is refused and never overwritten, and so is one of a version
//! that this build does not write: a log is read by the build that wrote it. Records have version 5;
//! in version 4 a fence did not say what it follows, in version 3 nothing could be redriven, in
//! version 2 none said that a start began with it, in version 1 the rows that are kept had all columns
//! of a recording.

mod container;
pub mod inspect;
pub mod record;
pub mod savepoint;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::crash::{self, Point};
use crate::error::{Error, ErrorKind, Result};
use crate::sink::Epoch;
use record::{Record, Start, StoredSnapshot, decode_published, encode_published};

/// The object that names the savepoint that a log began from.
const BEGUN_FROM: &str = "begun-from.txt";

/// The log of one shard of a job.
#[derive(Debug, Clone)]
pub struct Log {
    store: Arc<dyn ObjectStore>,
    job: Path,
    shard: u32,
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Epochs with a record, ascending.
    pub records: Vec<Epoch>,
    /// Epochs with a snapshot, ascending.
    pub snapshots: Vec<Epoch>,
    /// Epochs that a start began with, ascending.
    pub fences: Vec<Epoch>,
}

/// Epochs that follow one another, of a log that may hold others between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Ascending.
    pub epochs: Vec<Epoch>,
    /// The one before the first: the one that was asked for, unless its record is missing.
    pub follows: Epoch,
}

impl Contents {
    /// The last epoch there is anything of; 0 stands for none.
    #[must_use]
    pub fn last(&self) -> Epoch {
        let ends = [self.records.last(), self.snapshots.last()];
        ends.into_iter()
            .flatten()
            .max()
            .copied()
            .unwrap_or_default()
    }
}

impl Log {
    /// The log of a shard in the job's folder; does no I/O.
    pub fn new(store: Arc<dyn ObjectStore>, job: Path, shard: u32) -> Self {
        Self { store, job, shard }
    }

    fn folder(&self) -> Path {
        self.job.clone().join(format!("shard-{}", self.shard))
    }

    fn path(&self, epoch: Epoch, kind: &str) -> Path {
        self.folder().join(format!("epoch-{:020}.{kind}", epoch.0))
    }

    /// What is there.
    pub async fn contents(&self) -> Result<Contents> {
        let folder = self.folder();
        let objects: Vec<_> = self.store.list(Some(&folder)).try_collect().await?;
        let mut contents = Contents::default();
        for object in objects {
            let name = object.location.filename().unwrap_or_default();
            let parts = name
                .strip_prefix("epoch-")
                .and_then(|name| name.split_once('.'));
            let Some((Ok(epoch), kind)) = parts.map(|(n, kind)| (n.parse(), kind)) else {
                continue;
            };
            match kind {
                "record" => contents.records.push(Epoch(epoch)),
                "snapshot" => contents.snapshots.push(Epoch(epoch)),
                "fence" => contents.fences.push(Epoch(epoch)),
                _ => {}
            }
        }
        contents.records.sort_unstable();
        contents.snapshots.sort_unstable();
        contents.fences.sort_unstable();
        Ok(contents)
    }

    /// Reads the record of an epoch.
    pub async fn read(&self, epoch: Epoch) -> Result<Record> {
        let path = self.path(epoch, "record");
        let record = Record::decode(&self.get(&path).await?);
        let record = record.map_err(|e| damaged(&path, e))?;
        if record.epoch != epoch {
            let is = record.epoch;
            return Err(Error::corrupt(format!(
                "{path} holds the record of epoch {is}"
            )));
        }
        Ok(record)
    }

    /// The epochs after one up to another that is committed: those that count of the records that
    /// are there.
    pub async fn history(
        &self,
        contents: &Contents,
        after: Epoch,
        through: Epoch,
    ) -> Result<History> {
        let (mut epochs, mut follows) = (vec![], through);
        while follows > after && contents.records.binary_search(&follows).is_ok() {
            epochs.push(follows);
            let start = self.start_of(follows, contents).await?;
            let before = Epoch(follows.0 - 1);
            follows = start.map_or(before, |start| start.follows.min(before));
        }
        epochs.reverse();
        Ok(History { epochs, follows })
    }

    /// Who began with the record of an epoch; `None` where it is no fence.
    pub(crate) async fn start_of(
        &self,
        epoch: Epoch,
        contents: &Contents,
    ) -> Result<Option<Start>> {
        // Who comes second for a number has left a mark there, too.
        match contents.fences.binary_search(&epoch) {
            Ok(_) => Ok(self.read(epoch).await?.start),
            Err(_) => Ok(None),
        }
    }

    /// Stores a snapshot; the same one may be there already.
    pub async fn put_snapshot(&self, epoch: Epoch, snapshot: PutPayload) -> Result<()> {
        Ok(self
            .store
            .put(&self.path(epoch, "snapshot"), snapshot)
            .await
            .map(|_| ())?)
    }

    /// Reads the snapshot of an epoch.
    pub async fn snapshot(&self, epoch: Epoch) -> Result<StoredSnapshot> {
        let path = self.path(epoch, "snapshot");
        StoredSnapshot::decode(&self.get(&path).await?).map_err(|e| damaged(&path, e))
    }

    /// Removes the records up to and including an epoch, but for fences.
    pub async fn cut_records(&self, through: Epoch, contents: &Contents) -> Result<()> {
        let records = contents.records.iter().filter(|epoch| **epoch <= through);
        for epoch in records.filter(|epoch| !contents.fences.contains(epoch)) {
            self.remove(&self.path(*epoch, "record")).await?;
            crash::reach(Point::Cut);
        }
        Ok(())
    }

    /// Removes the snapshots before an epoch.
    pub async fn cut_snapshots(&self, before: Epoch, contents: &Contents) -> Result<()> {
        for epoch in contents.snapshots.iter().filter(|epoch| **epoch < before) {
            self.remove(&self.path(*epoch, "snapshot")).await?;
        }
        Ok(())
    }

    /// The last epoch that each output had out when the job last ended in order; empty where it
    /// never did.
    pub async fn published(&self) -> Result<Vec<Epoch>> {
        let path = self.folder().join("published");
        match self.get(&path).await {
            Ok(bytes) => decode_published(&bytes).map_err(|e| damaged(&path, e)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Notes what each output has out, at the end of a job.
    pub async fn put_published(&self, published: &[Epoch]) -> Result<()> {
        let path = self.folder().join("published");
        let bytes = encode_published(published)?;
        Ok(self.store.put(&path, bytes).await.map(|_| ())?)
    }

    /// The plan that the log was written by, if there is one.
    pub async fn plan(&self) -> Result<Option<String>> {
        self.text("plan.txt").await
    }

    async fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(&self.job.clone().join(name)).await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes the plan at the beginning of a job.
    pub async fn put_plan(&self, plan: &str) -> Result<()> {
        self.create(&self.job.clone().join("plan.txt"), plan.to_string().into())
            .await
    }

    /// Lets a log that holds nothing begin with a state, that of a savepoint.
    pub async fn begin_with(
        &self,
        plan: &str,
        savepoint: &str,
        state: &StoredSnapshot,
    ) -> Result<()> {
        self.put_plan(plan).await?;
        let note = self.job.clone().join(BEGUN_FROM);
        self.create(&note, savepoint.to_owned().into()).await?;
        self.put_snapshot(state.epoch, state.encode()?).await
    }

    /// The savepoint that the log began from, if it did.
    pub async fn begun_from(&self) -> Result<Option<String>> {
        self.text(BEGUN_FROM).await
    }

    /// The state of a job that has ended in order and owes nobody a row; an error where it did not.
    pub async fn at_rest(&self) -> Result<StoredSnapshot> {
        let (contents, published) = (self.contents().await?, self.published().await?);
        let last = contents.last();
        let settled = !published.is_empty() && published.iter().all(|out| *out >= last);
        match contents.snapshots.last() {
            Some(newest) if *newest == last && settled => self.snapshot(last).await,
            _ => Err(Error::invalid(
                "the job has not run, or was killed, or could not put out all its rows: start it, \
                 and stop it in order",
            )),
        }
    }

    /// Removes everything of the job: records, snapshots, plan.
    pub async fn clear(&self) -> Result<()> {
        let objects: Vec<_> = self.store.list(Some(&self.job)).try_collect().await?;
        for object in objects {
            self.remove(&object.location).await?;
        }
        Ok(())
    }

    /// Appends the record of an epoch, which makes it durable, and says of how many bytes it is;
    /// the same record may be there already.
    pub async fn append(&self, record: &Record) -> Result<u64> {
        let payload = record.encode()?;
        let bytes = payload.content_length() as u64;
        let path = self.path(record.epoch, "record");
        let put = self.create(&path, payload).await;
        put.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => self.taken_over(record.epoch),
            _ => error,
        })?;
        Ok(bytes)
    }

    /// Appends the first record of a start at the epoch that a predecessor would append next, which
    /// then cannot; `false` where it was there first.
    pub async fn fence(&self, record: &Record) -> Result<bool> {
        let mark = self.path(record.epoch, "fence");
        self.store.put(&mark, PutPayload::new()).await?;
        let path = self.path(record.epoch, "record");
        match self.create(&path, record.encode()?).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What ends a process that finds an epoch in the log which it has not committed.
    pub(crate) fn taken_over(&self, epoch: Epoch) -> Error {
        Error::corrupt(format!(
            "epoch {epoch} of shard {} is in the log already: another process has taken over this \
             job; this one ends and has changed nothing",
            self.shard
        ))
    }

    /// Puts an object where there is none; `Corrupt` where there is another.
    async fn create(&self, path: &Path, payload: PutPayload) -> Result<()> {
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(path, payload.clone(), options);
        let Err(error) = put.await else {
            return Ok(());
        };
        let error = Error::from(error);
        // A put whose answer was lost may have been made: then the object is this one.
        if error.kind() == ErrorKind::Corrupt && self.get(path).await? == Bytes::from(payload) {
            return Ok(());
        }
        let message = format!("cannot write {path} to the log");
        Err(Error::new(error.kind(), message).caused_by(error))
    }

    async fn get(&self, path: &Path) -> Result<Bytes> {
        Ok(self.store.get(path).await?.bytes().await?)
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn damaged(path: &Path, error: Error) -> Error {
    Error::corrupt(format!(
        "{path} is damaged; nothing was changed: restore the file, or start the job with --fresh"
    ))
    .caused_by(error)
}
