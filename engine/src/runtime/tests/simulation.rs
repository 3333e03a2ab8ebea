//! A deterministic simulation: the real intake, runtime, recovery and log in a world where time, the
//! order of tasks and every misfortune are drawn from a seed.
//!
//! A job reads three splits and writes to sinks that put out each epoch, several epochs at once, or
//! rows as they come, and in every other seed by the transaction that commits it. The store refuses,
//! is slow, and denies puts that it made; so do the source, the sinks and the broker, which also
//! leaves open what became of a transaction; the clock jumps; the process dies at any of its calls,
//! at any time, is asked to stop, or sleeps while another takes its place, and wakes. It is started
//! again until it has finished, and then everything must be as in a run that nothing disturbed:
//! rows, order, digests and sums.
//!
//! `SEEDS=5000` runs so many seeds; one that fails is named and runs again alone, telling what
//! happens, with `SEED=<seed>`.

mod broker;
mod ends;
mod executor;
mod faults;
pub(in crate::runtime) mod host;
mod starts;
mod store;
mod town;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub(in crate::runtime) use executor::under_way;

use super::*;
use executor::{below, here, kill, note, put_to_sleep, simulate, sleep, spawn, wake, within};
use faults::{Faults, death};
use town::{Town, nothing_lacks};

/// Seeds of each test, unless `SEEDS` says otherwise (`make test` runs more): few enough to be
/// run after every edit.
const SEEDS: u64 = 40;

/// How a job ended, and how many turns that took.
struct End {
    status: Status,
    turns: u64,
}

/// A process that sleeps or has woken again, while another runs its job.
struct Sleeper {
    process: u64,
    job: Job,
}

/// The processes of a job, one after the other.
struct Story<'a> {
    town: &'a Town,
    processes: u64,
    sleepers: Vec<Sleeper>,
    /// Whether somebody asks for savepoints now and then.
    saves: bool,
}

impl<'a> Story<'a> {
    fn of(town: &'a Town, saves: bool) -> Self {
        Self {
            town,
            processes: 0,
            sleepers: vec![],
            saves,
        }
    }
    fn next(&mut self) -> (u64, Job) {
        self.processes += 1;
        (self.processes, self.town.start(self.processes))
    }

    /// Whatever ends a job, only another that runs it ends it with an error.
    fn ended(&self, outcome: crate::Result<()>) {
        if let Err(error) = outcome {
            let said = error.chain();
            assert!(said.contains("another process"), "{said}");
            assert!(!self.sleepers.is_empty(), "alone: {said}");
            note(|| said);
        }
    }

    /// A process: it ends by itself, is stopped or killed, or falls asleep.
    async fn live(&mut self) {
        let (process, mut job) = self.next();
        self.wake_some();
        if self.saves && below(2) == 0 {
            self.ask_for_savepoint(process, &job);
        }
        let end = Duration::from_micros(below(200_000) * (1 + below(20)));
        let how = below(6);
        tokio::select! {
            biased;
            () = death(process) => {}
            () = sleep(end) => match how {
                0 | 1 => self.stop(process, &mut job).await,
                2 => {
                    within(process, || note(|| "falls asleep".to_owned()));
                    put_to_sleep(process);
                    return self.sleepers.push(Sleeper { process, job });
                }
                _ => within(process, || note(|| "is killed".to_owned())),
            },
            outcome = job.wait() => self.ended(outcome),
        }
        within(process, || note(|| format!("was {:?}", job.status().state)));
        kill(process);
    }

    fn ask_for_savepoint(&self, process: u64, job: &Job) {
        let (savepointer, after) = (job.savepointer(), Duration::from_micros(below(300_000)));
        let (graph, kept) = (self.town.graph(), Arc::clone(&self.town.savepoint));
        within(process, || {
            spawn(async move {
                sleep(after).await;
                Town::keep_savepoint(savepointer, graph, kept).await;
            });
        });
    }

    async fn stop(&mut self, process: u64, job: &mut Job) {
        within(process, || note(|| "is asked to stop".to_owned()));
        job.stop();
        tokio::select! {
            biased;
            () = death(process) => {}
            () = sleep(Duration::from_secs(20)) => panic!("a stop must end"),
            outcome = job.wait() => self.ended(outcome),
        }
    }

    /// Some of those that sleep wake while this process lives.
    fn wake_some(&self) {
        for sleeper in &self.sleepers {
            if below(3) == 0 {
                let (process, after) = (sleeper.process, Duration::from_micros(below(400_000)));
                spawn(async move {
                    sleep(after).await;
                    note(|| format!("{process} wakes"));
                    wake(process);
                });
            }
        }
    }

    /// Runs to the end without a fault, beside those that have woken or wake now.
    async fn finish(&mut self) -> Status {
        here(|world| world.faults.calm());
        self.wake_some();
        // Each of the others may take over once.
        for _ in 0..self.sleepers.len() + 2 {
            let (process, mut job) = self.next();
            tokio::select! {
                biased;
                () = sleep(Duration::from_mins(10)) => panic!("it must finish: {:?}", job.status()),
                outcome = job.wait() => self.ended(outcome),
            }
            kill(process);
            if job.status().state == State::Finished {
                return job.status();
            }
        }
        panic!("it is always another that runs the job")
    }

