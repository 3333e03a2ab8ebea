//! Who commits: the log alone or a commit point, one process after the other.

use arrow::compute::concat_batches;

use super::*;
use crate::log::record::{Record, Start};
use crate::runtime::patience::Patience;
use crate::runtime::recovery::Past;
use crate::runtime::status::SharedStatus;
use crate::runtime::stop::Stop;
use crate::sink::Epoch;
use crate::testing::Transactions;

fn start(at: i64) -> Record {
    Record {
        epoch: Epoch(1),
        start: Some(Start {
            at,
            process: 7,
            follows: Epoch(0),
        }),
        ..Record::default()
    }
}

#[test]
fn the_log_commits_an_epoch_once() {
    runtime().block_on(async {
        let log = World::new().log();
        let mut record = start(1);
        log.append(&record).await.unwrap();
        // A put that was made, though its answer was lost, is made again.
        log.append(&record).await.unwrap();
        assert_eq!(log.contents().await.unwrap().last(), Epoch(1));
        record.finished = true;
        let error = log.append(&record).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.chain();
        assert!(text.contains("another process has taken over"), "{text}");
    });
}

#[test]
fn of_two_starts_one_fences_the_other_also_after_the_log_was_cut() {
    runtime().block_on(async {
        let (log, other) = (World::new().log(), World::new().log());
        assert!(other.fence(&start(1)).await.unwrap());
        let world = World::new();
        let (first, second) = (world.log(), world.log());
        assert!(first.fence(&start(1)).await.unwrap());
        assert!(!second.fence(&start(2)).await.unwrap());
        let next = |epoch, at| Record {
            epoch: Epoch(epoch),
            ..start(at)
        };
        assert!(second.fence(&next(2, 2)).await.unwrap());
        for epoch in 3..40 {
            second.append(&next(epoch, 3)).await.unwrap();
        }
        let contents = second.contents().await.unwrap();
        second.cut_records(Epoch(38), &contents).await.unwrap();
        let contents = second.contents().await.unwrap();
        assert_eq!(contents.records, [1, 2, 39].map(Epoch));
        // The one that slept meanwhile would go on at epoch 2.
        let error = first.append(&next(2, 4)).await.unwrap_err();
        assert!(error.chain().contains("has taken over"), "{error}");
        log.append(&start(1)).await.unwrap();
    });
}

#[test]
fn a_fence_behind_the_end_of_a_finished_job_is_no_takeover() {
    runtime().block_on(async {
        for finished in [true, false] {
            let log = World::new().log();
            log.append(&start(1)).await.unwrap();
            let end = Record {
                epoch: Epoch(2),
                finished,
                ..Record::default()
            };
            log.append(&end).await.unwrap();
            // Of a start that asked for the last epoch before that was committed, and died.
            let fence = Record {
                epoch: Epoch(3),
                ..start(2)
            };
            assert!(log.fence(&fence).await.unwrap());
            let (_stopper, stop) = Stop::channel();
            let mut past = Past {
                log: &log,
                patience: Patience::new("the log", &SharedStatus::default(), &stop),
            };
            let contents = past.contents(Epoch(2)).await;
            assert_eq!(contents.is_ok(), finished, "{contents:?}");
        }
    });
}

impl World {
    /// Starts a job whose rows a commit point carries.
    fn start_transactional(&self, source: ScriptedSource, transactions: &Transactions) -> Job {
        let bindings = Bindings {
            targets: vec![None],
            commit_point: Some(transactions.commit_point()),
            ..self.bindings(Box::new(source))
        };
        self.start_by(Duration::from_millis(5), bindings, rows_between(700))
    }
}

#[test]
fn rows_of_input_count_with_those_of_output_or_apart() {
    let poll = 10_000;
    // Every row is kept, and one comes of it.
    for (transactional, rows, most) in [(false, 50_000, 32_768 / 2), (true, 150_000, 131_072)] {
        let (world, transactions) = (World::new(), Transactions::default());
        let source = ScriptedSource::new(vec![("0", rows_of(0, rows))], poll);
        let mut bindings = Bindings {
            recorders: vec![Some(world.recording.sink())],
            ..world.bindings(Box::new(source))
        };
        if transactional {
            bindings.targets = vec![None];
            bindings.commit_point = Some(transactions.commit_point());
        }
        runtime().block_on(async {
            let (hour, never) = (Duration::from_hours(1), rows_between(u64::MAX));
            let mut job = world.start_by(hour, bindings, never);
            job.wait().await.unwrap();
        });
        let count = |batches: &Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum();
        let epochs = world.recording.by_epoch();
        let mut kept: Vec<usize> = epochs.values().map(count).collect();
        // The first may have the split alone; the last has what is left when the input ends.
        kept.retain(|rows| *rows > 10);
        kept.pop();
        assert!(!kept.is_empty());
        // Ticks are kept, too.
        let full = most..most + poll + 1_000;
        assert!(kept.iter().all(|rows| full.contains(rows)), "{kept:?}");
    }
}

