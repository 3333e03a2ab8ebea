//! Savepoints: what they stand for, who can go on from them, and who cannot.

use super::starts::HoldingSink;
use super::*;
use crate::graph::Node;
use crate::log::savepoint::{Savepoint, Savepoints};
use crate::operator::filter::Filter;
use crate::sink::Epoch;

fn slow(source: &ScriptedSource) -> ScriptedSource {
    source.clone().pause(Duration::from_millis(1))
}

fn named(world: &World, state: crate::log::record::StoredSnapshot) -> Savepoint {
    Savepoint {
        name: "before".to_owned(),
        taken_at: 7,
        blueprint: world.graph.blueprint(),
        state,
    }
}

/// What was out at an epoch.
fn up_to(collected: &Collected, epoch: Epoch) -> Vec<RecordBatch> {
    let epochs = collected.by_epoch().into_iter();
    let before = epochs.filter(|(of, _)| *of <= epoch);
    before.flat_map(|(_, rows)| rows).collect()
}

fn count(rows: &[RecordBatch]) -> u64 {
    rows.iter().map(|rows| rows.num_rows() as u64).sum()
}

/// Runs a job for a while, with a savepoint in between, and kills it.
fn run_with_savepoint(world: &World) -> Savepoint {
    let runtime = runtime();
    let savepoint = runtime.block_on(async {
        let job = world.start(slow(&source(25)), false, u64::MAX);
        starts::run_until_committed(&job, 4).await;
        let state = job.savepointer().take().await.unwrap();
        assert!(state.epoch <= job.status().committed);
        starts::run_until_committed(&job, state.epoch.0 + 4).await;
        std::mem::forget(job);
        named(world, state)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    savepoint
}

/// A world without rows whose log begins with a savepoint.
fn begun(graph: &Arc<Graph>, savepoint: Savepoint) -> World {
    let world = World::with(Arc::new(InMemory::new()), Arc::clone(graph));
    runtime().block_on(async {
        let inherited = savepoint.inherit(graph, false).unwrap();
        let log = world.log();
        let plan = graph.plan();
        log.begin_with(&plan, "before", &inherited.state)
            .await
            .unwrap();
        assert_eq!(log.begun_from().await.unwrap().as_deref(), Some("before"));
    });
    world
}

fn run(world: &World) -> Status {
    runtime().block_on(async {
        let mut job = world.start(source(25), false, 700);
        job.wait().await.unwrap();
        job.status()
    })
}

#[test]
fn what_was_out_and_what_follows_are_the_whole() {
    let first = World::new();
    let savepoint = run_with_savepoint(&first);
    let epoch = savepoint.epoch();
    assert!(count(&up_to(&first.out, epoch)) > 0);
    assert!(first.out.count() as u64 > count(&up_to(&first.out, epoch)));
    let second = begun(&first.graph, savepoint);
    let status = run(&second);
    let whole = |of: fn(&World) -> &Collected| {
        let mut rows = up_to(of(&first), epoch);
        rows.extend(of(&second).rows());
        rows
    };
    let counts = status.tables[0].counts;
    assert_eq!(counts.arrived, (SPLITS * ROWS) as u64);
    assert_eq!(count(&whole(|world| &world.late)), counts.late);
    assert_eq!(
        count(&whole(|world| &world.dead)),
        counts.dead + status.tables[0].rejected
    );
    assert_eq!(
        digest_of(&whole(|world| &world.out)),
        status.digests.unwrap()[0]
    );
    // The log goes on as any other: nothing is left to do.
    assert_eq!(run(&second).state, State::Finished);
}

#[test]
fn a_sink_puts_out_what_it_holds_before_a_savepoint_is_given() {
    let (world, to) = (World::new(), Collected::default());
    runtime().block_on(async {
        let sink = HoldingSink::to(&to);
        let targets: Vec<Box<dyn Sink>> = vec![Box::new(sink)];
        let job = world.start_with(slow(&source(25)), targets, None, rows_between(u64::MAX));
        starts::run_until_committed(&job, 4).await;
        assert_eq!(to.count(), 0);
        let state = job.savepointer().take().await.unwrap();
        let out = count(&up_to(&to, state.epoch));
        assert!(out > 0);
        // Nothing before it comes again.
        let inherited = named(&world, state).inherit(&world.graph, false).unwrap();
        let mut shard = Shard::new(Arc::clone(&world.graph), true).unwrap();
        shard.restore(inherited.state.shard).unwrap();
        assert_eq!(shard.rows_out(), [out]);
        // It can be asked for again at once.
        job.savepointer().take().await.unwrap();
    });
}

/// The graph of the other tests with a filter, and a second table behind it.
fn with_filter(graph: &Graph) -> Graph {
    let mut changed = graph.clone();
    let batch = changed.nodes[1].spec.schema();
    let filter = Filter {
        schema: batch,
        predicate: Arc::new(Expensive),
    };
    let from = changed.add(Arc::new(filter), vec![Port::Node(1)]);
    changed
        .targets
        .insert(0, Target::new(stream("expensive"), from));
    changed
}

/// `price > 100`.
#[derive(Debug)]
struct Expensive;

impl std::fmt::Display for Expensive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("price > 100")
    }
}

impl Expression for Expensive {
    fn evaluate(&self, batch: &RecordBatch) -> crate::Result<ArrayRef> {
        use arrow::array::AsArray;
        use arrow::datatypes::Float64Type;
        let prices = batch.column(2).as_primitive::<Float64Type>();
        let above = prices.iter().map(|price| price.map(|price| price > 100.0));
        Ok(Arc::new(above.collect::<arrow::array::BooleanArray>()))
    }

