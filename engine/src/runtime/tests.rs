mod commits;
mod faults;
mod figures;
mod redrive;
mod savepoints;
pub(super) mod simulation;
mod starts;
mod taps;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::status::State;
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::expression::{Column, Expression};
use crate::graph::{EventTime, Graph, Input, Port, Target, Timing};
use crate::intake::recording::{self, Reader};
use crate::log::Log;
use crate::operator::order::Order;
use crate::operator::project::Project;
use crate::sink::Sink;
use crate::source::Source;
use crate::stream::{ARRIVED_AT, StreamSpec};
use crate::tap::Taps;
use crate::testing::{Collected, ScriptedSource};
use crate::time::TIMESTAMP;

const SPLITS: usize = 3;
const ROWS: usize = 3_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("ts", TIMESTAMP, true),
        Field::new("price", DataType::Float64, true),
    ]))
}

fn stream(name: &str) -> StreamSpec {
    StreamSpec {
        name: name.into(),
        connector: "memory".into(),
        options: std::collections::BTreeMap::new(),
        schema: schema(),
        metadata: vec![],
        key: vec!["symbol".into()],
    }
}

fn columns(schema: &Schema, names: &[&str]) -> Vec<Arc<dyn Expression>> {
    let column = |name: &&str| {
        let index = schema.index_of(name).unwrap();
        let (name, data_type) = (name.to_string(), schema.field(index).data_type().clone());
        Arc::new(Column {
            index,
            name,
            data_type,
        }) as Arc<dyn Expression>
    };
    names.iter().map(column).collect()
}

/// trades → order → project → out. With `NOT NULL` prices, rows without one are rejected.
fn graph() -> Arc<Graph> {
    graph_of(&["out"])
}

fn graph_of(targets: &[&str]) -> Arc<Graph> {
    let mut graph = Graph::default();
    let names = ["symbol", "ts", "price"];
    let input = graph.add_input(Input {
        stream: StreamSpec {
            key: vec![],
            ..stream("trades")
        },
        schema: schema(),
        columns: columns(&schema(), &names),
        event_time: Some(EventTime {
            column: 1,
            delay: Duration::from_millis(2),
        }),
        timing: Timing {
            idle_timeout: Some(Duration::from_millis(40)),
            ..Timing::default()
        },
        archive: None,
    });
    let batch = graph.schema(input);
    let order = Order {
        schema: Arc::clone(&batch),
        time: 1,
        split: 4,
        late: 5,
        by_split: false,
    };
    let order = graph.add(Arc::new(order), vec![input]);
    let out = ["symbol", "ts", "price", ARRIVED_AT];
    let field = |name: &&str| batch.field_with_name(name).unwrap().clone();
    let fields = out
        .iter()
        .map(|name| field(name).with_nullable(*name != "price"));
    let fields: Vec<Field> = fields.collect();
    let project = Project {
        schema: Arc::new(Schema::new(fields)),
        columns: columns(&batch, &out),
    };
    let from = graph.add(Arc::new(project), vec![order]);
    let targets = targets.iter().map(|name| Target::new(stream(name), from));
    graph.targets.extend(targets);
    assert_eq!(from, Port::Node(1));
    Arc::new(graph)
}

/// Rows of a split: event times go back and forth by some milliseconds, so some are late.
fn rows(split: usize) -> RecordBatch {
    rows_of(split, ROWS as i64)
}

