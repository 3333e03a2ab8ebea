//! What a tap is told is what the sinks get, in every life of a job.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow::array::{AsArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::UInt64Type;

use super::*;
use crate::error::Result;
use crate::operator::Snapshot;
use crate::sink::Epoch;
use crate::tap::Tap;

/// Keeps all rows by epoch; its snapshot is all of them.
#[derive(Default)]
struct Keeping {
    rows: Mutex<BTreeMap<Epoch, Vec<RecordBatch>>>,
    committed: Mutex<Vec<Epoch>>,
    restored: Mutex<Option<Epoch>>,
}

impl Keeping {
    fn all(&self) -> BTreeMap<Epoch, RecordBatch> {
        let rows = self.rows.lock().unwrap();
        let whole = |rows: &Vec<RecordBatch>| concat_batches(&schema(), rows).unwrap();
        rows.iter()
            .map(|(epoch, rows)| (*epoch, whole(rows)))
            .collect()
    }
}

impl Tap for Keeping {
    fn rows(&self, epoch: Epoch, rows: &RecordBatch) {
        let committed = self.committed.lock().unwrap();
        assert!(committed.last().is_none_or(|committed| *committed < epoch));
        self.rows
            .lock()
            .unwrap()
            .entry(epoch)
            .or_default()
            .push(rows.clone());
    }

    fn committed(&self, epoch: Epoch) {
        let mut committed = self.committed.lock().unwrap();
        assert!(committed.last().is_none_or(|last| last.next() == epoch));
        committed.push(epoch);
    }

    fn snapshot(&self, epoch: Epoch) -> Result<Snapshot> {
        let mut tables = vec![];
        for (of, rows) in self.all() {
            assert!(of <= epoch);
            let mut fields = schema().fields().to_vec();
            fields.push(Arc::new(Field::new("epoch", DataType::UInt64, false)));
            let mut columns = rows.columns().to_vec();
            columns.push(Arc::new(UInt64Array::from_value(of.0, rows.num_rows())));
            tables.push(RecordBatch::try_new(
                Arc::new(Schema::new(fields)),
                columns,
            )?);
        }
        Ok(Snapshot { version: 7, tables })
    }

    fn restore(&self, epoch: Epoch, snapshot: Snapshot) -> Result<()> {
        snapshot.expect_version(7)?;
        assert!(self.all().is_empty() && self.committed.lock().unwrap().is_empty());
        for table in snapshot.tables {
            let of = table.column(3).as_primitive::<UInt64Type>().value(0);
            let rows = table.project(&[0, 1, 2])?.with_schema(schema())?;
            self.rows.lock().unwrap().insert(Epoch(of), vec![rows]);
        }
        *self.restored.lock().unwrap() = Some(epoch);
        Ok(())
    }

    fn wants_forming(&self) -> bool {
        true
    }

    fn forming(&self, rows: &[RecordBatch]) {
        assert!(rows.is_empty(), "there are no windows");
    }
}

fn tapped(world: &World, source: ScriptedSource, tap: &Arc<Keeping>, snapshot_rows: u64) -> Job {
    let bindings = Bindings {
        taps: Taps::new(vec![Some(Arc::clone(tap) as Arc<dyn Tap>)]),
        ..world.bindings(Box::new(source))
    };
    world.start_by(
        Duration::from_millis(5),
        bindings,
        rows_between(snapshot_rows),
    )
}

/// What the sink holds, but for epochs without rows.
fn published(world: &World) -> BTreeMap<Epoch, RecordBatch> {
    let epochs = world.out.by_epoch().into_iter();
    let rows = epochs.filter(|(_, rows)| !rows.is_empty());
    rows.map(|(epoch, rows)| (epoch, concat_batches(&schema(), &rows).unwrap()))
        .collect()
}

#[test]
fn a_tap_knows_after_any_kill_what_the_sinks_get() {
    for kills in [&[][..], &[25], &[35, 60, 90], &[5, 5, 120]] {
        let (world, source) = (World::new(), source(25));
        let mut restored = false;
        for kill in kills {
            let (runtime, tap) = (runtime(), Arc::new(Keeping::default()));
            runtime.block_on(async {
                let slow = source.clone().pause(Duration::from_millis(1));
                let mut job = tapped(&world, slow, &tap, 700);
                let _ = tokio::time::timeout(Duration::from_millis(*kill), job.wait()).await;
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
            restored |= tap.restored.lock().unwrap().is_some();
        }
        let tap = Arc::new(Keeping::default());
        runtime().block_on(async {
            let mut job = tapped(&world, source.clone(), &tap, 700);
            job.wait().await.unwrap();
            assert_eq!(
                tap.committed.lock().unwrap().last(),
                Some(&job.status().committed)
            );
        });
        assert_eq!(tap.all(), published(&world), "{kills:?}");
        restored |= tap.restored.lock().unwrap().is_some();
        assert!(restored || kills.len() < 3, "no snapshot was taken up");
    }
}

#[test]
fn recovery_tells_the_epochs_above_the_snapshot_and_then_what_is_committed() {
    let (world, source) = (World::new(), source(25));
    run_and_kill(&world, &source);
    let tap = Arc::new(Keeping::default());
    let first = runtime().block_on(async {
        let mut job = tapped(&world, source, &tap, u64::MAX);
        job.wait().await.unwrap();
        tap.committed.lock().unwrap()[0]
    });
    // The life before had no tap and no snapshot: all its epochs are told again.
    assert!(first >= Epoch(5));
    assert_eq!(*tap.restored.lock().unwrap(), None);
    assert_eq!(tap.all(), published(&world));
}

#[test]
fn a_snapshot_keeps_which_taps_there_were() {
    use crate::log::record::StoredSnapshot;
    use crate::runtime::shard::ShardSnapshot;
    let tap = Keeping::default();
    tap.rows(Epoch(1), &rows_of(0, 3));
    let stored = StoredSnapshot {
        epoch: Epoch(1),
        shard: ShardSnapshot {
            head: vec![1, 2],
            steps: vec![Snapshot::empty()],
            taps: vec![None, Some(tap.snapshot(Epoch(1)).unwrap()), None],
        },
    };
    let bytes = bytes::Bytes::from(stored.encode().unwrap());
    let read = StoredSnapshot::decode(&bytes).unwrap().shard;
    assert_eq!((read.head, read.steps.len()), (vec![1, 2], 1));
    let [None, Some(known), None] = read.taps.as_slice() else {
        panic!("{:?}", read.taps);
    };
    let other = Keeping::default();
    other.restore(Epoch(1), known.clone()).unwrap();
    assert_eq!(other.all(), tap.all());
}
