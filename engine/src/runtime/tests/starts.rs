//! Starts over what an earlier one left: with other tables, other digests, moved outputs, or a
//! source that has forgotten; and what the status then tells.

use super::*;
use crate::error::Result;
use crate::sink::{Emit, Epoch};
use crate::source::{Polled, Position, Source, Split};
use crate::waiting::Waiting;

pub(super) async fn run_until_committed(job: &Job, epochs: u64) {
    while job.status().committed.0 < epochs {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_log_of_other_tables_is_refused_with_the_difference() {
    type Change = fn(&mut Input);
    let world = World::new();
    run_and_kill(&world, &source(25));
    let changes: [(Change, &str, &str); 3] = [
        (
            |input| {
                let mut fields = schema().fields().to_vec();
                fields[2] = Arc::new(Field::new("price", DataType::Int64, true));
                input.stream.schema = Arc::new(Schema::new(fields));
            },
            "'trades: reads price Float64'",
            "'trades: reads price Int64'",
        ),
        (
            |input| input.timing.advance_in_silence = true,
            "'trades: silence hold'",
            "'trades: silence advance'",
        ),
        (
            |input| input.archive = Some("recording".to_owned()),
            "'trades: no archive'",
            "'trades: archive 'recording''",
        ),
    ];
    for (change, before, after) in changes {
        let mut graph = Graph::clone(&world.graph);
        change(&mut graph.inputs[0]);
        let other = World {
            graph: Arc::new(graph),
            ..world.clone()
        };
        runtime().block_on(async {
            let error = other.start(source(25), false, 1).wait().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let said = error.to_string();
            assert!(said.contains(before) && said.contains(after), "{said}");
        });
    }
}

#[test]
fn a_digest_of_a_part_is_not_given() {
    let world = World::new();
    let start = |source: ScriptedSource, digests: bool| {
        let spec = JobSpec {
            graph: Arc::clone(&world.graph),
            commit_interval: Duration::from_millis(5),
            snapshot_after: rows_between(700),
            digests,
        };
        let bindings = world.bindings(Box::new(source));
        Job::start(spec, bindings, world.log(), Arc::new(SystemClock))
    };
    runtime().block_on(async {
        let slow = source(25).pause(Duration::from_millis(1));
        let mut job = start(slow, false);
        run_until_committed(&job, 3).await;
        job.stop();
        job.wait().await.unwrap();
        let mut job = start(source(25), true);
        job.wait().await.unwrap();
        let status = job.status();
        assert_eq!(status.state, State::Finished);
        assert!(status.digests.is_none(), "{:?}", status.digests);
        assert_eq!(status.targets[0].rows, world.out.count() as u64);
    });
}

/// Holds its rows back until it is told to put them out, as a growing file does.
#[derive(Default)]
pub(super) struct HoldingSink {
    to: Collected,
    held: Vec<(Epoch, Vec<RecordBatch>)>,
    out: Epoch,
}

impl HoldingSink {
    pub(super) fn to(to: &Collected) -> Self {
        Self {
            to: to.clone(),
            ..Self::default()
        }
    }
}

#[async_trait::async_trait]
impl Sink for HoldingSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        self.held.push((epoch, rows.to_vec()));
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        Ok(self.out)
    }

    async fn flush(&mut self) -> Result<()> {
        let mut to = self.to.sink();
        for (epoch, rows) in self.held.drain(..) {
            to.publish(epoch, &rows).await?;
            self.out = epoch;
        }
        Ok(())
    }
}

#[test]
fn rows_that_were_taken_away_after_a_stop_do_not_come_again() {
    let world = World::new();
    let start = |source: ScriptedSource, to: &Collected| {
        let sink = HoldingSink::to(to);
        world.start_with(source, vec![Box::new(sink)], None, rows_between(700))
    };
    let (first, second) = (Collected::default(), Collected::default());
    runtime().block_on(async {
        let mut job = start(source(25).pause(Duration::from_millis(1)), &first);
        run_until_committed(&job, 5).await;
        job.stop();
        job.wait().await.unwrap();
        assert!(first.count() > 0);
        // Whoever took the rows away left nothing that says which epochs were out.
        let mut job = start(source(25), &second);
        job.wait().await.unwrap();
        let mut rows = first.rows();
        rows.extend(second.rows());
        assert_eq!(digest_of(&rows), job.status().digests.unwrap()[0]);
    });
}

