//! Dead rows come back once, wherever the job is killed meanwhile, and a replay of the recording
//! gives the same.

use arrow::array::{AsArray, Int64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, TimestampNanosecondType};

use super::*;
use crate::intake::{Origin, Redrive};
use crate::source::Split;

/// The dead rows that are published, with what they should have been.
fn dead(world: &World) -> Redrive {
    let (mut rows, mut origins) = (vec![], vec![]);
    for batch in world.dead.rows() {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let arrived = column("arrived_at").as_primitive::<TimestampNanosecondType>();
        let (splits, offsets) = (column("split").as_string::<i32>(), column("offset"));
        let offsets = offsets.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let (split, offset) = (splits.value(row), offsets.value(row));
            let number = split[1..].parse().unwrap();
            let original = super::rows(number);
            rows.push(take_record_batch(&original, &Int64Array::from(vec![offset])).unwrap());
            origins.push(Origin {
                arrived_at: arrived.value(row),
                split: Some(Split::new(split)),
                offset,
            });
        }
    }
    Redrive {
        table: 0,
        rows: arrow::compute::concat_batches(&schema(), &rows).unwrap(),
        origins,
        again: false,
    }
}

/// Runs until the first nine dead rows are out.
async fn until_dead(world: &World, job: &Job) {
    while world.dead.count() < 9 {
        assert_ne!(job.status().state, State::Failed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn slow(source: &ScriptedSource) -> ScriptedSource {
    source.clone().pause(Duration::from_millis(4))
}

#[test]
fn dead_rows_come_back_once_whenever_the_job_is_killed() {
    for record in [false, true] {
        let (world, source) = (World::new(), source(100));
        let mut came = 0;
        for kill in [0, 2, 20] {
            let runtime = runtime();
            runtime.block_on(async {
                let job = world.start(slow(&source), record, 700);
                until_dead(&world, &job).await;
                let redriver = job.redriver();
                let redrive = dead(&world);
                let limit = Duration::from_millis(kill);
                let asked = tokio::time::timeout(limit, redriver.redrive(redrive)).await;
                if let Ok(outcome) = asked {
                    came += outcome.unwrap().redriven;
                }
                std::mem::forget(job);
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        let (status, rows) = runtime().block_on(async {
            let mut job = world.start(slow(&source), record, 700);
            until_dead(&world, &job).await;
            let redrive = dead(&world);
            let rows = redrive.origins.len();
            let first = job.redriver().redrive(redrive.clone()).await.unwrap();
            assert_eq!(first.redriven + first.known, rows);
            let second = job.redriver().redrive(redrive.clone()).await.unwrap();
            assert_eq!((second.redriven, second.known), (0, rows), "{second:?}");
            job.wait().await.unwrap();
            (job.status(), rows)
        });
        assert!(came <= rows);
        let counts = status.tables[0].counts;
        assert_eq!(
            counts.arrived,
            (SPLITS * ROWS + rows) as u64,
            "record {record}"
        );
        let gone = counts.late + counts.future + counts.dead;
        assert_eq!(counts.arrived, counts.accepted + gone);
        assert_eq!(counts.dead, 12);
        if record {
            let (_, replayed) = replay(world.recording.rows());
            assert_eq!(replayed.digests, status.digests);
            assert_eq!(replayed.tables[0].counts, counts);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_again_comes_again() {
    let world = World::new();
    let job = world.start(slow(&source(50)), false, u64::MAX);
    until_dead(&world, &job).await;
    let redrive = dead(&world);
    let rows = redrive.origins.len();
    let redriver = job.redriver();
    let arrived = || job.status().tables[0].counts.arrived;
    for round in 0..3 {
        let again = round > 0;
        let given = Redrive {
            again,
            ..redrive.clone()
        };
        let outcome = redriver.redrive(given).await.unwrap();
        assert_eq!((outcome.redriven, outcome.known), (rows, 0));
        assert!(outcome.epoch <= job.status().committed);
    }
    assert!(arrived() > 0);
    // A row that two steps gave up comes once; one of no split goes to any.
    let mut twice = Redrive {
        again: true,
        ..redrive.clone()
    };
    twice.rows = arrow::compute::concat_batches(&schema(), [&redrive.rows, &redrive.rows]).unwrap();
    twice.origins.extend(redrive.origins.clone());
    twice
        .origins
        .iter_mut()
        .for_each(|origin| origin.split = None);
    let outcome = redriver.redrive(twice).await.unwrap();
    assert_eq!(
        (outcome.redriven, outcome.known, outcome.lost),
        (rows, rows, 0)
    );
    drop(job);
}
