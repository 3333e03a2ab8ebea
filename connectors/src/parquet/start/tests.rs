//! Sleepers that wake at any step, and starts that race.

use std::sync::{Arc, Barrier};
use std::thread;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use engine::ErrorKind;

use super::*;
use crate::Owner;
use crate::parquet::{Compression, writer};

const DAY: &str = "date=2024-01-01";

fn layout(root: &Path) -> Layout {
    let owner = Owner {
        job: "job".to_owned(),
        shard: 0,
    };
    Layout::new(root.to_owned(), &owner)
}

fn row(number: u64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let column = Arc::new(Int64Array::from(vec![number as i64]));
    RecordBatch::try_new(schema, vec![column]).unwrap()
}

/// A file of a roll with one row, still growing.
fn grow(start: &Start, folder: &str, first: u64) -> Result<Writer> {
    let rows = row(first);
    let schema = rows.schema();
    let properties = writer::properties(&schema, Compression::None, writer::Purpose::Table)?;
    let mut file = start.create(folder, Epoch(first), 0, (&schema, &properties))?;
    file.write(&[rows])?;
    Ok(file)
}

/// A roll of two whole files, in the root and in a day.
fn whole(start: &Start, first: u64) -> Result<Vec<Finished>> {
    let file = |folder: &str| -> Result<Finished> {
        Ok(Finished {
            folder: folder.to_owned(),
            part: 0,
            temporary: grow(start, folder, first)?.finish()?,
        })
    };
    Ok(vec![file("")?, file(DAY)?])
}

/// A roll of two files: all of it.
fn publish(start: &Start, first: u64, last: u64) -> Result<()> {
    start.publish(&whole(start, first)?, Epoch(first), Epoch(last))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
    let text = error.to_string();
    assert!(
        text.contains("another process has taken over this job"),
        "{text}"
    );
}

/// The rolls of the root and of the day, which must be the same; nothing hidden may be left.
#[track_caller]
fn rolls(layout: &Layout) -> Vec<(u64, u64)> {
    let of = |folder: &Path| -> Vec<(u64, u64)> {
        let names = list(folder).unwrap();
        let hidden: Vec<_> = names.iter().filter(|name| name.starts_with('.')).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
        let epochs = |name: &String| layout.epochs(name, ".parquet");
        let epochs = names.iter().filter_map(epochs);
        epochs.map(|(first, last)| (first.0, last.0)).collect()
    };
    let rolls = of(&layout.root);
    assert_eq!(of(&layout.root.join(DAY)), rolls);
    rolls
}

#[test]
fn a_sleeper_publishes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let begin = || Start::begin(&layout).unwrap();
    // Its files grow.
    let (growing, _) = begin();
    let mut file = grow(&growing, "", 1).unwrap();
    // They are whole; one alone needs no manifest.
    let (one, _) = begin();
    let alone = whole(&one, 1).unwrap();
    let (two, _) = begin();
    let both = whole(&two, 1).unwrap();
    // It has written its manifest, which is not in its place.
    let (drafting, _) = begin();
    let drafted = whole(&drafting, 1).unwrap();
    let draft = format!("{}{DRAFT}", layout.name(Epoch(1), Epoch(2)));
    fs::write(drafting.folder.join(&draft), "").unwrap();

    let (successor, published) = begin();
    assert_eq!(published, Epoch(0));
    let next = whole(&successor, 1).unwrap();
    file.write(&[row(2)]).unwrap();
    let finished = Finished {
        folder: String::new(),
        part: 0,
        temporary: file.finish().unwrap(),
    };
    refused(growing.publish(&[finished], Epoch(1), Epoch(2)));
    refused(grow(&growing, "date=2024-01-02", 1));
    refused(one.publish(&alone[..1], Epoch(1), Epoch(1)));
    refused(two.publish(&both, Epoch(1), Epoch(2)));
    let place = layout.manifest(&layout.name(Epoch(1), Epoch(2)));
    refused(drafting.explained(rename(&drafting.folder.join(&draft), &place)));
    refused(drafting.publish(&drafted, Epoch(1), Epoch(2)));
    refused(two.explained(two.recover()));
    successor.publish(&next, Epoch(1), Epoch(2)).unwrap();
    // Not even where its roll is just that of its successor.
    refused(two.publish(&both, Epoch(1), Epoch(2)));
    drop((growing, one, two, drafting, successor));
    assert_eq!(rolls(&layout), [(1, 2)]);
    assert!(!folder.path().join("date=2024-01-02").exists());
}

