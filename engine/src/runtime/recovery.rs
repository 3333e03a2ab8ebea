//! Recovery is a short replay: snapshot, journal, and what the sinks lack.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::shard::Shard;
use super::source_loop::{Backoff, SourceLoop};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::intake::journal::Entry;
use crate::intake::{Arrival, Records, recording};
use crate::log::record::Record;
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
    /// Rows that arrived since the last snapshot.
    pub(super) rows_since_snapshot: u64,
}

/// Brings a shard to where the log says it was. `kept` tells the tables whose arrivals the log
/// holds; the sources of the others are asked again and must still have them.
pub(super) async fn recover(
    log: &Log,
    graph: &Arc<Graph>,
    digests: bool,
    sources: &mut [SourceLoop],
    kept: &[bool],
) -> Result<Recovered> {
    let contents = log.contents().await?;
    let shard = Shard::new(Arc::clone(graph), digests)?;
    let mut recovered = Recovered {
        shard,
        epoch: Epoch(0),
        finished: false,
        published: vec![],
        rows_since_snapshot: 0,
    };
    if let Some(epoch) = contents.snapshots.last() {
        let snapshot = log.snapshot(*epoch).await?;
        recovered.shard.restore(snapshot.shard)?;
        recovered.epoch = *epoch;
        if contents.records.contains(epoch) {
            let record = log.read(*epoch).await?;
            recovered.finished = record.finished;
            recovered.published = record.published;
        }
    }
    check_complete(&contents, recovered.epoch)?;
    set_positions(sources, &recovered.shard);
    let mut readers: Vec<_> = sources.iter_mut().map(Again::new).collect();
    for epoch in contents
        .records
        .iter()
        .filter(|epoch| **epoch > recovered.epoch)
    {
        let record = log.read(*epoch).await?;
        recovered.rows_since_snapshot +=
            repeat(&mut recovered.shard, &record, &mut readers, kept).await?;
        recovered.finished = record.finished;
        recovered.published = record.published;
    }
    recovered.epoch = contents
        .records
        .last()
        .copied()
        .unwrap_or_default()
        .max(recovered.epoch);
    set_positions(sources, &recovered.shard);
    Ok(recovered)
}

/// Tells each source where to go on when it is opened.
fn set_positions(sources: &mut [SourceLoop], shard: &Shard) {
    for (source, position) in sources.iter_mut().zip(shard.intake().positions()) {
        source.position = position;
    }
}

fn check_complete(contents: &Contents, from: Epoch) -> Result<()> {
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
    Ok(())
}

/// Runs an epoch again; its output is dropped. Says how many records arrived.
async fn repeat(
    shard: &mut Shard,
    record: &Record,
    sources: &mut [Again<'_>],
    kept: &[bool],
) -> Result<u64> {
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
    let mut count = 0;
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
                count += wanted as u64;
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
    Ok(count)
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
            self.source.open().await?;
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
        let mut backoff = Backoff::default();
        loop {
            match self.source.source.next().await {
                Ok(Some(polled)) => {
                    self.waiting
                        .entry(polled.split.clone())
                        .or_default()
                        .push_back(polled);
                    return Ok(());
                }
                Ok(None) => {
                    return Err(Error::corrupt(format!(
                        "the input ends before what the log says was read of split {split}"
                    )));
                }
                Err(error) => self.source.be_patient(error, &mut backoff).await?,
            }
        }
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
