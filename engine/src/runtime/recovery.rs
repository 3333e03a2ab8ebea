//! Recovery is a short replay: snapshot, journal, and what the sinks lack.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::backlog::Backlog;
use super::patience::{Patience, patiently};
use super::shard::Shard;
use super::source_loop::SourceLoop;
use crate::error::{Error, Result};
use crate::intake::journal::Entry;
use crate::intake::{Arrival, Records, recording};
use crate::log::record::{Record, StoredSnapshot};
use crate::log::{Contents, Log};
use crate::sink::Epoch;
use crate::source::{Polled, Split};

/// A shard as it was after the last commit.
pub(super) struct Recovered {
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
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
    pub(super) async fn contents(&mut self) -> Result<Contents> {
        patiently!(self.patience, self.log.contents()).ok_or_else(stopped)
    }

    pub(super) async fn read(&mut self, epoch: Epoch) -> Result<Record> {
        patiently!(self.patience, self.log.read(epoch)).ok_or_else(stopped)
    }

    async fn snapshot(&mut self, epoch: Epoch) -> Result<StoredSnapshot> {
        patiently!(self.patience, self.log.snapshot(epoch)).ok_or_else(stopped)
    }
}

/// What a step of a start ends with where it gave up; the job then ends as stopped.
pub(super) fn stopped() -> Error {
    Error::unavailable("the job was stopped while it recovered")
}

/// Brings a shard to where it was after the last committed epoch. `kept` tells the tables whose
/// arrivals the log holds; the sources of the others are asked again and must still have them.
pub(super) async fn recover(
    past: &mut Past<'_>,
    committed: Epoch,
    mut shard: Shard,
    sources: &mut [SourceLoop],
    kept: &[bool],
) -> Result<Recovered> {
    let contents = past.contents().await?;
    let (mut from, mut finished, mut published) = (Epoch(0), false, vec![]);
    if let Some(epoch) = contents.snapshots.last() {
        let snapshot = past.snapshot(*epoch).await?;
        shard.restore(snapshot.shard)?;
        from = *epoch;
        if contents.records.contains(epoch) {
            let record = past.read(*epoch).await?;
            (finished, published) = (record.finished, record.published);
        }
    }
    check_complete(&contents, from, committed)?;
    set_positions(sources, &shard);
    let mut readers: Vec<_> = sources.iter_mut().map(Again::new).collect();
    let mut backlog = Backlog::NONE;
    for epoch in contents.records.iter().filter(|epoch| **epoch > from) {
        let record = past.read(*epoch).await?;
        repeat(&mut shard, &record, &mut readers, kept).await?;
        backlog = backlog.and(&record);
        (finished, published) = (record.finished, record.published);
    }
    for source in &mut *sources {
        source.source.rereading(false);
    }
    set_positions(sources, &shard);
    Ok(Recovered {
        shard,
        epoch: committed,
        finished,
        published,
        backlog,
    })
}

/// Tells each source where to go on when it is opened.
fn set_positions(sources: &mut [SourceLoop], shard: &Shard) {
    for (source, position) in sources.iter_mut().zip(shard.intake().positions()) {
        source.position = position;
    }
}

fn check_complete(contents: &Contents, from: Epoch, committed: Epoch) -> Result<()> {
    let records = contents.records.iter().filter(|epoch| **epoch > from);
    let mut expected = from.next();
    for epoch in records {
        if *epoch != expected {
            return Err(Error::corrupt(format!(
                "the record of epoch {expected} is missing from the log, which goes on at epoch \
                 {epoch}: restore it, or start the job with --fresh"
            )));
        }
        expected = expected.next();
    }
    if expected != committed.next() {
        return Err(Error::corrupt(format!(
            "epoch {committed} is committed, but the log ends before epoch {expected}: restore its \
             newest records, or start the job with --fresh"
        )));
    }
    Ok(())
}

