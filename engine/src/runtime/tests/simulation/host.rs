//! What the runtime takes from its host, time and tasks, in both worlds: tokio's in other tests, the
//! simulated ones in a simulation.

use std::ops::Add;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::executor;

/// As tokio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum Instant {
    Real(tokio::time::Instant),
    Simulated(Duration),
}

impl Instant {
    pub(in crate::runtime) fn now() -> Self {
        match executor::under_way() {
            true => Self::Simulated(executor::now()),
            false => Self::Real(tokio::time::Instant::now()),
        }
    }
}

impl Instant {
    pub(in crate::runtime) fn elapsed(self) -> Duration {
        match self {
            Self::Real(since) => since.elapsed(),
            Self::Simulated(since) => executor::now().saturating_sub(since),
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        match self {
            Self::Real(at) => Self::Real(at + duration),
            Self::Simulated(at) => Self::Simulated(at + duration),
        }
    }
}

/// As tokio's.
pub(in crate::runtime) async fn sleep_until(until: Instant) {
    match until {
        Instant::Real(until) => tokio::time::sleep_until(until).await,
        Instant::Simulated(until) => executor::Sleep::until(until).await,
    }
}

/// As tokio's.
pub(in crate::runtime) async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

/// As tokio's, of the behaviour that the runtime asks for.
pub(in crate::runtime) enum Interval {
    Real(tokio::time::Interval),
    Simulated { period: Duration, next: Duration },
}

/// As tokio's.
pub(in crate::runtime) fn interval(period: Duration) -> Interval {
    match executor::under_way() {
        true => Interval::Simulated {
            period,
            next: executor::now(),
        },
        false => Interval::Real(tokio::time::interval(period)),
    }
}

impl Interval {
    pub(in crate::runtime) fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        assert_eq!(behavior, MissedTickBehavior::Delay);
        if let Self::Real(interval) = self {
            interval.set_missed_tick_behavior(behavior);
        }
    }

    pub(in crate::runtime) fn reset(&mut self) {
        match self {
            Self::Real(interval) => interval.reset(),
            Self::Simulated { period, next } => *next = executor::now() + *period,
        }
    }

    /// As tokio's, which says when the tick was due.
    pub(in crate::runtime) async fn tick(&mut self) -> Option<tokio::time::Instant> {
        match self {
            Self::Real(interval) => Some(interval.tick().await),
            Self::Simulated { period, next } => {
                executor::Sleep::until(*next).await;
                *next = executor::now() + *period;
                None
            }
        }
    }
}

/// A task that ended without a result.
#[derive(Debug)]
pub(in crate::runtime) struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// As tokio's.
pub(in crate::runtime) enum JoinSet<T> {
    Real(tokio::task::JoinSet<T>),
    Simulated(Vec<u64>, FuturesUnordered<oneshot::Receiver<T>>),
}

impl<T: Send + 'static> JoinSet<T> {
    pub(in crate::runtime) fn new() -> Self {
        match executor::under_way() {
            true => Self::Simulated(vec![], FuturesUnordered::new()),
            false => Self::Real(tokio::task::JoinSet::new()),
        }
    }

    pub(in crate::runtime) fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        match self {
            Self::Real(tasks) => {
                tasks.spawn(task);
            }
            Self::Simulated(numbers, outcomes) => {
                let (done, outcome) = oneshot::channel();
                outcomes.push(outcome);
                numbers.push(executor::spawn(async move {
                    let _ = done.send(task.await);
                }));
            }
        }
    }

    pub(in crate::runtime) async fn join_next(&mut self) -> Option<Result<T, Broken>> {
        match self {
            Self::Real(tasks) => {
                let next = tasks.join_next().await?;
                Some(next.map_err(|error| Broken(error.to_string())))
            }
            Self::Simulated(_, outcomes) => {
                let next = outcomes.next().await?;
                Some(next.map_err(|error| Broken(error.to_string())))
            }
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        if let Self::Simulated(numbers, _) = self {
            numbers.iter().copied().for_each(executor::give_up);
        }
    }
}

/// As tokio's.
pub(in crate::runtime) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if executor::under_way() {
        executor::spawn(task);
    } else {
        #[expect(clippy::disallowed_methods, reason = "it stands for the runtime's own")]
        tokio::spawn(task);
    }
}
