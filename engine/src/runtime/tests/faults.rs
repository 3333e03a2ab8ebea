//! What a job does when a sink or the log does not answer, or fails.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::time::Instant;

use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::{Emit, Epoch};

/// What a sink does with rows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    /// Answers that it is unavailable.
    Refuses,
    /// Does not answer.
    Hangs,
    Fails,
}

/// Takes so many batches, after a moment each, and then is in a mood.
#[derive(Clone)]
struct MoodySink {
    emit: Emit,
    left: Arc<AtomicUsize>,
    mood: Mood,
    rows: Arc<Mutex<Vec<RecordBatch>>>,
    to: Collected,
}

impl MoodySink {
    fn new(emit: Emit, takes: usize, mood: Mood) -> Self {
        Self {
            emit,
            left: Arc::new(AtomicUsize::new(takes)),
            mood,
            rows: Arc::default(),
            to: Collected::default(),
        }
    }

    fn rows(&self) -> MutexGuard<'_, Vec<RecordBatch>> {
        self.rows.lock().unwrap()
    }
}

#[async_trait::async_trait]
impl Sink for MoodySink {
    fn emit(&self) -> Emit {
        self.emit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let left = self.left.load(Ordering::SeqCst);
        match self.mood {
            _ if left > 0 => self.left.store(left - 1, Ordering::SeqCst),
            Mood::Takes => {}
            Mood::Refuses => return Err(Error::unavailable("come back later")),
            Mood::Hangs => std::future::pending().await,
            Mood::Fails => return Err(Error::invalid("never again")),
        }
        match self.emit {
            Emit::Now => self.rows().extend(rows.iter().cloned()),
            Emit::AfterCommit => self.to.sink().publish(epoch, rows).await?,
        }
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        match self.emit {
            Emit::Now => Ok(Epoch(u64::MAX)),
            Emit::AfterCommit => self.to.sink().published().await,
        }
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An object store whose puts of objects with some ending, or whose lists, are refused.
#[derive(Debug, Default)]
struct MoodyStore {
    inner: InMemory,
    /// Everything that is put: there is no room for it.
    full: AtomicBool,
    /// Puts that were made, and of which that is denied, while it is above nought.
    lies: AtomicUsize,
    records: AtomicBool,
    snapshots: AtomicBool,
    lists: AtomicBool,
}

impl fmt::Display for MoodyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("moody")
    }
}

fn away() -> object_store::Error {
    object_store::Error::Generic {
        store: "moody",
        source: "the store is away".into(),
    }
}

