//! What a log holds, object by object, and whether a start could go on from it. Nothing is changed,
//! and a job may run meanwhile: an object that is cut away while others are read is left out.

mod plan;

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use serde::Serialize;

use super::{Log, Record, StoredSnapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::intake::Arrival;
use crate::intake::journal::Entry;
use crate::intake::recording;
use crate::runtime::shard;
use crate::sink::Epoch;
use crate::source::Position;
pub use plan::Plan;

/// A log as it was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Inspection {
    /// What the log is bound to, if it says so.
    pub plan: Option<Plan>,
    /// The records that can be read, by epoch.
    pub records: Vec<RecordView>,
    /// The snapshots that can be read, by epoch.
    pub snapshots: Vec<SnapshotView>,
    /// Epochs that a start began with, to keep those before it out.
    pub fences: Vec<Epoch>,
    /// What each output had out when the job last ended in order.
    pub published_at_end: BTreeMap<String, Epoch>,
    /// Objects that are none of a log of this build.
    pub others: Vec<String>,
    /// The epoch from whose snapshot a start would go on; 0 stands for the beginning.
    pub recovers_from: Epoch,
    /// The last epoch there is anything of.
    pub last: Epoch,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// A record, without its rows.
#[derive(Debug, Clone, Serialize)]
pub struct RecordView {
    /// Which epoch.
    pub epoch: Epoch,
    /// How large it is.
    pub bytes: u64,
    /// When its first arrival was, in nanoseconds.
    pub first_arrival: Option<i64>,
    /// When its last entry began, in nanoseconds.
    pub last_entry: Option<i64>,
    /// How many entries of the journal there are of each kind.
    pub entries: BTreeMap<&'static str, usize>,
    /// By table: rows and rejected records that arrived.
    pub arrived: BTreeMap<String, (u64, u64)>,
    /// By table: dead rows that were given back.
    pub redriven: BTreeMap<String, usize>,
    /// By table: arrivals that are kept in the log, as rows of a recording.
    pub kept: BTreeMap<String, usize>,
    /// By output: rows that wait in the log to be published.
    pub outputs: BTreeMap<String, usize>,
    /// By table: the offset that follows what was read of each split in this epoch.
    pub positions: BTreeMap<String, Position>,
    /// By output: the epoch that was out when the record was written.
    pub published: BTreeMap<String, Epoch>,
    /// Whether a start began with it: such an epoch has no rows.
    pub is_fence: bool,
    /// Of a fence: the last epoch that was committed before it.
    pub follows: Option<Epoch>,
    /// Whether a later fence says that it was never committed: then it does not count.
    pub abandoned: bool,
    /// Whether all inputs had ended.
    pub finished: bool,
}

/// A snapshot, without its state.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotView {
    /// After which epoch.
    pub epoch: Epoch,
    /// How large it is.
    pub bytes: u64,
    /// How many steps it has a state of.
    pub steps: usize,
    /// How many rows the tables of these states have.
    pub state_rows: usize,
    /// By table: the offset that follows what was read of each split.
    pub positions: BTreeMap<String, Position>,
}

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The object, or where one should be.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// Whether a start would refuse because of it.
    pub stops_recovery: bool,
}

const RESTORE: &str = "restore it from a copy, or start the job with --fresh, which gives up its \
                       state";
const UNNEEDED: &str = "nothing: it is not needed any more, and goes when the log is cut next";

/// What is left to read.
struct Objects {
    records: Vec<(Epoch, ObjectMeta)>,
    snapshots: Vec<(Epoch, ObjectMeta)>,
}

/// What there is of an epoch, readable or not.
struct Found<T> {
    epoch: Epoch,
    path: String,
    content: std::result::Result<T, String>,
}