#[test]
fn a_roll_with_a_manifest_is_completed_once() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    // It sleeps once no, one, or all of its files have their names.
    for named in 0..=2 {
        let first = named as u64 * 2 + 1;
        let name = layout.name(Epoch(first), Epoch(first + 1));
        let (sleeper, _) = Start::begin(&layout).unwrap();
        let files = whole(&sleeper, first).unwrap();
        sleeper.announce(&files, &name).unwrap();
        sleeper.give_names(&files[..named], &name).unwrap();
        let (successor, published) = Start::begin(&layout).unwrap();
        assert_eq!(published, Epoch(first + 1));
        if named < 2 {
            refused(sleeper.explained(sleeper.give_names(&files[named..], &name)));
        }
        refused(sleeper.explained(sleeper.conclude(&name)));
        drop((sleeper, successor));
        assert_eq!(rolls(&layout).last(), Some(&(first, first + 1)));
    }
    assert_eq!(rolls(&layout), [(1, 2), (3, 4), (5, 6)]);
}

#[test]
fn a_start_that_fails_leaves_what_it_took_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let name = layout.name(Epoch(1), Epoch(2));
    let manifest = layout.manifest(&name);
    let (sleeper, _) = Start::begin(&layout).unwrap();
    let files = whole(&sleeper, 1).unwrap();
    sleeper.announce(&files, &name).unwrap();
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, good.replacen('\n', "\nnonsense\n", 1)).unwrap();
    for _ in 0..5 {
        let error = Start::begin(&layout).unwrap_err().to_string();
        assert!(error.contains("names a file 'nonsense'"), "{error}");
    }
    // Killed while it takes what is there: as one that sleeps there, it takes no more.
    let killed = Start {
        layout: layout.clone(),
        folder: folder.path().join(layout.start(7)),
    };
    fs::create_dir(&killed.folder).unwrap();
    let own = list(folder.path()).unwrap();
    for name in own.iter().filter(|name| layout.is_start(name)) {
        if folder.path().join(name) != killed.folder {
            fs::rename(folder.path().join(name), killed.folder.join(name)).unwrap();
        }
    }
    fs::write(&manifest, good).unwrap();
    let (successor, published) = Start::begin(&layout).unwrap();
    assert_eq!(published, Epoch(2));
    refused(killed.explained(killed.take(&successor.folder)));
    publish(&successor, 3, 3).unwrap();
    drop((killed, successor, sleeper));
    assert_eq!(rolls(&layout), [(1, 2), (3, 3)]);
}

/// The epochs that the race is about.
const LAST: u64 = 60;

/// Starts and publishes, an epoch a roll, until another takes over, or to the end.
fn run(layout: &Layout) -> Result<()> {
    let (start, published) = Start::begin(layout)?;
    for epoch in published.0 + 1..=LAST {
        publish(&start, epoch, epoch)?;
    }
    Ok(())
}

/// Waits until somebody else has come further, then starts itself, until the end is reached.
fn compete(layout: &Layout) -> usize {
    for lost in 0.. {
        let Err(error) = run(layout) else {
            return lost;
        };
        refused::<()>(Err(error));
        let reached = || {
            let files = layout.files().unwrap();
            files.last().map_or(0, |file| file.last.0)
        };
        let since = reached();
        while reached() < (since + 3).min(LAST) {
            thread::yield_now();
        }
    }
    0
}

#[test]
fn starts_that_race_publish_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let line = Barrier::new(3);
    let lost: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    line.wait();
                    compete(&layout)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(lost > 0, "nobody was taken over");
    let all: Vec<_> = (1..=LAST).map(|epoch| (epoch, epoch)).collect();
    assert_eq!(rolls(&layout), all);
}
