//! What the log holds: the record of an epoch and the snapshot of a shard.
//!
//! The rows that are kept of an arrival are those of its recording. Nearly all of them are a
//! [`Run`]: what follows from its first row is in the head, and the columns with it are left out.

use arrow::array::RecordBatch;
use object_store::PutPayload;
use serde::{Deserialize, Serialize};

use super::container::{Reader, Writer};
use crate::error::{Error, Result};
use crate::intake::journal::Entry;
use crate::intake::recording::run::{Run, shorten};
use crate::operator::Snapshot;
use crate::runtime::shard::ShardSnapshot;
use crate::sink::Epoch;

const RECORD: [u8; 8] = *b"MSRECORD";
const SNAPSHOT: [u8; 8] = *b"MSSNAPSH";
const PUBLISHED: [u8; 8] = *b"MSPUBLSH";
const RECORD_VERSION: u32 = 5;
const SNAPSHOT_VERSION: u32 = 6;
const PUBLISHED_VERSION: u32 = 1;

/// Who began with a record: no two starts are equal in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// When it began, in nanoseconds.
    pub at: i64,
    /// The number of its process.
    pub process: u32,
    /// The last epoch that was committed before it. Those between were never committed: nobody can
    /// commit one of them any more, and nothing of them counts.
    pub follows: Epoch,
}

/// An epoch: what arrived, and what left for the sinks.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Which epoch.
    pub epoch: Epoch,
    /// The arrivals, in order.
    pub journal: Vec<Entry>,
    /// The arrivals of tables that are recorded or cannot be asked again, as rows of a
    /// recording: by table.
    pub kept: Vec<(usize, Vec<RecordBatch>)>,
    /// The rows for the sinks that publish after the commit: by output. Those that the commit point
    /// carries are not among them.
    pub outputs: Vec<(usize, Vec<RecordBatch>)>,
    /// Per output, the epoch it had published when this record was written.
    pub published: Vec<Epoch>,
    /// Whether all inputs have ended: the job is finished.
    pub finished: bool,
    /// Of the first record of a start: whose it is.
    pub start: Option<Start>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    epoch: Epoch,
    journal: Vec<Entry>,
    /// By table, the runs of each section; whole rows are none.
    kept: Vec<(usize, Vec<Vec<Run>>)>,
    outputs: Vec<usize>,
    published: Vec<Epoch>,
    finished: bool,
    start: Option<Start>,
}

/// Batches of the same columns that follow each other, with their runs.
#[derive(Default)]
struct Section {
    runs: Vec<Run>,
    batches: Vec<RecordBatch>,
}

/// Rows that are kept, cut into sections.
fn sections(batches: &[RecordBatch]) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = vec![];
    for batch in batches {
        let (run, rows) = match shorten(batch)? {
            Some((run, rows)) => (Some(run), rows),
            None => (None, batch.clone()),
        };
        // Whole rows, rows of a run, and such with a record time differ in how many columns
        // they have.
        let columns = |section: &Section| section.batches.first().map(RecordBatch::num_columns);
        if sections.last().and_then(columns) != Some(rows.num_columns()) {
            sections.push(Section::default());
        }
        if let Some(section) = sections.last_mut() {
            section.runs.extend(run);
            section.batches.push(rows);
        }
    }
    Ok(sections)
}

/// The rows of a section as they were.
fn whole(runs: Vec<Run>, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    if runs.is_empty() {
        return Ok(batches);
    }
    if runs.len() != batches.len() {
        return Err(Error::corrupt("a section has not as many tables as runs"));
    }
    let rows = runs.into_iter().zip(&batches);
    rows.map(|(run, rows)| run.lengthen(rows)).collect()
}

impl Record {
    /// The bytes.
    pub(super) fn encode(&self) -> Result<PutPayload> {
        let (mut kept, mut rows) = (vec![], vec![]);
        for (table, batches) in &self.kept {
            let sections = sections(batches)?;
            kept.push((*table, sections.iter().map(|s| s.runs.clone()).collect()));
            rows.extend(sections.into_iter().map(|section| section.batches));
        }
        let head = Head {
            epoch: self.epoch,
            journal: self.journal.clone(),
            kept,
            outputs: self.outputs.iter().map(|(output, _)| *output).collect(),
            published: self.published.clone(),
            finished: self.finished,
            start: self.start,
        };
        let mut writer = Writer::new(RECORD, RECORD_VERSION, &head)?;
        let outputs = self.outputs.iter().map(|(_, batches)| batches);
        for batches in rows.iter().chain(outputs) {
            writer.batches(batches)?;
        }
        Ok(writer.finish())
    }

