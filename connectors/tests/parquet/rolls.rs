//! Rolls: who writes them, when they end, whose they are, and how many files they have open.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use connectors::Owner;
use engine::{Epoch, Sink};
use futures::poll;

use super::{names, read, sink, table};
use crate::tables::{DAY, trade_fields, trades};

fn sink_of(owner: &Owner, folder: &Path) -> Box<dyn Sink> {
    let connector = connectors::find("parquet").expect("there");
    connector.sink(&table(folder, &[]), owner).expect("a sink")
}

/// The instants of all rows below a folder, sorted.
async fn times(folder: &Path) -> Vec<i64> {
    let rows = read(folder, trade_fields()).await.expect("readable");
    let mut times = instants(&rows);
    times.sort_unstable();
    times
}

fn instants(rows: &RecordBatch) -> Vec<i64> {
    let times = rows.column(2).as_primitive::<TimestampNanosecondType>();
    times.values().to_vec()
}

#[tokio::test]
async fn rows_are_written_on_another_thread() {
    let folder = tempfile::tempdir().expect("folder");
    let mut out = sink(folder.path(), &[]);
    out.published().await.expect("known");
    let rows = [trades(&(0..200_000).collect::<Vec<_>>())];
    let mut publishing = out.publish(Epoch(1), &rows);
    assert!(
        poll!(&mut publishing).is_pending(),
        "the worker that asks has other things to do"
    );
    publishing.await.expect("taken");
    out.flush().await.expect("flushed");
    assert_eq!(times(folder.path()).await, (0..200_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_reason_of_a_failed_roll_is_told_again() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("out");
    let mut out = sink(&path, &[]);
    out.published().await.expect("known");
    fs::remove_dir_all(&path).expect("removed");
    fs::write(&path, "no folder").expect("written");
    let rows = [trades(&[1])];
    let first = out.publish(Epoch(1), &rows).await.expect_err("no folder");
    let second = out.publish(Epoch(2), &rows).await.expect_err("no folder");
    assert!(
        second.chain().contains(&first.chain()),
        "{}",
        second.chain()
    );
}

#[tokio::test]
async fn a_roll_is_finished_by_age_while_nothing_comes() {
    let folder = tempfile::tempdir().expect("folder");
    let mut out = sink(folder.path(), &[("rolling.interval", "3 s")]);
    out.publish(Epoch(1), &[trades(&[1])]).await.expect("taken");
    out.publish(Epoch(2), &[]).await.expect("taken");
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    let begun = Instant::now();
    while names(folder.path()) != ["job-shard0-00000001-00000002.parquet"] {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{:?}",
            names(folder.path())
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(out.published().await.expect("known"), Epoch(2));
    out.publish(Epoch(2), &[trades(&[2])])
        .await
        .expect("known already");
    out.publish(Epoch(3), &[trades(&[3])]).await.expect("taken");
    drop(out);
    assert_eq!(times(folder.path()).await, [1]);
}

#[tokio::test]
async fn owners_of_one_name_share_a_folder_and_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let (first, second) = (Owner::unique("job", 0), Owner::unique("job", 0));
    assert_ne!(first, second);
    let mut one = sink_of(&first, folder.path());
    one.publish(Epoch(1), &[trades(&[1])]).await.expect("taken");
    let mut other = sink_of(&second, folder.path());
    assert_eq!(other.published().await.expect("known"), Epoch(0));
    other
        .publish(Epoch(1), &[trades(&[10])])
        .await
        .expect("taken");
    other.flush().await.expect("flushed");
    one.flush().await.expect("its file is untouched");
    assert_eq!(times(folder.path()).await, [1, 10]);
    other
        .publish(Epoch(2), &[trades(&[11])])
        .await
        .expect("taken");
    other.flush().await.expect("flushed");
    let mut again = sink_of(&first, folder.path());
    assert_eq!(again.published().await.expect("known"), Epoch(1));
}

#[tokio::test]
async fn what_only_looks_like_its_own_is_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let foreign = [
        ".job-shard0-.parquet.tmp",
        ".job-shard0-start-0123456789abcdef-shard0-start-0123456789abcdef/00000001_0.parquet.tmp",
        ".other-shard0-start-0123456789abcdef/00000001_0.parquet.tmp",
        ".job-shard0-00000001-x-shard0-00000001.parquet.tmp",
        "job-shard0-00000001-x-shard0-00000001-00000009.parquet",
    ];
    for name in foreign {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "foreign").expect("written");
    }
    fs::write(
        folder.path().join(".job-shard0-00000001_2.parquet.tmp"),
        "own",
    )
    .expect("written");
    let own = folder.path().join(".job-shard0-start-0123456789abcdef");
    fs::create_dir(&own).expect("made");
    fs::write(own.join("00000001_0.parquet.tmp"), "own").expect("written");
    let mut out = sink(folder.path(), &[]);
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    drop(out);
    assert!(!own.exists());
    let mut left = names(folder.path());
    // The random part of what only looks like the folder of a start is not shown.
    left.retain(|name| !name.contains("-start"));
    let plain = foreign.iter().filter(|name| !name.contains("-start-"));
    assert_eq!(left, plain.copied().collect::<Vec<_>>());
    let there = |name: &&str| folder.path().join(name).exists();
    assert_eq!(foreign.iter().filter(|name| there(name)).count(), 5);
}