/// Runs an epoch again; its output is dropped.
async fn repeat(
    shard: &mut Shard,
    record: &Record,
    sources: &mut [Again<'_>],
    kept: &[bool],
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
            other => {
                shard.arrive(other.clone().repeat(None)?)?;
            }
        }
        shard.take_emitted();
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

/// A source that is asked again, split by split.
struct Again<'a> {
    source: &'a mut SourceLoop,
    opened: bool,
    /// What was handed over of splits that were not wanted yet.
    waiting: BTreeMap<Split, VecDeque<Polled>>,
}

impl<'a> Again<'a> {
    fn new(source: &'a mut SourceLoop) -> Self {
        Self {
            source,
            opened: false,
            waiting: BTreeMap::new(),
        }
    }

    /// The records of a split from where it was left up to `to`, `wanted` of them.
    async fn read(&mut self, split: &Split, to: i64, wanted: usize) -> Result<Polled> {
        if !self.opened {
            self.source.source.rereading(true);
            self.source.open().await?.ok_or_else(stopped)?;
            self.opened = true;
        }
        let mut parts: Vec<Polled> = vec![];
        let mut count = 0;
        while count < wanted {
            let next = self.waiting.get_mut(split).and_then(VecDeque::pop_front);
            let Some(polled) = next else {
                self.poll(split).await?;
                continue;
            };
            let (before, after) = cut(polled, to);
            count += before.rows.num_rows() + before.rejected.len();
            parts.push(before);
            if let Some(after) = after {
                self.waiting
                    .entry(split.clone())
                    .or_default()
                    .push_front(after);
                break;
            }
        }
        join(split, &parts, to)
    }

    async fn poll(&mut self, split: &Split) -> Result<()> {
        let SourceLoop {
            source, patience, ..
        } = &mut *self.source;
        let polled = patiently!(patience, source.next()).ok_or_else(stopped)?;
        let polled = polled.ok_or_else(|| {
            Error::corrupt(format!(
                "the input ends before what the log says was read of split {split}"
            ))
        })?;
        let queue = self.waiting.entry(polled.split.clone()).or_default();
        queue.push_back(polled);
        Ok(())
    }
}

/// Cuts a poll in front of an offset; the second part is there if something follows.
fn cut(polled: Polled, at: i64) -> (Polled, Option<Polled>) {
    if polled.next_offset <= at {
        return (polled, None);
    }
    let row = polled.offsets.partition_point(|offset| *offset < at);
    let rejected = polled
        .rejected
        .partition_point(|rejected| rejected.offset < at);
    let rows = polled.rows.num_rows();
    let part = |from: usize, to: usize, rejected: &[_], next_offset| Polled {
        split: polled.split.clone(),
        rows: polled.rows.slice(from, to - from),
        offsets: polled.offsets.slice(from, to - from),
        record_times: polled
            .record_times
            .as_ref()
            .map(|times| times.slice(from, to - from)),
        rejected: rejected.to_vec(),
        next_offset,
    };
    let (before, after) = polled.rejected.split_at(rejected);
    (
        part(0, row, before, at),
        Some(part(row, rows, after, polled.next_offset)),
    )
}

/// One poll of several, in order.
fn join(split: &Split, parts: &[Polled], next_offset: i64) -> Result<Polled> {
    let first = parts.first();
    let schema = first.map(|polled| polled.rows.schema());
    let schema = schema.ok_or_else(|| Error::corrupt("an entry of the journal is empty"))?;
    let rows: Vec<&RecordBatch> = parts.iter().map(|polled| &polled.rows).collect();
    let all_timed = parts.iter().all(|polled| polled.record_times.is_some());
    let times = || {
        parts
            .iter()
            .flat_map(|p| p.record_times.iter().flatten().copied())
    };
    let offsets = parts
        .iter()
        .flat_map(|polled| polled.offsets.iter().copied());
    Ok(Polled {
        split: split.clone(),
        rows: concat_batches(&schema, rows)?,
        offsets: offsets.collect(),
        record_times: all_timed.then(|| times().collect()),
        rejected: parts
            .iter()
            .flat_map(|polled| polled.rejected.clone())
            .collect(),
        next_offset,
    })
}