    /// The record; `Corrupt` where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (head, mut reader) = Reader::open::<Head>(bytes, RECORD, RECORD_VERSION)?;
        let mut kept = vec![];
        for (table, sections) in head.kept {
            let mut rows = vec![];
            for runs in sections {
                rows.extend(whole(runs, reader.batches()?)?);
            }
            kept.push((table, rows));
        }
        let output = |number| Ok((number, reader.batches()?));
        let outputs = head.outputs.into_iter().map(output);
        Ok(Self {
            epoch: head.epoch,
            journal: head.journal,
            kept,
            outputs: outputs.collect::<Result<_>>()?,
            published: head.published,
            finished: head.finished,
            start: head.start,
        })
    }
}

/// The state of a shard after an epoch.
#[derive(Debug, Clone)]
pub struct StoredSnapshot {
    /// After which epoch.
    pub epoch: Epoch,
    /// The state.
    pub shard: ShardSnapshot,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    epoch: Epoch,
    shard: Vec<u8>,
    /// Per step: version, and how many tables.
    steps: Vec<(u32, usize)>,
    /// The same per target, of its tap; `None` where it had none.
    taps: Vec<Option<(u32, usize)>>,
}

impl SnapshotHead {
    pub(super) fn of(snapshot: &StoredSnapshot) -> Self {
        let sizes = |part: &Snapshot| (part.version, part.tables.len());
        let StoredSnapshot { epoch, shard } = snapshot;
        Self {
            epoch: *epoch,
            shard: shard.head.clone(),
            steps: shard.steps.iter().map(sizes).collect(),
            taps: (shard.taps.iter().map(|tap| tap.as_ref().map(sizes))).collect(),
        }
    }

    /// The snapshot that this is the head of.
    pub(super) fn read(self, reader: &mut Reader<'_>) -> Result<StoredSnapshot> {
        let mut part = |(version, count): (u32, usize)| {
            let mut tables = vec![];
            for _ in 0..count {
                tables.extend(reader.batches()?);
            }
            Ok(Snapshot { version, tables })
        };
        let steps = self.steps.into_iter().map(&mut part);
        let steps = steps.collect::<Result<_>>()?;
        let taps = self.taps.into_iter().map(|tap| tap.map(&mut part));
        let taps = taps.map(Option::transpose).collect::<Result<_>>()?;
        Ok(StoredSnapshot {
            epoch: self.epoch,
            shard: ShardSnapshot {
                head: self.shard,
                steps,
                taps,
            },
        })
    }
}

impl StoredSnapshot {
    /// The bytes.
    pub fn encode(&self) -> Result<PutPayload> {
        let head = SnapshotHead::of(self);
        let mut writer = Writer::new(SNAPSHOT, SNAPSHOT_VERSION, &head)?;
        self.write_tables(&mut writer)?;
        Ok(writer.finish())
    }

    pub(super) fn write_tables(&self, writer: &mut Writer) -> Result<()> {
        let parts = (self.shard.steps.iter()).chain(self.shard.taps.iter().flatten());
        let mut tables = parts.flat_map(|part| &part.tables);
        tables.try_for_each(|table| writer.batches(std::slice::from_ref(table)))
    }

    /// The snapshot; `Corrupt` where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (head, mut reader) = Reader::open::<SnapshotHead>(bytes, SNAPSHOT, SNAPSHOT_VERSION)?;
        head.read(&mut reader)
    }
}

/// The bytes that tell what each output had out.
pub fn encode_published(published: &[Epoch]) -> Result<PutPayload> {
    Ok(Writer::new(PUBLISHED, PUBLISHED_VERSION, &published)?.finish())
}

/// What [`encode_published`] told; `Corrupt` where the bytes do not.
pub fn decode_published(bytes: &[u8]) -> Result<Vec<Epoch>> {
    Ok(Reader::open(bytes, PUBLISHED, PUBLISHED_VERSION)?.0)
}
