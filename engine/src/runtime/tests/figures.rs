//! What a job counts: for its status, and for its snapshots.

use arrow::compute::nullif;

use super::*;
use crate::intake::journal::Entry;
use crate::log::record::Record;
use crate::sink::Epoch;

/// As `source`, but every tenth row has no price, and the graph rejects it.
fn source_with_gaps() -> ScriptedSource {
    let gaps = |rows: RecordBatch| {
        let mut columns = rows.columns().to_vec();
        let gap = (0..rows.num_rows()).map(|row| Some(row % 10 == 0));
        columns[2] = nullif(&columns[2], &gap.collect()).unwrap();
        RecordBatch::try_new(rows.schema(), columns).unwrap()
    };
    let names = ["p0", "p1", "p2"].into_iter().enumerate();
    let splits = names.map(|(split, name)| (name, gaps(rows(split))));
    ScriptedSource::new(splits.collect(), 25).rejecting(vec![17, 400, 401, 2_999])
}

#[test]
fn figures_are_those_of_the_whole_job_and_tell_what_the_graph_rejects() {
    for kills in [&[][..], &[40], &[35, 60, 90]] {
        let (world, status) = run_with_kills(&source_with_gaps(), kills, false);
        check_sums(&world, &status);
        // 300 of each split have no price; one of them is undecodable, and others are late.
        let rejected = status.tables[0].rejected;
        assert!((1..=900).contains(&rejected), "{rejected}");
        let steps: u64 = status.steps.iter().map(|(_, step)| step.dead).sum();
        assert_eq!(steps, rejected);
    }
}

#[test]
fn a_recovery_knows_the_figures_before_a_row_arrives() {
    let world = World::new();
    run_and_kill(&world, &source(25));
    runtime().block_on(async {
        let silent = source(25).pause(Duration::from_hours(1));
        // Without a snapshot the source is read again: this one would take too long.
        let mut job = world.start(source(25).pause(Duration::from_millis(20)), false, u64::MAX);
        while job.status().state != State::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        job.stop();
        job.wait().await.unwrap();
        let before = job.status();
        assert!(before.targets[0].rows > 0);
        let mut job = world.start(silent, false, u64::MAX);
        while job.status().state != State::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let status = job.status();
        job.stop();
        job.wait().await.unwrap();
        assert_eq!(status.targets[0].rows, before.targets[0].rows);
        assert_eq!(status.tables[0].counts, before.tables[0].counts);
        assert_eq!(status.tables[0].watermark, before.tables[0].watermark);
        assert_eq!(status.committed, before.committed.next());
    });
}

#[test]
fn a_snapshot_is_due_by_epochs_and_entries_over_all_starts() {
    let epochs = Backlog {
        rows: u64::MAX,
        entries: u64::MAX,
        epochs: 8,
    };
    let world = World::new();
    let source = source(25).pause(Duration::from_millis(1));
    let start = || world.start_with(source.clone(), vec![world.out.sink()], None, epochs);
    for _ in 0..3 {
        let runtime = runtime();
        runtime.block_on(async {
            let job = start();
            let before = world.log().contents().await.unwrap().last();
            while job.status().committed.0 < before.0 + 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            std::mem::forget(job);
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    runtime().block_on(async {
        // Three starts with few epochs each: none alone had reason for a snapshot.
        let mut job = start();
        let snapshot = loop {
            let contents = world.log().contents().await.unwrap();
            if let Some(snapshot) = contents.snapshots.first() {
                break *snapshot;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(snapshot, Epoch(8));
        job.wait().await.unwrap();
        check_sums(&world, &job.status());
    });
}

#[test]
fn a_backlog_counts_rows_entries_and_epochs() {
    let tick = |at| Entry::Tick { at };
    let records = Entry::Records {
        table: 0,
        split: crate::source::Split::new("0"),
        rows: 5,
        rejected: 2,
        next_offset: 7,
        first: 4,
    };
    let record = Record {
        journal: vec![tick(1), tick(2), records, tick(20)],
        ..Record::default()
    };
    let backlog = Backlog::NONE.and(&record).and(&record);
    let (rows, entries, epochs) = (14, 8, 2);
    assert_eq!(
        backlog,
        Backlog {
            rows,
            entries,
            epochs
        }
    );
    assert!(!backlog.reaches(Backlog::A_SECOND));
    for bound in [
        Backlog {
            rows,
            ..Backlog::A_SECOND
        },
        Backlog {
            entries,
            ..Backlog::A_SECOND
        },
        Backlog {
            epochs,
            ..Backlog::A_SECOND
        },
    ] {
        assert!(backlog.reaches(bound), "{bound:?}");
    }
}

#[test]
fn an_epoch_with_many_rows_ends_before_its_time() {
    let world = World::new();
    let source = ScriptedSource::new(vec![("p0", rows_of(0, 400_000))], 8_192);
    let bindings = world.bindings(Box::new(source));
    runtime().block_on(async {
        let an_hour = Duration::from_hours(1);
        let mut job = world.start_by(an_hour, bindings, Backlog::A_SECOND);
        job.wait().await.unwrap();
        let status = job.status();
        assert_eq!(status.tables[0].counts.arrived, 400_000);
        assert!(
            (6..20).contains(&status.committed.0),
            "{}",
            status.committed
        );
    });
}