#[async_trait::async_trait]
impl ObjectStore for MoodyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let refused = match location.as_ref().rsplit_once('.') {
            Some((_, "record")) => &self.records,
            Some((_, "snapshot")) => &self.snapshots,
            _ => return self.inner.put_opts(location, payload, options).await,
        };
        if refused.load(Ordering::SeqCst) {
            return Err(away());
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(object_store::Error::Generic {
                store: "moody",
                source: std::io::Error::from(std::io::ErrorKind::StorageFull).into(),
            });
        }
        let put = self.inner.put_opts(location, payload, options).await;
        let lie = |left: usize| left.checked_sub(1);
        match self
            .lies
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lie)
        {
            Ok(_) => Err(away()),
            Err(_) => put,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        if self.lists.load(Ordering::SeqCst) {
            return futures::stream::once(async { Err(away()) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn slow(source: &ScriptedSource) -> ScriptedSource {
    source.clone().pause(Duration::from_millis(1))
}

pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(
            since.elapsed() < Duration::from_mins(1),
            "{what} takes too long"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Stops a job that must not take long for it; what it leaves unsettled.
async fn stopped_soon(job: &mut Job) -> String {
    let since = Instant::now();
    job.stop();
    let ended = tokio::time::timeout(Duration::from_secs(20), job.wait()).await;
    ended.expect("a stop must end").unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(job.status().state, State::Stopped);
    job.status().unsettled.join("\n")
}

/// Every row, as symbol, time and price.
pub(super) fn distinct(rows: &[RecordBatch]) -> BTreeSet<(String, i64, u64)> {
    let mut all = BTreeSet::new();
    for rows in rows {
        let symbols = rows.column(0).as_string::<i32>();
        let times = rows.column(1).as_primitive::<TimestampNanosecondType>();
        let prices = rows.column(2).as_primitive::<Float64Type>();
        for row in 0..rows.num_rows() {
            let (symbol, price) = (symbols.value(row).to_owned(), prices.value(row).to_bits());
            all.insert((symbol, times.value(row), price));
        }
    }
    all
}

/// Runs to the end with well sinks: every row that was published once was also sent at once.
fn nothing_sent_at_once_is_lost(world: &World, before: &MoodySink, source: &ScriptedSource) {
    let well = MoodySink::new(Emit::Now, 0, Mood::Takes);
    let status = runtime().block_on(async {
        let targets: Vec<Box<dyn Sink>> = vec![world.out.sink(), Box::new(well.clone())];
        let mut job = world.start_with(source.clone(), targets, None, rows_between(700));
        job.wait().await.unwrap();
        job.status()
    });
    check_sums(world, &status);
    let mut sent = distinct(&before.rows());
    sent.extend(distinct(&well.rows()));
    let lost: Vec<_> = distinct(&world.out.rows())
        .difference(&sent)
        .cloned()
        .collect();
    assert!(lost.is_empty(), "{} rows: {:?}", lost.len(), lost.first());
}

#[test]
fn an_epoch_is_committed_when_the_rows_sent_at_once_are_written() {
    for takes in [0, 40] {
        let world = World::with(Arc::new(InMemory::new()), graph_of(&["out", "now"]));
        let source = source(50);
        let sink = MoodySink::new(Emit::Now, takes, Mood::Hangs);
        let runtime = runtime();
        runtime.block_on(async {
            let targets: Vec<Box<dyn Sink>> = vec![world.out.sink(), Box::new(sink.clone())];
            let mut job = world.start_with(slow(&source), targets, None, rows_between(700));
            let _ = tokio::time::timeout(Duration::from_millis(200), job.wait()).await;
            // The shard did not wait for the sink: it filled the channel.
            assert!(job.status().targets[1].rows > distinct(&sink.rows()).len() as u64 + 25);
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        nothing_sent_at_once_is_lost(&world, &sink, &source);
    }
}

#[test]
fn a_job_whose_last_rows_were_not_written_is_not_finished() {
    let world = World::with(Arc::new(InMemory::new()), graph_of(&["out", "now"]));
    let source = source(500);
    let sink = MoodySink::new(Emit::Now, 12, Mood::Fails);
    runtime().block_on(async {
        let targets: Vec<Box<dyn Sink>> = vec![world.out.sink(), Box::new(sink.clone())];
        let mut job = world.start_with(source.clone(), targets, None, rows_between(700));
        let error = job.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "never again");
        assert_eq!(job.status().state, State::Failed);
    });
    nothing_sent_at_once_is_lost(&world, &sink, &source);
}

#[test]
fn a_finished_job_publishes_what_a_failed_sink_lacks() {
    let world = World::new();
    let source = source(500);
    runtime().block_on(async {
        let sink = MoodySink {
            to: world.out.clone(),
            ..MoodySink::new(Emit::AfterCommit, 0, Mood::Fails)
        };
        let mut job = world.start_with(
            source.clone().pause(Duration::ZERO),
            vec![Box::new(sink)],
            None,
            rows_between(u64::MAX),
        );
        job.wait().await.unwrap_err();
        // Sinks that refuse until the stop do not let it say that it has finished.
        let sink = MoodySink {
            to: world.out.clone(),
            ..MoodySink::new(Emit::AfterCommit, 0, Mood::Refuses)
        };
        let target: Vec<Box<dyn Sink>> = vec![Box::new(sink)];
        let mut job = world.start_with(source.clone(), target, None, rows_between(u64::MAX));
        until("waiting", || job.status().waiting.contains_key("out")).await;
        let left = stopped_soon(&mut job).await;
        assert!(left.contains("at the next start"), "{left}");
        let mut job = world.start(source, false, u64::MAX);
        job.wait().await.unwrap();
        check_sums(&world, &job.status());
    });
}

#[test]
fn a_stop_does_not_wait_for_a_sink_that_refuses() {
    stop_and_start_again(Emit::AfterCommit, Mood::Refuses);
}

#[test]
fn a_stop_does_not_wait_for_a_sink_that_hangs() {
    stop_and_start_again(Emit::AfterCommit, Mood::Hangs);
}

#[test]
fn a_stop_does_not_wait_for_a_sink_that_refuses_rows_sent_at_once() {
    stop_and_start_again(Emit::Now, Mood::Refuses);
}

#[test]
fn a_stop_does_not_wait_for_a_sink_that_hangs_on_rows_sent_at_once() {
    stop_and_start_again(Emit::Now, Mood::Hangs);
}

fn stop_and_start_again(emit: Emit, mood: Mood) {
    let targets: &[&str] = match emit {
        Emit::Now => &["out", "moody"],
        Emit::AfterCommit => &["moody"],
    };
    let world = World::with(Arc::new(InMemory::new()), graph_of(targets));
    let source = source(50);
    let moody = |takes| MoodySink {
        to: world.out.clone(),
        ..MoodySink::new(emit, takes, mood)
    };
    let bound = |sink: &MoodySink| -> Vec<Box<dyn Sink>> {
        let sink: Box<dyn Sink> = Box::new(sink.clone());
        match emit {
            Emit::Now => vec![world.out.sink(), sink],
            Emit::AfterCommit => vec![sink],
        }
    };
    let first = moody(3);
    runtime().block_on(async {
        let start = |sink: &MoodySink| {
            world.start_with(slow(&source), bound(sink), None, rows_between(700))
        };
        let mut job = start(&first);
        until("the sink's mood", || first.left.load(Ordering::SeqCst) == 0).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = stopped_soon(&mut job).await;
        assert!(left.contains("moody did not take all its rows"), "{left}");
        let committed = job.status().committed;
        let contents = world.log().contents().await.unwrap();
        assert_eq!(contents.last(), committed);
        assert_eq!(left.contains("could not be committed"), emit == Emit::Now);
        // The next start stops as well, while it publishes what is committed.
        let second = moody(0);
        let mut job = start(&second);
        until("recovery", || job.status().committed == committed.next()).await;
        let before = job.status().targets[targets.len() - 1].rows;
        let goes_on = || job.status().targets[targets.len() - 1].rows > before;
        until("new rows", || emit == Emit::AfterCommit || goes_on()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = stopped_soon(&mut job).await;
        assert_ne!(left, "");
        assert!(second.rows().is_empty());
    });
    match emit {
        Emit::Now => nothing_sent_at_once_is_lost(&world, &first, &source),
        Emit::AfterCommit => {
            let status = runtime().block_on(async {
                let mut job = world.start(source, false, 700);
                job.wait().await.unwrap();
                job.status()
            });
            check_sums(&world, &status);
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_the_log() {
    let store = Arc::new(MoodyStore::default());
    let world = World::with(Arc::clone(&store) as Arc<dyn ObjectStore>, graph());
    let source = source(25);
    runtime().block_on(async {
        let mut job = world.start(slow(&source), false, 700);
        until("some commits", || job.status().committed.0 >= 3).await;
        store.records.store(true, Ordering::SeqCst);
        until("waiting", || job.status().waiting.contains_key("the log")).await;
        let left = stopped_soon(&mut job).await;
        let next = job.status().committed.next();
        assert!(
            left.contains(&format!(
                "epoch {next} and what followed could not be committed"
            )),
            "{left}"
        );
        assert!(left.contains("the store is away"), "{left}");
        // Nor does one that cannot be read.
        store.lists.store(true, Ordering::SeqCst);
        let mut job = world.start(slow(&source), false, 700);
        until("waiting", || job.status().waiting.contains_key("the log")).await;
        stopped_soon(&mut job).await;
        store.lists.store(false, Ordering::SeqCst);
        store.records.store(false, Ordering::SeqCst);
        let mut job = world.start(source, false, 700);
        job.wait().await.unwrap();
        assert!(job.status().waiting.is_empty());
        check_sums(&world, &job.status());
    });
}

#[test]
fn a_full_disk_pauses_the_job_and_is_told_until_there_is_room() {
    let store = Arc::new(MoodyStore::default());
    let world = World::with(Arc::clone(&store) as Arc<dyn ObjectStore>, graph());
    runtime().block_on(async {
        let mut job = world.start(slow(&source(25)), false, 300);
        until("some commits", || job.status().committed.0 >= 3).await;
        store.full.store(true, Ordering::SeqCst);
        let told = || job.status().waiting.get("the log").cloned();
        until("waiting", || told().is_some()).await;
        let reason = told().unwrap();
        assert!(
            reason.contains("the disk is full, free some space"),
            "{reason}"
        );
        // Nothing is committed meanwhile, and nothing of it is out.
        let (committed, out) = (job.status().committed, world.out.count());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            (job.status().committed, world.out.count()),
            (committed, out)
        );
        store.full.store(false, Ordering::SeqCst);
        ends_whole(&world, &mut job).await;
        assert!(job.status().waiting.is_empty());
    });
}

/// The job ends, and has put out what its sums and its digest say.
async fn ends_whole(world: &World, job: &mut Job) {
    job.wait().await.unwrap();
    let status = job.status();
    check_sums(world, &status);
    assert_eq!(digest_of(&world.out.rows()), status.digests.unwrap()[0]);
}

#[test]
fn a_store_that_denies_what_it_did_commits_nothing_twice() {
    let store = Arc::new(MoodyStore::default());
    let world = World::with(Arc::clone(&store) as Arc<dyn ObjectStore>, graph());
    runtime().block_on(async {
        // It lasts longer than what the store costs: an epoch grows while another waits.
        let slow = source(25).pause(Duration::from_millis(4));
        let mut job = world.start(slow, true, 300);
        for _ in 0..2 {
            let committed = job.status().committed.0;
            store.lies.store(2, Ordering::SeqCst);
            until("commits", || job.status().committed.0 > committed + 1).await;
        }
        ends_whole(&world, &mut job).await;
    });
}

#[test]
fn sources_wait_while_nothing_can_be_committed() {
    let store = Arc::new(MoodyStore::default());
    let world = World::with(
        Arc::clone(&store) as Arc<dyn ObjectStore>,
        graph_of(&["now"]),
    );
    let sink = MoodySink::new(Emit::Now, 0, Mood::Takes);
    runtime().block_on(async {
        let source = slow(&source(25));
        let mut job = world.start_with(source, vec![Box::new(sink)], None, rows_between(300));
        until("commits", || job.status().committed.0 > 2).await;
        store.records.store(true, Ordering::SeqCst);
        let arrived = || job.status().tables[0].counts.arrived;
        let mut before = 0;
        while arrived() > before {
            before = arrived();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(before < (SPLITS * ROWS / 2) as u64, "{before} rows came");
        store.records.store(false, Ordering::SeqCst);
        job.wait().await.unwrap();
        assert_eq!(
            job.status().tables[0].counts.arrived,
            (SPLITS * ROWS) as u64
        );
    });
}

#[test]
fn commits_go_on_while_snapshots_cannot_be_stored_or_the_log_not_be_cut() {
    for lists in [false, true] {
        let store = Arc::new(MoodyStore::default());
        let world = World::with(Arc::clone(&store) as Arc<dyn ObjectStore>, graph());
        let source = source(25);
        runtime().block_on(async {
            let mut job = world.start(slow(&source), false, 100);
            until("a commit", || job.status().committed.0 >= 1).await;
            let fault = if lists {
                &store.lists
            } else {
                &store.snapshots
            };
            fault.store(true, Ordering::SeqCst);
            let waiting = || job.status().waiting.keys().any(|who| who.contains("snaps"));
            until("waiting", waiting).await;
            let committed = job.status().committed.0;
            until("commits", || job.status().committed.0 > committed + 8).await;
            assert!(waiting());
            fault.store(false, Ordering::SeqCst);
            job.wait().await.unwrap();
            check_sums(&world, &job.status());
            assert!(job.status().waiting.is_empty());
            let contents = world.log().contents().await.unwrap();
            assert_eq!(contents.snapshots, [job.status().committed]);
            assert!(contents.records.len() < 5, "{contents:?}");
        });
    }
}

#[test]
fn a_log_that_lost_what_a_sink_holds_is_refused() {
    let world = World::new();
    runtime().block_on(async {
        world.start(source(25), false, 700).wait().await.unwrap();
        let older = World {
            store: Arc::new(InMemory::new()),
            ..world.clone()
        };
        let error = older.start(source(25), false, 700).wait().await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.chain().contains("the log has lost its end"),
            "{error}"
        );
    });
}
