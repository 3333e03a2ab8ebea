//! Recovery is a short replay: snapshot, journal, and what the sinks lack.

mod again;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use object_store::PutPayload;

use super::backlog::Backlog;
use super::fence::{Begun, last};
use super::patience::{Patience, patiently};
use super::running::Inputs;
use super::shard::Shard;
use super::source_loop::SourceLoop;
use crate::error::{Error, ErrorKind, Result};
use crate::intake::journal::Entry;
use crate::intake::{Arrival, Records, Redriven, recording};
use crate::log::record::{Record, StoredSnapshot};
use crate::log::{Contents, History, Log};
use crate::sink::Epoch;
use crate::source::Position;
use crate::tap::Taps;
use again::Again;

/// A shard as it was after the last commit.
pub(super) struct Recovered {
    pub(super) shard: Shard,
    pub(super) begun: Begun,
    pub(super) finished: bool,
    /// What each output had published when the last record was written; empty: nothing.
    pub(super) published: Vec<Epoch>,
    /// What was committed since the last snapshot.
    pub(super) backlog: Backlog,
}

/// The log of a shard, read at a start with patience.
pub(super) struct Past<'a> {
    pub(super) log: &'a Log,
    pub(super) patience: Patience,
}

impl Past<'_> {
    /// What it holds: nothing beyond the epoch that this start begins after, unless another process
    /// has taken over since; or the job is finished, and a start that knew nothing of its end put a
    /// fence behind it.
    pub(super) async fn contents(&mut self, committed: Epoch) -> Result<Contents> {
        let contents = patiently!(self.patience, self.log.contents()).ok_or_else(stopped)?;
        if contents.last() <= committed {
            return Ok(contents);
        }
        let last = patiently!(self.patience, last(self.log, committed)).ok_or_else(stopped)?;
        match last.finished {
            true => Ok(contents),
            false => Err(self.log.taken_over(contents.last())),
        }
    }

    /// The epochs that count after one, up to the one that this start begins after.
    pub(super) async fn history(
        &mut self,
        contents: &Contents,
        after: Epoch,
        committed: Epoch,
    ) -> Result<History> {
        let log = self.log;
        let found = async || {
            let found = log.history(contents, after, committed).await;
            found.map_err(|error| gone(committed, error))
        };
        patiently!(self.patience, found()).ok_or_else(stopped)
    }

    pub(super) async fn read(&mut self, epoch: Epoch) -> Result<Record> {
        patiently!(self.patience, read(self.log, epoch)).ok_or_else(stopped)
    }

    pub(super) async fn keep(&mut self, epoch: Epoch, snapshot: PutPayload) -> Result<()> {
        let kept = patiently!(
            self.patience,
            self.log.put_snapshot(epoch, snapshot.clone())
        );
        kept.ok_or_else(stopped)
    }

    async fn snapshot(&mut self, epoch: Epoch) -> Result<StoredSnapshot> {
        let Self { log, patience } = self;
        let read = async || {
            log.snapshot(epoch)
                .await
                .map_err(|error| gone(epoch, error))
        };
        patiently!(patience, read()).ok_or_else(stopped)
    }
}

/// Reads a record that the log was found to hold.
pub(super) async fn read(log: &Log, epoch: Epoch) -> Result<Record> {
    log.read(epoch).await.map_err(|error| gone(epoch, error))
}

/// What was found in the log and is not there any more was cut by another process.
fn gone(epoch: Epoch, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::corrupt(format!(
        "epoch {epoch} was in the log and is gone: another process has taken over this job and cut \
         it; this one ends and has changed nothing"
    ))
    .caused_by(error)
}

/// What a step of a start ends with where it gave up; the job then ends as stopped.
pub(super) fn stopped() -> Error {
    Error::unavailable("the job was stopped while it recovered")
}

/// Brings a shard to where it was after the last committed epoch, and the taps with it. The sources
/// of the tables whose arrivals the log does not hold are asked again and must still have them.
pub(super) async fn recover(
    past: &mut Past<'_>,
    begun: Begun,
    mut shard: Shard,
    inputs: &mut Inputs,
) -> Result<Recovered> {
    let committed = begun.epoch;
    let Inputs {
        sources,
        kept,
        taps,
        ..
    } = inputs;
    let contents = past.contents(committed).await?;
    let (mut from, mut finished, mut published) = (Epoch(0), false, vec![]);
    if let Some(epoch) = contents.snapshots.last() {
        let mut snapshot = past.snapshot(*epoch).await?;
        taps.restore(*epoch, std::mem::take(&mut snapshot.shard.taps))?;
        shard.restore(snapshot.shard)?;
        from = *epoch;
        if contents.records.contains(epoch) {
            let record = past.read(*epoch).await?;
            (finished, published) = (record.finished, record.published);
        }
    }
    let history = past.history(&contents, from, committed).await?;
    check_complete(&history, from)?;
    set_positions(sources, &shard);
    let mut later = Later::new(sources.len());
    for epoch in history.epochs {
        let record = past.read(epoch).await?;
        (finished, published) = (record.finished, record.published.clone());
        later.add(record);
    }
    let ends = later.ends.into_iter();
    let mut readers: Vec<_> = sources
        .iter_mut()
        .zip(ends)
        .map(|(source, ends)| Again::new(source, ends))
        .collect();
    for (epoch, record) in later.records {
        let record = match record {
            Some(record) => record,
            None => past.read(epoch).await?,
        };
        repeat(&mut shard, &record, &mut readers, kept, taps).await?;
    }
    let at_end = patiently!(past.patience, past.log.published()).ok_or_else(stopped)?;
    note_end(&mut published, &at_end, committed);
    for source in &mut *sources {
        source.source.rereading(false);
    }
    set_positions(sources, &shard);
    Ok(Recovered {
        shard,
        begun,
        finished,
        published,
        backlog: later.backlog,
    })
}