    /// All that still sleep wake when everything is over: they change nothing, and end.
    async fn wake_all(&mut self) {
        for Sleeper { process, mut job } in std::mem::take(&mut self.sleepers) {
            wake(process);
            tokio::select! {
                biased;
                () = sleep(Duration::from_mins(1)) => {
                    let died = here(|world| world.faults.is_dead(process));
                    assert!(died, "{process} does not end: {:?}", job.status());
                }
                outcome = job.wait() => if let Err(error) = outcome {
                    assert!(error.chain().contains("another process"), "{}", error.chain());
                },
            }
            kill(process);
        }
    }
}

/// Processes that are disturbed, and one that runs to the end.
async fn lives(mut story: Story<'_>) -> Status {
    here(|world| world.faults = Faults::draw(world));
    note(|| here(|world| format!("{:?}", world.faults)));
    for _ in 0..below(7) {
        story.live().await;
    }
    let mut status = story.finish().await;
    story.town.check(&status);
    if !story.sleepers.is_empty() || below(8) == 0 {
        story.wake_all().await;
        status = story.finish().await;
        story.town.check(&status);
    }
    status
}

/// A job that is disturbed, to its end.
fn disturbed(town: &Town, seed: u64, told: bool) -> End {
    simulate(seed, Faults::none(told), async {
        let status = lives(Story::of(town, false)).await;
        let turns = executor::turns();
        End { status, turns }
    })
}

/// The same job, which nothing disturbs.
fn undisturbed(seed: u64, idle: Option<Duration>) -> (Town, Status) {
    let town = Town::new(seed, idle);
    let status = simulate(seed, Faults::none(false), async {
        Story::of(&town, false).finish().await
    });
    town.check(&status);
    (town, status)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not '{text}'")))
}

/// Runs the seeds, or the one that is asked for.
fn seeds(mut run: impl FnMut(u64, bool)) {
    if let Some(seed) = number("SEED") {
        return run(seed, true);
    }
    for seed in 0..number("SEEDS").unwrap_or(SEEDS) {
        let run = AssertUnwindSafe(|| run(seed, false));
        if let Err(reason) = catch_unwind(run) {
            eprintln!("seed {seed} fails; it runs again alone with SEED={seed}");
            resume_unwind(reason);
        }
    }
}

/// No split is ever idle and no row too far ahead, so what is late, and every order, follows from
/// the rows alone.
#[test]
fn a_disturbed_job_ends_as_one_that_was_not() {
    seeds(|seed, told| {
        let town = Town::new(seed, None);
        let end = disturbed(&town, seed, told);
        let (other, calm) = undisturbed(seed, None);
        assert_eq!(end.status.digests, calm.digests);
        assert_eq!(end.status.tables[0].counts, calm.tables[0].counts);
        nothing_lacks("late", &town.late.rows(), &other.late.rows());
        nothing_lacks("late", &other.late.rows(), &town.late.rows());
        nothing_lacks("out", &town.wire.rows(), &other.out.rows());
    });
}

/// Here splits fall idle, and rows come from the future of a clock that is wrong: so what becomes of
/// a row depends on what happened. But all agree on it: the sums, the digests, what is published,
/// and a replay.
#[test]
fn what_was_decided_before_a_kill_holds_after_it() {
    seeds(|seed, told| {
        let idle = Duration::from_millis(3 + seed % 40);
        disturbed(&Town::new(seed, Some(idle)), seed, told);
    });
}

/// Whoever goes back to a savepoint has what was out then, and gets all that follows once more; here
/// too it does not matter what happens before and after.
#[test]
fn a_start_from_a_savepoint_ends_as_if_nothing_had_been_after_it() {
    let mut taken = 0;
    seeds(|seed, told| {
        let idle = (seed % 4 == 3).then(|| Duration::from_millis(3 + seed % 40));
        let town = Town::new(seed, idle);
        simulate(seed, Faults::none(told), async {
            lives(Story::of(&town, true)).await;
        });
        let savepoint = town.savepoint.lock().unwrap().take();
        let Some(savepoint) = savepoint else { return };
        taken += 1;
        let (back, status) = simulate(seed ^ 0xff_0000, Faults::none(told), async {
            let back = town.back_at(savepoint).await;
            let status = lives(Story::of(&back, true)).await;
            (back, status)
        });
        if idle.is_none() {
            let (other, calm) = undisturbed(seed, None);
            assert_eq!(status.digests, calm.digests);
            assert_eq!(status.tables[0].counts, calm.tables[0].counts);
            nothing_lacks("late", &back.late.rows(), &other.late.rows());
            nothing_lacks("late", &other.late.rows(), &back.late.rows());
        }
    });
    assert!(
        number("SEED").is_some() || taken > 10,
        "only {taken} savepoints"
    );
}

/// A seed that did not repeat would be of no use.
#[test]
fn a_seed_repeats_everything() {
    for seed in 0..12 {
        let run = || disturbed(&Town::new(seed, None), seed, false);
        let (first, second) = (run(), run());
        assert_eq!(first.turns, second.turns, "seed {seed}");
        assert_eq!(first.status.committed, second.status.committed);
    }
}