/// How many files below a folder this process has open.
fn open_files(folder: &Path) -> usize {
    let folder = folder.canonicalize().expect("a path");
    let open = fs::read_dir("/proc/self/fd").expect("open files");
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(&folder))
        .count()
}

#[tokio::test]
async fn a_roll_of_many_days_has_few_files_open() {
    let folder = tempfile::tempdir().expect("folder");
    let options = [("partition", "date")];
    let days: Vec<i64> = (0..100).map(|day| day * DAY).collect();
    // The first days come again when their files are complete, and not in order.
    let again: Vec<i64> = [3, 1, 2, 3]
        .iter()
        .enumerate()
        .map(|(i, day)| day * DAY + 1 + i as i64)
        .collect();
    let mut out = sink(folder.path(), &options);
    out.publish(Epoch(1), &[trades(&days)])
        .await
        .expect("taken");
    assert_eq!(open_files(folder.path()), 32);
    out.publish(Epoch(2), &[trades(&again)])
        .await
        .expect("taken");
    assert_eq!(open_files(folder.path()), 32);
    let visible = |name: &String| !name.starts_with('.');
    assert!(
        !names(folder.path()).iter().any(visible),
        "all days appear together"
    );
    // Killed while the roll grew.
    std::mem::forget(out);
    let mut out = sink(folder.path(), &options);
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    assert!(names(folder.path()).is_empty());
    out.publish(Epoch(1), &[trades(&days)])
        .await
        .expect("taken");
    out.publish(Epoch(2), &[trades(&again)])
        .await
        .expect("taken");
    out.flush().await.expect("flushed");
    let mut expected = [days, again].concat();
    expected.sort_unstable();
    assert_eq!(times(folder.path()).await, expected);
    let finished = names(folder.path());
    let second = "date=1970-01-02/job-shard0-00000001-00000002_1.parquet";
    assert_eq!(finished.len(), 103);
    assert!(finished.iter().any(|name| name == second), "{finished:?}");
    // Killed between the renames, before starts had folders: what the manifest names is completed.
    let parts = "date=1970-01-02/0\ndate=1970-01-02/1\n";
    let manifest = folder.path().join(".job-shard0-00000001-00000002.roll");
    fs::write(manifest, parts).expect("manifest");
    let day = folder.path().join("date=1970-01-02");
    let hidden = day.join(".job-shard0-00000001_1.parquet.tmp");
    fs::rename(folder.path().join(second), hidden).expect("renamed");
    let mut out = sink(folder.path(), &options);
    assert_eq!(out.published().await.expect("known"), Epoch(2));
    assert_eq!(names(folder.path()), finished);
}

#[tokio::test]
async fn small_batches_stay_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let mut out = sink(folder.path(), &[]);
    let rows: Vec<RecordBatch> = (0..20_000).map(|at| trades(&[at])).collect();
    out.publish(Epoch(1), &rows).await.expect("taken");
    out.flush().await.expect("flushed");
    let found = read(folder.path(), trade_fields()).await.expect("readable");
    assert_eq!(instants(&found), (0..20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_declared_table_is_read_before_it_has_rows() {
    let folder = tempfile::tempdir().expect("folder");
    let schema = arrow::datatypes::Schema::new(trade_fields());
    connectors::parquet::declare(folder.path(), &schema).expect("declared");
    connectors::parquet::declare(folder.path(), &schema).expect("once");
    let rows = read(folder.path(), trade_fields()).await.expect("readable");
    assert_eq!(rows.num_rows(), 0);
    let mut out = sink(folder.path(), &[]);
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    out.publish(Epoch(1), &[trades(&[1])]).await.expect("taken");
    out.flush().await.expect("flushed");
    assert_eq!(times(folder.path()).await, [1]);
}