/// The records after the snapshot, before they are repeated.
struct Later {
    /// A record that holds rows is read again in its turn: only journals are kept in memory.
    records: Vec<(Epoch, Option<Record>)>,
    /// By table: where the journals end.
    ends: Vec<Position>,
    backlog: Backlog,
}

impl Later {
    fn new(tables: usize) -> Self {
        Self {
            records: vec![],
            ends: vec![Position::new(); tables],
            backlog: Backlog::NONE,
        }
    }

    fn add(&mut self, record: Record) {
        self.backlog = self.backlog.and(&record);
        for entry in &record.journal {
            if let Entry::Records {
                table,
                split,
                next_offset,
                ..
            } = entry
                && let Some(ends) = self.ends.get_mut(*table)
            {
                ends.insert(split.clone(), *next_offset);
            }
        }
        let (epoch, holds_rows) = (record.epoch, !record.kept.is_empty());
        let journal = (!holds_rows).then_some(Record {
            outputs: vec![],
            ..record
        });
        self.records.push((epoch, journal));
    }
}

/// Adds what the outputs had published when the job last ended in order. No more than is
/// committed counts.
fn note_end(published: &mut Vec<Epoch>, at_end: &[Epoch], committed: Epoch) {
    published.resize(published.len().max(at_end.len()), Epoch(0));
    for (published, at_end) in published.iter_mut().zip(at_end) {
        *published = (*published).max((*at_end).min(committed));
    }
}

/// Tells each source where to go on when it is opened.
fn set_positions(sources: &mut [SourceLoop], shard: &Shard) {
    for (source, position) in sources.iter_mut().zip(shard.intake().positions()) {
        source.position = position;
    }
}

/// The history must go back to the snapshot.
fn check_complete(history: &History, from: Epoch) -> Result<()> {
    let (missing, first) = (history.follows, history.epochs.first());
    match (missing.cmp(&from), first) {
        (Ordering::Equal, _) => Ok(()),
        (Ordering::Greater, Some(first)) => Err(Error::corrupt(format!(
            "the record of epoch {missing} is missing from the log, which goes on at epoch {first}: \
             restore it, or start the job with --fresh"
        ))),
        (Ordering::Greater, None) => Err(Error::corrupt(format!(
            "epoch {missing} is committed, but the log ends before it: restore its newest records, \
             or start the job with --fresh"
        ))),
        (Ordering::Less, _) => Err(Error::corrupt(format!(
            "the snapshot of epoch {from} is of none that is committed: the log has objects of \
             another one; restore it, or start the job with --fresh"
        ))),
    }
}

/// Runs an epoch again; its output is for the taps alone.
async fn repeat(
    shard: &mut Shard,
    record: &Record,
    sources: &mut [Again<'_>],
    kept: &[bool],
    taps: &Taps,
) -> Result<()> {
    let mut held: BTreeMap<usize, VecDeque<Records>> = BTreeMap::new();
    for (table, batches) in &record.kept {
        let queue = held.entry(*table).or_default();
        for batch in batches {
            let arrivals = recording::decode(batch, *table)?.into_iter();
            queue.extend(arrivals.filter_map(|arrival| match arrival {
                Arrival::Records(records) => Some(records),
                _ => None,
            }));
        }
    }
    for entry in &record.journal {
        match entry {
            Entry::Records {
                table,
                rows,
                rejected,
                split,
                next_offset,
                ..
            } => {
                let wanted = *rows as usize + *rejected as usize;
                if kept[*table] {
                    for records in take(held.get_mut(table), wanted)? {
                        shard.arrive(Arrival::Records(records))?;
                    }
                } else {
                    let polled = sources[*table].read(split, *next_offset, wanted).await?;
                    shard.arrive(entry.clone().repeat(Some(polled))?)?;
                }
            }
            Entry::Redriven { table, before, .. } => {
                let pieces = take(held.get_mut(table), before.len())?;
                let redriven = Redriven::repeat(&pieces, before.clone())?;
                shard.arrive(Arrival::Redriven(redriven))?;
            }
            other => {
                shard.arrive(other.clone().repeat(None)?)?;
            }
        }
        let emitted = shard.take_emitted();
        for (target, batches) in emitted.targets.into_iter().enumerate() {
            let Some(tap) = taps.of(target) else { continue };
            for leaving in batches {
                tap.rows(record.epoch, &leaving.rows);
            }
        }
    }
    Ok(())
}

/// The next kept arrivals that make up `wanted` records.
fn take(queue: Option<&mut VecDeque<Records>>, wanted: usize) -> Result<Vec<Records>> {
    let missing = || Error::corrupt("the log lacks input that its journal names");
    let queue = queue.ok_or_else(missing)?;
    let (mut taken, mut count) = (vec![], 0);
    while count < wanted {
        let records = queue.pop_front().ok_or_else(missing)?;
        count += records.count();
        taken.push(records);
    }
    if count == wanted {
        Ok(taken)
    } else {
        Err(missing())
    }
}