fn rows_of(split: usize, count: i64) -> RecordBatch {
    let symbols = ["AAPL", "MSFT", "TSLA", "AMZN"];
    let numbers = 0..count;
    let time = |i: i64| i * 1_000_000 + (i * 7 + split as i64 * 3) % 11 * 700_000;
    let symbols = numbers.clone().map(|i| symbols[(i as usize + split) % 4]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(symbols)),
        Arc::new(TimestampNanosecondArray::from_iter_values(
            numbers.clone().map(time),
        )),
        Arc::new(Float64Array::from_iter_values(
            numbers.map(|i| i as f64 * 0.1 + split as f64),
        )),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn source(poll_rows: usize) -> ScriptedSource {
    let names = ["p0", "p1", "p2"];
    let splits = (0..SPLITS)
        .map(|split| (names[split], rows(split)))
        .collect();
    ScriptedSource::new(splits, poll_rows).rejecting(vec![17, 400, 401, 2_999])
}

/// Everything that outlives a kill.
#[derive(Clone)]
struct World {
    store: Arc<dyn ObjectStore>,
    graph: Arc<Graph>,
    out: Collected,
    late: Collected,
    dead: Collected,
    recording: Collected,
}

/// A snapshot by this many rows, and by nothing else.
fn rows_between(rows: u64) -> Backlog {
    Backlog {
        rows,
        entries: u64::MAX,
        epochs: u64::MAX,
    }
}

impl World {
    fn new() -> Self {
        Self::with(Arc::new(InMemory::new()), graph())
    }

    fn with(store: Arc<dyn ObjectStore>, graph: Arc<Graph>) -> Self {
        let collected = Collected::default;
        let (out, late, dead, recording) = (collected(), collected(), collected(), collected());
        Self {
            store,
            graph,
            out,
            late,
            dead,
            recording,
        }
    }

    fn log(&self) -> Log {
        Log::new(Arc::clone(&self.store), "job".into(), 0)
    }

    fn start(&self, source: ScriptedSource, record: bool, snapshot_rows: u64) -> Job {
        let recorder = record.then(|| self.recording.sink());
        let targets = vec![self.out.sink()];
        self.start_with(source, targets, recorder, rows_between(snapshot_rows))
    }

    fn start_with(
        &self,
        source: ScriptedSource,
        targets: Vec<Box<dyn Sink>>,
        recorder: Option<Box<dyn Sink>>,
        snapshot_after: Backlog,
    ) -> Job {
        let bindings = Bindings {
            targets: targets.into_iter().map(Some).collect(),
            recorders: vec![recorder],
            ..self.bindings(Box::new(source))
        };
        self.start_by(Duration::from_millis(5), bindings, snapshot_after)
    }

    /// A source, and all that is collected but the recording.
    fn bindings(&self, source: Box<dyn Source>) -> Bindings {
        Bindings {
            sources: vec![source],
            targets: vec![Some(self.out.sink())],
            commit_point: None,
            late: vec![self.late.sink()],
            dead: vec![self.dead.sink()],
            recorders: vec![None],
            taps: Taps::default(),
        }
    }

    fn start_by(&self, commit_interval: Duration, bindings: Bindings, after: Backlog) -> Job {
        let spec = JobSpec {
            graph: Arc::clone(&self.graph),
            commit_interval,
            snapshot_after: after,
            digests: true,
        };
        let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
        Job::start(spec, bindings, self.log(), clock)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs with a kill after each of these times, then to the end.
fn run_with_kills(source: &ScriptedSource, kills: &[u64], record: bool) -> (World, Status) {
    let world = World::new();
    for kill in kills {
        let runtime = runtime();
        let paused = source.clone().pause(Duration::from_millis(1));
        runtime.block_on(async {
            let mut job = world.start(paused, record, 700);
            let _ = tokio::time::timeout(Duration::from_millis(*kill), job.wait()).await;
        });
        // No task runs on: what is not in the store or a sink by now is gone.
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    let status = runtime().block_on(async {
        let mut job = world.start(source.clone(), record, 700);
        job.wait().await.unwrap();
        job.status()
    });
    (world, status)
}

/// Leaves a log of at least five epochs without a snapshot.
fn run_and_kill(world: &World, source: &ScriptedSource) {
    let runtime = runtime();
    runtime.block_on(async {
        let slow = source.clone().pause(Duration::from_millis(1));
        let job = world.start(slow, false, u64::MAX);
        while job.status().committed.0 < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::mem::forget(job);
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// The outputs in a form that can be compared: per symbol the prices, in order.
fn prices(rows: &[RecordBatch]) -> std::collections::BTreeMap<String, Vec<f64>> {
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    let mut prices = std::collections::BTreeMap::<String, Vec<f64>>::new();
    for batch in rows {
        let values = batch
            .column(2)
            .as_primitive::<Float64Type>()
            .values()
            .clone();
        for (symbol, price) in batch.column(0).as_string::<i32>().iter().zip(values.iter()) {
            prices
                .entry(symbol.unwrap().to_string())
                .or_default()
                .push(*price);
        }
    }
    prices
}

fn check_sums(world: &World, status: &Status) {
    let counts = status.tables[0].counts;
    assert_eq!(counts.arrived, (SPLITS * ROWS) as u64);
    assert_eq!(
        counts.arrived,
        counts.accepted + counts.late + counts.future + counts.dead
    );
    assert_eq!(counts.dead, 12);
    let rejected = status.tables[0].rejected;
    assert_eq!(
        world.dead.count() as u64,
        counts.dead + counts.future + rejected
    );
    assert_eq!(world.late.count() as u64, counts.late);
    assert_eq!(world.out.count() as u64, counts.accepted - rejected);
    assert_eq!(status.targets[0].rows, counts.accepted - rejected);
    let digests = status.digests.as_ref().unwrap();
    assert_eq!(digests[0].rows, counts.accepted - rejected);
    assert_eq!(status.state, State::Finished);
}

/// The digest of what a sink holds must be the one the job reports, whatever happened between.
fn digest_of(rows: &[RecordBatch]) -> DigestValue {
    let mut digest = Digest::new(&schema(), &[0]).unwrap();
    for rows in rows {
        digest.add(rows).unwrap();
    }
    digest.value()
}

#[test]
fn a_job_killed_at_any_time_ends_as_if_it_were_not() {
    let source = source(25);
    for kills in [&[][..], &[20], &[35, 60, 90], &[5, 5, 5, 120]] {
        for record in [false, true] {
            let (world, status) = run_with_kills(&source, kills, record);
            check_sums(&world, &status);
            assert_eq!(
                digest_of(&world.out.rows()),
                status.digests.unwrap()[0],
                "{kills:?}"
            );
        }
    }
}

struct Recorded(std::vec::IntoIter<RecordBatch>);

#[async_trait::async_trait]
impl Reader for Recorded {
    async fn next(&mut self) -> crate::Result<Option<RecordBatch>> {
        Ok(self.0.next())
    }
}

/// Replays a recording, and tells what came of it.
fn replay(recording: Vec<RecordBatch>) -> (Collected, Status) {
    let replayed = Collected::default();
    let status = runtime().block_on(async {
        let mut job = Replay {
            graph: graph(),
            readers: vec![Box::new(Recorded(recording.into_iter()))],
            targets: vec![replayed.sink()],
            speed: Speed::Max,
            close: false,
        }
        .start();
        job.wait().await.unwrap();
        job.status()
    });
    (replayed, status)
}

#[test]
fn a_replay_of_the_recording_gives_the_live_rows() {
    let (world, status) = run_with_kills(&source(10), &[50, 80], true);
    let live = status.digests.unwrap();
    let recorded = world.recording.rows();
    let schema = recording::schema(&stream("trades").source_schema());
    let whole = arrow::compute::concat_batches(&schema, &recorded).unwrap();
    for recording in [recorded, vec![whole]] {
        let (replayed, status) = replay(recording);
        assert_eq!(status.digests.unwrap(), live);
        assert_eq!(prices(&replayed.rows()), prices(&world.out.rows()));
    }
}

#[test]
fn a_stopped_job_goes_on_where_it_stopped() {
    let world = World::new();
    let source = source(25);
    let runtime = runtime();
    runtime.block_on(async {
        let slow = source.clone().pause(Duration::from_millis(1));
        let mut job = world.start(slow, false, 1_000_000);
        while job.status().committed.0 < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        job.stop();
        job.wait().await.unwrap();
        assert_eq!(job.status().state, State::Stopped);
        let contents = world.log().contents().await.unwrap();
        assert_eq!(contents.snapshots.last(), contents.records.last());
        let mut job = world.start(source.clone(), false, 1_000_000);
        job.wait().await.unwrap();
        check_sums(&world, &job.status());
        // A finished job that is started again has nothing to do, and says so.
        let before = world.out.count();
        let mut job = world.start(source, false, 1_000_000);
        job.wait().await.unwrap();
        check_sums(&world, &job.status());
        assert_eq!(world.out.count(), before);
    });
}

#[test]
fn a_damaged_or_foreign_log_is_refused_and_left_alone() {
    use object_store::ObjectStoreExt;
    let world = World::new();
    run_and_kill(&world, &source(25));
    runtime().block_on(async {
        let first = "job/shard-0/epoch-00000000000000000001.record".into();
        let mut bytes = world
            .store
            .get(&first)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        world.store.put(&first, bytes.clone().into()).await.unwrap();
        let error = world.start(source(500), false, 1).wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error
                .chain()
                .contains("epoch-00000000000000000001.record is damaged")
        );
        assert!(error.chain().contains("checksum"), "{}", error.chain());
        let after = world
            .store
            .get(&first)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(after, bytes);
        world.store.delete(&first).await.unwrap();
        let error = world.start(source(500), false, 1).wait().await.unwrap_err();
        assert!(
            error.chain().contains("record of epoch 1 is missing"),
            "{}",
            error.chain()
        );
        world
            .store
            .put(&"job/plan.txt".into(), "Sink: other".into())
            .await
            .unwrap();
        let error = world.start(source(500), false, 1).wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.chain().contains("'Sink: other'"), "{}", error.chain());
    });
}

#[test]
fn history_that_changed_under_the_journal_is_refused() {
    let world = World::new();
    run_and_kill(&world, &source(25));
    runtime().block_on(async {
        // Another record became unreadable meanwhile: rows and rejected no longer match.
        let changed = source(25).rejecting(vec![]);
        let error = world.start(changed, false, 1).wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.chain().contains("no longer holds what the log says"),
            "{}",
            error.chain()
        );
    });
}