    fn data_type(&self) -> DataType {
        DataType::Boolean
    }
}

#[test]
fn a_graph_with_more_in_it_keeps_what_it_knows_and_the_new_part_begins() {
    let first = World::new();
    let savepoint = run_with_savepoint(&first);
    let epoch = savepoint.epoch();
    let changed = Arc::new(with_filter(&first.graph));
    let inherited = savepoint.clone().inherit(&changed, false).unwrap();
    assert_eq!(inherited.new, ["Filter: price > 100"]);
    assert_eq!((inherited.kept, inherited.dropped.len()), (1, 0));
    let second = begun(&changed, savepoint);
    let expensive = Collected::default();
    let status = runtime().block_on(async {
        let targets = vec![expensive.sink(), second.out.sink()];
        let mut job = second.start_with(source(25), targets, None, rows_between(700));
        job.wait().await.unwrap();
        job.status()
    });
    let mut out = up_to(&first.out, epoch);
    out.extend(second.out.rows());
    let digests = status.digests.unwrap();
    assert_eq!(digest_of(&out), digests[1]);
    assert_eq!(digest_of(&expensive.rows()), digests[0]);
    // The new part has seen what came since, and only that.
    let since = second.out.rows();
    let above = |rows: &[RecordBatch]| {
        let prices = prices(rows).into_values().flatten();
        prices.filter(|price| *price > 100.0).count()
    };
    assert_eq!(expensive.count(), above(&since));
    assert!(above(&up_to(&first.out, epoch)) + above(&since) > 0);
    let (name, counts) = &status.steps[2];
    assert_eq!(name, "filter");
    assert_eq!(counts.rows_in, count(&since));
    assert_eq!(counts.missed, count(&up_to(&first.out, epoch)));
    assert_eq!(counts.left_out + counts.rows_out, counts.rows_in);
}

#[test]
fn a_state_without_a_place_is_refused_with_the_difference() {
    type Change = fn(&mut Graph);
    let world = World::new();
    let savepoint = run_with_savepoint(&world);
    let changes: [(Change, &str, &str); 4] = [
        (
            |graph| {
                let schema = graph.inputs[0].batch_schema();
                let (time, split, late) = (1, 4, 5);
                let spec = Arc::new(Order {
                    schema,
                    time,
                    split,
                    late,
                    by_split: true,
                });
                let inputs = graph.nodes[0].inputs.clone();
                graph.nodes[0] = Node { spec, inputs };
            },
            "Order: ts: 'Order: ts'",
            "is 'Order: ts, each split by its own watermark' now",
        ),
        (
            |graph| graph.inputs[0].timing.idle_timeout = None,
            "table trades (memory): 'trades: idle-timeout 40ms'",
            "is 'trades: idle-timeout none' now",
        ),
        (
            // The rows that wait to be put in order have these columns.
            |graph| graph.inputs[0].columns.swap(0, 2),
            "Order: ts: 'trades: column symbol Utf8 = symbol'",
            "is 'trades: column symbol Utf8 = price' now",
        ),
        (
            |graph| graph.inputs[0].stream.name = "quotes".to_owned(),
            "table trades (memory): it is not read any more",
            "Start from 'empty'",
        ),
    ];
    for (change, before, after) in changes {
        let mut graph = Graph::clone(&world.graph);
        change(&mut graph);
        let graph = Arc::new(graph);
        let error = savepoint.clone().inherit(&graph, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let said = error.to_string();
        assert!(said.contains(before) && said.contains(after), "{said}");
        assert!(said.contains("savepoint 'before'"), "{said}");
        // Who gives it up says so.
        let inherited = savepoint.clone().inherit(&graph, true).unwrap();
        assert_eq!(inherited.dropped.len(), 1, "{inherited:?}");
    }
}

#[test]
fn a_job_that_rests_can_be_kept_and_one_that_was_killed_cannot() {
    let world = World::new();
    run_and_kill(&world, &source(25));
    runtime().block_on(async {
        let killed = world.log().at_rest().await.unwrap_err();
        assert_eq!(killed.kind(), ErrorKind::Invalid);
        assert!(killed.to_string().contains("stop it in order"), "{killed}");
        let mut job = world.start(slow(&source(25)), false, u64::MAX);
        starts::run_until_committed(&job, 12).await;
        job.stop();
        job.wait().await.unwrap();
        let state = world.log().at_rest().await.unwrap();
        assert_eq!(state.epoch, job.status().committed);
        let store = Arc::new(InMemory::new());
        let savepoints = Savepoints::new(store, "savepoints".into());
        let savepoint = named(&world, state);
        assert!(savepoints.put(&savepoint).await.unwrap() > 0);
        let again = savepoints.put(&savepoint).await.unwrap_err();
        assert!(again.to_string().contains("already"), "{again}");
        let listed = savepoints.list().await.unwrap();
        assert_eq!(listed[0].name, "before");
        let unknown = savepoints.get("after").await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert!(
            unknown.to_string().contains("the job has before"),
            "{unknown}"
        );
        let read = savepoints.get("before").await.unwrap();
        assert_eq!((read.taken_at, &read.blueprint), (7, &savepoint.blueprint));
        savepoints.remove("before").await.unwrap();
        savepoints.remove("before").await.unwrap_err();
    });
}