#[test]
fn what_a_start_publishes_again_is_put_out_where_it_is_much() {
    let (world, to) = (World::new(), Collected::default());
    let start = |epochs| {
        let source = source(25).pause(Duration::from_millis(1));
        let bound = Backlog {
            epochs,
            ..rows_between(u64::MAX)
        };
        world.start_with(source, vec![Box::new(HoldingSink::to(&to))], None, bound)
    };
    // Two starts and eight epochs are more than five.
    for (most, is_much) in [(u64::MAX, false), (10_000, false), (5, true)] {
        let runtime = runtime();
        runtime.block_on(async {
            let job = start(most);
            if is_much {
                faults::until("put out", || to.count() > 0).await;
            } else {
                faults::until("running", || job.status().state == State::Running).await;
                run_until_committed(&job, job.status().committed.0 + 4).await;
                assert_eq!(to.count(), 0);
            }
            assert_ne!(job.status().state, State::Finished);
            std::mem::forget(job);
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
    runtime().block_on(async {
        let mut job = start(u64::MAX);
        job.wait().await.unwrap();
        assert_eq!(digest_of(&to.rows()), job.status().digests.unwrap()[0]);
    });
}

#[test]
fn what_was_committed_of_a_source_that_forgets_is_kept() {
    let world = World::new();
    let source = source(25).not_repeatable();
    for kills in 1..=3 {
        let runtime = runtime();
        let committed = runtime.block_on(async {
            let slow = source.clone().pause(Duration::from_millis(1));
            let job = world.start(slow, false, if kills == 2 { 300 } else { u64::MAX });
            run_until_committed(&job, kills * 5).await;
            let committed = job.status().targets[0].rows;
            std::mem::forget(job);
            committed
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(committed > 0);
    }
    let before = world.out.count();
    let status = runtime().block_on(async {
        let mut job = world.start(source, false, 700);
        job.wait().await.unwrap();
        job.status()
    });
    let counts = status.tables[0].counts;
    // What was handed over and not committed before a kill is gone, and nothing else.
    assert!(counts.arrived < (SPLITS * ROWS) as u64, "{counts:?}");
    assert_eq!(
        counts.arrived,
        counts.accepted + counts.late + counts.future + counts.dead
    );
    assert!(world.out.count() > before);
    assert_eq!(world.late.count() as u64, counts.late);
    assert_eq!(
        world.out.count() as u64,
        counts.accepted - status.tables[0].rejected
    );
    assert_eq!(digest_of(&world.out.rows()), status.digests.unwrap()[0]);
}

/// Never has a row, and says why.
#[derive(Default)]
struct SilentSource(Waiting);

#[async_trait::async_trait]
impl Source for SilentSource {
    async fn splits(&mut self) -> Result<Vec<Split>> {
        Ok(vec![Split::new("p0")])
    }

    async fn seek(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Polled>> {
        self.0.set("its client connects again");
        std::future::pending().await
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn waiting(&self) -> Option<Waiting> {
        Some(self.0.clone())
    }
}

#[test]
fn what_a_source_waits_for_inside_its_client_is_in_the_status() {
    let world = World::new();
    let bindings = world.bindings(Box::new(SilentSource::default()));
    runtime().block_on(async {
        let interval = Duration::from_millis(5);
        let mut job = world.start_by(interval, bindings, rows_between(1));
        let reason = || job.status().waiting.remove("trades");
        let told = async {
            while reason().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told).await;
        told.expect("the status must tell");
        assert_eq!(reason().as_deref(), Some("its client connects again"));
        job.stop();
        job.wait().await.unwrap();
        assert!(job.status().waiting.is_empty());
    });
}