impl Log {
    /// Reads everything that the log holds.
    pub async fn inspect(&self) -> Result<Inspection> {
        let mut found = Inspection::default();
        let plan = self.plan().await?;
        let plan = plan.as_deref().map(Plan::read);
        let objects = self.objects(&mut found).await?;
        let names = plan.clone().unwrap_or_default();
        let mut records = vec![];
        for (epoch, object) in objects.records {
            let decode = |bytes: &[u8]| Record::decode(bytes);
            let Some((read, bytes)) = self.look(epoch, &object, decode).await? else {
                continue;
            };
            if let Ok(record) = &read.content {
                found.records.push(RecordView::of(record, bytes, &names));
            }
            records.push(Found {
                content: read.content.and_then(|record| sound(&record, epoch)),
                epoch,
                path: read.path,
            });
        }
        found.tell_abandoned();
        let mut snapshots = vec![];
        for (epoch, object) in objects.snapshots {
            let decode = |bytes: &[u8]| SnapshotView::read(bytes, &names);
            let Some((mut read, _)) = self.look(epoch, &object, decode).await? else {
                continue;
            };
            if let Ok(view) = &read.content {
                found.snapshots.push(view.clone());
                if plan.as_ref().is_some_and(|plan| plan.steps != view.steps) {
                    read.content = Err("it is of a plan with another number of steps".to_owned());
                }
            }
            snapshots.push(read);
        }
        match self.published().await {
            Ok(published) => found.published_at_end = names.by_output(&published),
            Err(error) => found.faults.push(Fault {
                object: "published".to_owned(),
                problem: error.chain(),
                remedy: "remove it: the next start asks the outputs alone".to_owned(),
                stops_recovery: true,
            }),
        }
        if plan.is_none() && !(records.is_empty() && snapshots.is_empty()) {
            found.faults.push(Fault {
                object: "plan.txt".to_owned(),
                problem: "it is missing: nothing says which job the log is of".to_owned(),
                remedy: "restore it from a copy".to_owned(),
                stops_recovery: false,
            });
        }
        found.plan = plan;
        found.judge(&records, &snapshots);
        Ok(found)
    }

    async fn objects(&self, found: &mut Inspection) -> Result<Objects> {
        let folder = self.folder();
        let listed: Vec<_> = self.store.list(Some(&folder)).try_collect().await?;
        let mut objects = Objects {
            records: vec![],
            snapshots: vec![],
        };
        for object in listed {
            let name = object.location.filename().unwrap_or_default().to_owned();
            let parts = name
                .strip_prefix("epoch-")
                .and_then(|name| name.split_once('.'));
            match parts.map(|(epoch, kind)| (epoch.parse().map(Epoch), kind)) {
                Some((Ok(epoch), "record")) => objects.records.push((epoch, object)),
                Some((Ok(epoch), "snapshot")) => objects.snapshots.push((epoch, object)),
                Some((Ok(epoch), "fence")) => found.fences.push(epoch),
                _ if name == "published" => {}
                _ => found.others.push(object.location.to_string()),
            }
        }
        found.fences.sort_unstable();
        objects.records.sort_by_key(|(epoch, _)| *epoch);
        objects.snapshots.sort_by_key(|(epoch, _)| *epoch);
        Ok(objects)
    }

    /// Reads one object; `None` where it has been cut away meanwhile.
    async fn look<T>(
        &self,
        epoch: Epoch,
        object: &ObjectMeta,
        decode: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Option<(Found<T>, u64)>> {
        let bytes = match self.get(&object.location).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = Found {
            epoch,
            path: object.location.to_string(),
            content: decode(&bytes).map_err(|error| error.chain()),
        };
        Ok(Some((found, bytes.len() as u64)))
    }
}

impl Inspection {
    /// Whether a start could go on from here, and everything is as it should be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Goes back from the last record, fence by fence.
    fn tell_abandoned(&mut self) {
        let mut next = Epoch(u64::MAX);
        for record in self.records.iter_mut().rev() {
            record.abandoned = record.epoch > next;
            if !record.abandoned {
                let before = Epoch(record.epoch.0.saturating_sub(1));
                next = record.follows.unwrap_or(before);
            }
        }
    }

