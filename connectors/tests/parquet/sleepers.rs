//! Processes that sleep while another one takes over their job, and then wake.

use std::fs;
use std::path::Path;

use connectors::parquet::recorder;
use engine::{Epoch, ErrorKind, Result, Sink};

use super::{names, read, recorded, sink};
use crate::tables::{DAY, owner, trade_fields, trades};

/// A sink that has taken an epoch, which grows.
async fn sleeper(folder: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut out = sink(folder, options);
    let rows = [trades(&[1, DAY + 1])];
    out.publish(Epoch(1), &rows).await.expect("taken");
    out
}

#[track_caller]
fn refused(result: Result<()>) {
    let error = result.expect_err("another has taken over");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.chain();
    assert!(
        text.contains("another process has taken over this job")
            && text.contains("this one ends and has changed nothing"),
        "{text}"
    );
}

/// The successor publishes the sleeper's epoch with one more; all rows must be there once.
async fn goes_on(folder: &Path, mut successor: Box<dyn Sink>) {
    let rows = [trades(&[1, DAY + 1])];
    successor.publish(Epoch(1), &rows).await.expect("taken");
    let rows = [trades(&[2])];
    successor.publish(Epoch(2), &rows).await.expect("taken");
    successor.flush().await.expect("flushed");
    assert_eq!(successor.published().await.expect("known"), Epoch(2));
    drop(successor);
    let rows = read(folder, trade_fields()).await.expect("readable");
    assert_eq!(rows.num_rows(), 3);
    let hidden = fs::read_dir(folder).expect("folder").flatten();
    let hidden = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[tokio::test]
async fn one_whose_roll_grows_publishes_nothing() {
    for options in [&[][..], &[("partition", "date")]] {
        let folder = tempfile::tempdir().expect("folder");
        let mut zombie = sleeper(folder.path(), options).await;
        let mut successor = sink(folder.path(), options);
        assert_eq!(successor.published().await.expect("known"), Epoch(0));
        // It wakes before its successor has a file, and tells why at every call.
        refused(zombie.flush().await);
        refused(zombie.published().await.map(|_| ()));
        let rows = [trades(&[9])];
        refused(zombie.publish(Epoch(2), &rows).await);
        goes_on(folder.path(), successor).await;
        drop(zombie);
        assert!(
            names(folder.path())
                .iter()
                .all(|name| !name.starts_with('.'))
        );
    }
}

#[tokio::test]
async fn one_that_wakes_late_does_not_touch_what_its_successor_writes() {
    let folder = tempfile::tempdir().expect("folder");
    let mut zombie = sleeper(folder.path(), &[]).await;
    let mut successor = sleeper(folder.path(), &[]).await;
    let growing = names(folder.path());
    assert_eq!(growing, [".job-shard0-start/00000001_0.parquet.tmp"]);
    refused(zombie.flush().await);
    drop(zombie);
    assert_eq!(names(folder.path()), growing);
    // It goes on with the file that grows.
    successor.published().await.expect("known");
    goes_on(folder.path(), successor).await;
}

#[tokio::test]
async fn one_that_begins_a_file_cannot() {
    let folder = tempfile::tempdir().expect("folder");
    let mut idle = sink(folder.path(), &[]);
    assert_eq!(idle.published().await.expect("known"), Epoch(0));
    // A day that its roll did not have.
    let options = [("partition", "date")];
    let mut growing = sleeper(folder.path(), &options).await;
    refused(idle.publish(Epoch(1), &[trades(&[1])]).await);
    let mut successor = sink(folder.path(), &options);
    assert_eq!(successor.published().await.expect("known"), Epoch(0));
    let rows = [trades(&[5 * DAY])];
    refused(growing.publish(Epoch(2), &rows).await);
    assert!(!folder.path().join("date=1970-01-06").exists());
    goes_on(folder.path(), successor).await;
}

#[tokio::test]
async fn one_that_records_stops_as_well() {
    let folder = tempfile::tempdir().expect("folder");
    let (schema, rows) = recorded();
    let recorder = || {
        let recorder = recorder::recorder(folder.path(), "trades", &owner(), &schema);
        recorder.expect("a sink")
    };
    let mut zombie = recorder();
    zombie.publish(Epoch(1), &rows).await.expect("taken");
    let mut successor = recorder();
    assert_eq!(successor.published().await.expect("known"), Epoch(0));
    successor.publish(Epoch(1), &rows).await.expect("taken");
    refused(zombie.flush().await);
    successor.flush().await.expect("flushed");
    drop((zombie, successor));
    let found = read(folder.path(), trade_fields()).await;
    assert_eq!(found.expect("readable").num_rows(), 2);
    assert_eq!(names(folder.path()).len(), 2);
}