/// What an undisturbed run gives.
fn undisturbed(source: &ScriptedSource) -> RecordBatch {
    let world = World::new();
    runtime().block_on(async {
        let mut job = world.start(source.clone(), false, 700);
        job.wait().await.unwrap();
    });
    whole(&world.out.rows())
}

fn whole(rows: &[RecordBatch]) -> RecordBatch {
    concat_batches(&rows[0].schema(), rows).unwrap()
}

fn sorted(rows: &RecordBatch) -> Vec<(String, i64, u64)> {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, TimestampNanosecondType};
    let symbols = rows.column(0).as_string::<i32>();
    let times = rows.column(1).as_primitive::<TimestampNanosecondType>();
    let prices = rows.column(2).as_primitive::<Float64Type>();
    let row = |row| {
        let (symbol, price) = (symbols.value(row), prices.value(row));
        (symbol.to_owned(), times.value(row), price.to_bits())
    };
    let mut rows: Vec<_> = (0..rows.num_rows()).map(row).collect();
    rows.sort();
    rows
}

#[test]
fn kills_and_lost_answers_leave_each_row_once_in_the_transactions() {
    // One split: then lateness, and with it what comes out, does not depend on timing.
    let source = ScriptedSource::new(vec![("p0", rows(0))], 25);
    let expected = sorted(&undisturbed(&source));
    for kills in [&[3, 20, 45][..], &[1, 2, 60, 61], &[90]] {
        let (world, transactions) = (World::new(), Transactions::default());
        for kill in kills {
            let runtime = runtime();
            transactions.lose_answers(&[true, false]);
            runtime.block_on(async {
                let paused = source.clone().pause(Duration::from_millis(1));
                let mut job = world.start_transactional(paused, &transactions);
                let _ = tokio::time::timeout(Duration::from_millis(*kill), job.wait()).await;
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        transactions.lose_answers(&[false, true]);
        runtime().block_on(async {
            let mut job = world.start_transactional(source.clone(), &transactions);
            job.wait().await.unwrap();
            assert_eq!(Some(job.status().committed), transactions.last());
            let offset = transactions.positions()[0].values().copied().next();
            assert_eq!(offset, Some(ROWS as i64));
        });
        let rows = sorted(&whole(&transactions.rows(0)));
        assert_eq!(rows.len(), expected.len(), "{kills:?}");
        assert!(rows == expected, "{kills:?}");
    }
}

#[test]
fn who_is_fenced_ends_and_changes_nothing() {
    let (world, transactions) = (World::new(), Transactions::default());
    let source = ScriptedSource::new(vec![("p0", rows(0))], 25);
    let expected = sorted(&undisturbed(&source));
    runtime().block_on(async {
        let slow = source.clone().pause(Duration::from_millis(1));
        let mut first = world.start_transactional(slow, &transactions);
        while first.status().committed < Epoch(4) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut second = world.start_transactional(source.clone(), &transactions);
        let error = first.wait().await.unwrap_err();
        assert!(error.chain().contains("has taken over this job"), "{error}");
        second.wait().await.unwrap();
    });
    assert!(sorted(&whole(&transactions.rows(0))) == expected);
}

#[test]
fn a_commit_point_that_forgot_the_job_is_refused() {
    let (world, transactions) = (World::new(), Transactions::default());
    let source = ScriptedSource::new(vec![("p0", rows(0))], 25);
    runtime().block_on(async {
        let slow = source.clone().pause(Duration::from_millis(1));
        let job = world.start_transactional(slow, &transactions);
        while job.status().committed < Epoch(4) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(job);
        tokio::time::sleep(Duration::from_millis(200)).await;
        transactions.expire();
        let error = world
            .start_transactional(source, &transactions)
            .wait()
            .await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.to_string().contains("offsets have expired"),
            "{error}"
        );
    });
}