    /// Whether an epoch is one that a fence leaves out.
    fn is_abandoned(&self, epoch: Epoch) -> bool {
        let counted = self.records.iter().filter(|record| !record.abandoned);
        let mut fences = counted.filter_map(|record| Some((record.follows?, record.epoch)));
        fences.any(|(follows, fence)| follows < epoch && epoch < fence)
    }

    /// Tells what is wrong, and whether it stops a start: that takes up the newest snapshot and
    /// repeats every record after it.
    fn judge(&mut self, records: &[Found<()>], snapshots: &[Found<SnapshotView>]) {
        let epochs = |found: &[Found<()>]| found.last().map(|found| found.epoch);
        let newest = snapshots.last();
        self.recovers_from = newest.map_or(Epoch(0), |snapshot| snapshot.epoch);
        self.last = epochs(records).unwrap_or_default().max(self.recovers_from);
        for snapshot in snapshots {
            if let Err(problem) = &snapshot.content {
                let is_newest = snapshot.epoch == self.recovers_from;
                self.faults.push(Fault {
                    object: snapshot.path.clone(),
                    problem: problem.clone(),
                    remedy: match is_newest {
                        true => without(snapshot.epoch, records, snapshots, self.last),
                        false => UNNEEDED.to_owned(),
                    },
                    stops_recovery: is_newest,
                });
            }
        }
        for record in records {
            if let Err(problem) = &record.content {
                let needed = record.epoch >= self.recovers_from && !self.is_abandoned(record.epoch);
                self.faults.push(Fault {
                    object: record.path.clone(),
                    problem: problem.clone(),
                    remedy: if needed { RESTORE } else { UNNEEDED }.to_owned(),
                    stops_recovery: needed,
                });
            }
        }
        let is_there = |epoch: &Epoch| records.iter().any(|record| record.epoch == *epoch);
        let needed = (self.recovers_from.0 + 1..=self.last.0).map(Epoch);
        let needed: Vec<Epoch> = needed.filter(|epoch| !self.is_abandoned(*epoch)).collect();
        for epoch in needed.into_iter().filter(|epoch| !is_there(epoch)) {
            self.faults.push(Fault {
                object: format!("the record of epoch {epoch}"),
                problem: "it is missing, and the log goes on after it".to_owned(),
                remedy: RESTORE.to_owned(),
                stops_recovery: true,
            });
        }
        if newest.is_some() && !is_there(&self.recovers_from) {
            self.faults.push(Fault {
                object: format!("the record of epoch {}", self.recovers_from),
                problem: "it is missing beside its snapshot: it says what was published, and \
                          whether the job has finished"
                    .to_owned(),
                remedy: "restore it from a copy; without it the outputs are asked alone".to_owned(),
                stops_recovery: false,
            });
        }
        self.check_order();
    }

