//! What the log holds: the record of an epoch and the snapshot of a shard.

use arrow::array::RecordBatch;
use object_store::PutPayload;
use serde::{Deserialize, Serialize};

use super::container::{Reader, Writer};
use crate::error::Result;
use crate::intake::journal::Entry;
use crate::operator::Snapshot;
use crate::runtime::shard::ShardSnapshot;
use crate::sink::Epoch;

const RECORD: [u8; 8] = *b"MSRECORD";
const SNAPSHOT: [u8; 8] = *b"MSSNAPSH";
const PUBLISHED: [u8; 8] = *b"MSPUBLSH";
const RECORD_VERSION: u32 = 1;
const SNAPSHOT_VERSION: u32 = 4;
const PUBLISHED_VERSION: u32 = 1;

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
    /// The rows for the sinks that publish after the commit: by output.
    pub outputs: Vec<(usize, Vec<RecordBatch>)>,
    /// Per output, the epoch it had published when this record was written.
    pub published: Vec<Epoch>,
    /// Whether all inputs have ended: the job is finished.
    pub finished: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    epoch: Epoch,
    journal: Vec<Entry>,
    kept: Vec<usize>,
    outputs: Vec<usize>,
    published: Vec<Epoch>,
    finished: bool,
}

impl Record {
    /// The bytes.
    pub fn encode(&self) -> Result<PutPayload> {
        let head = Head {
            epoch: self.epoch,
            journal: self.journal.clone(),
            kept: self.kept.iter().map(|(table, _)| *table).collect(),
            outputs: self.outputs.iter().map(|(output, _)| *output).collect(),
            published: self.published.clone(),
            finished: self.finished,
        };
        let mut writer = Writer::new(RECORD, RECORD_VERSION, &head)?;
        for (_, batches) in self.kept.iter().chain(&self.outputs) {
            writer.batches(batches)?;
        }
        Ok(writer.finish())
    }

    /// The record; `Corrupt` where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (head, mut reader) = Reader::open::<Head>(bytes, RECORD, RECORD_VERSION)?;
        let mut sections = |numbers: Vec<usize>| {
            let section = |number| Ok((number, reader.batches()?));
            numbers.into_iter().map(section).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            epoch: head.epoch,
            journal: head.journal,
            kept: sections(head.kept)?,
            outputs: sections(head.outputs)?,
            published: head.published,
            finished: head.finished,
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
struct SnapshotHead {
    epoch: Epoch,
    shard: Vec<u8>,
    /// Per step: version, and how many tables.
    steps: Vec<(u32, usize)>,
    /// The same per target, of its tap; `None` where it had none.
    taps: Vec<Option<(u32, usize)>>,
}

impl StoredSnapshot {
    /// The bytes.
    pub fn encode(&self) -> Result<PutPayload> {
        let sizes = |part: &Snapshot| (part.version, part.tables.len());
        let head = SnapshotHead {
            epoch: self.epoch,
            shard: self.shard.head.clone(),
            steps: self.shard.steps.iter().map(sizes).collect(),
            taps: (self.shard.taps.iter().map(|tap| tap.as_ref().map(sizes))).collect(),
        };
        let mut writer = Writer::new(SNAPSHOT, SNAPSHOT_VERSION, &head)?;
        let parts = (self.shard.steps.iter()).chain(self.shard.taps.iter().flatten());
        for table in parts.flat_map(|part| &part.tables) {
            writer.batches(std::slice::from_ref(table))?;
        }
        Ok(writer.finish())
    }

    /// The snapshot; `Corrupt` where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (head, mut reader) = Reader::open::<SnapshotHead>(bytes, SNAPSHOT, SNAPSHOT_VERSION)?;
        let mut part = |(version, count): (u32, usize)| {
            let mut tables = vec![];
            for _ in 0..count {
                tables.extend(reader.batches()?);
            }
            Ok(Snapshot { version, tables })
        };
        let steps = head.steps.into_iter().map(&mut part);
        let steps = steps.collect::<Result<_>>()?;
        let taps = head.taps.into_iter().map(|tap| tap.map(&mut part));
        let taps = taps.map(Option::transpose).collect::<Result<_>>()?;
        Ok(Self {
            epoch: head.epoch,
            shard: ShardSnapshot {
                head: head.shard,
                steps,
                taps,
            },
        })
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