    /// Arrivals are later from record to record.
    fn check_order(&mut self) {
        let mut last = i64::MIN;
        for record in self.records.iter().filter(|record| !record.abandoned) {
            if record.first_arrival.is_some_and(|first| first < last) {
                self.faults.push(Fault {
                    object: format!("the record of epoch {}", record.epoch),
                    problem: "its arrivals are before those of an earlier epoch: it is of another \
                              run"
                    .to_owned(),
                    remedy: RESTORE.to_owned(),
                    stops_recovery: record.epoch > self.recovers_from,
                });
            }
            last = record.last_entry.unwrap_or(last).max(last);
        }
    }
}

/// What to do where the newest snapshot is damaged: the records may go back to the one before.
fn without(
    damaged: Epoch,
    records: &[Found<()>],
    snapshots: &[Found<SnapshotView>],
    last: Epoch,
) -> String {
    let mut older = snapshots.iter().rev();
    let older = older.find(|other| other.epoch < damaged && other.content.is_ok());
    let from = older.map_or(Epoch(0), |older| older.epoch);
    let sound = |epoch: Epoch| {
        let mut records = records.iter();
        records.any(|record| record.epoch == epoch && record.content.is_ok())
    };
    match (from.0 + 1..=last.0).map(Epoch).all(sound) {
        true => format!(
            "remove it: the records are complete from epoch {}",
            from.next()
        ),
        false => RESTORE.to_owned(),
    }
}

impl RecordView {
    fn of(record: &Record, bytes: u64, plan: &Plan) -> Self {
        let mut view = Self {
            epoch: record.epoch,
            bytes,
            first_arrival: record.journal.first().map(Entry::at),
            last_entry: record.journal.last().map(Entry::at),
            entries: BTreeMap::new(),
            arrived: BTreeMap::new(),
            redriven: BTreeMap::new(),
            kept: BTreeMap::new(),
            outputs: BTreeMap::new(),
            positions: BTreeMap::new(),
            published: plan.by_output(&record.published),
            is_fence: record.start.is_some(),
            follows: record.start.map(|start| start.follows),
            abandoned: false,
            finished: record.finished,
        };
        for entry in &record.journal {
            *view.entries.entry(entry.kind()).or_default() += 1;
            if let Entry::Redriven { table, before, .. } = entry {
                let redriven = view.redriven.entry(plan.table(*table)).or_default();
                *redriven += before.len();
            }
            if let Entry::Records {
                table,
                rows,
                rejected,
                ..
            } = entry
            {
                let arrived = view.arrived.entry(plan.table(*table)).or_default();
                arrived.0 += u64::from(*rows);
                arrived.1 += u64::from(*rejected);
            }
            if let Entry::Records {
                table,
                split,
                next_offset,
                ..
            }
            | Entry::Reached {
                table,
                split,
                next_offset,
                ..
            } = entry
            {
                let positions = view.positions.entry(plan.table(*table)).or_default();
                positions.insert(split.clone(), *next_offset);
            }
        }
        let rows = |batches: &[arrow::array::RecordBatch]| -> usize {
            batches
                .iter()
                .map(arrow::array::RecordBatch::num_rows)
                .sum()
        };
        for (table, batches) in &record.kept {
            view.kept.insert(plan.table(*table), rows(batches));
        }
        for (output, batches) in &record.outputs {
            view.outputs.insert(plan.output(*output), rows(batches));
        }
        view
    }
}

impl SnapshotView {
    fn read(bytes: &[u8], plan: &Plan) -> Result<Self> {
        let snapshot = StoredSnapshot::decode(bytes)?;
        let tables = snapshot.shard.steps.iter().flat_map(|step| &step.tables);
        Ok(Self {
            epoch: snapshot.epoch,
            bytes: bytes.len() as u64,
            steps: snapshot.shard.steps.len(),
            state_rows: tables.map(arrow::array::RecordBatch::num_rows).sum(),
            positions: plan.by_table(shard::positions_in(&snapshot.shard.head)?),
        })
    }
}

/// Whether a record is the one of its epoch, and holds the input that its journal names.
fn sound(record: &Record, epoch: Epoch) -> std::result::Result<(), String> {
    if record.epoch != epoch {
        return Err(format!("it holds the record of epoch {}", record.epoch));
    }
    for (table, batches) in &record.kept {
        // Of a table whose source can be asked again only what was redriven is held.
        let (mut read, mut redriven) = (0, 0);
        for entry in &record.journal {
            match entry {
                Entry::Records {
                    table: of,
                    rows,
                    rejected,
                    ..
                } if of == table => read += u64::from(*rows) + u64::from(*rejected),
                Entry::Redriven {
                    table: of, before, ..
                } if of == table => redriven += before.len() as u64,
                _ => {}
            }
        }
        let mut held = 0;
        for batch in batches {
            let arrivals = recording::decode(batch, *table).map_err(|e: Error| e.chain())?;
            for arrival in arrivals {
                if let Arrival::Records(records) = arrival {
                    held += records.count() as u64;
                }
            }
        }
        if held != read + redriven && held != redriven {
            let named = read + redriven;
            return Err(format!(
                "its journal names {named} records of table number {table}, and it holds {held}"
            ));
        }
    }
    Ok(())
}
