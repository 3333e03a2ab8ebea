//! Waiting between attempts: exponential, with jitter, up to a cap; and saying an outage once.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::Waiting;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Doubles the wait with every failed attempt. Each wait is drawn from the upper half of its
/// step, so that many clients do not come back at the same moment.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempts: u32,
    random: SmallRng,
}

impl Backoff {
    /// Waits of about `first`, doubling up to `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        let seed = RandomState::new().hash_one(std::process::id());
        Self {
            first,
            cap,
            attempts: 0,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// How long to wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let doublings = self.attempts.min(20);
        self.attempts = self.attempts.saturating_add(1);
        let step = self.first.saturating_mul(1 << doublings).min(self.cap);
        step.mul_f64(self.random.random_range(0.5..=1.0))
    }

    /// Failed attempts since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The attempt succeeded: the next wait is short again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Whether a peer answers; says so in the log once when that changes.
#[derive(Debug)]
pub struct Health {
    peer: String,
    down: AtomicBool,
    waiting: Waiting,
}

impl Health {
    /// A peer that is taken to answer, under the name that the log shows. An outage is told at
    /// `waiting` as well, for the status of the job.
    #[must_use]
    pub fn new(peer: String, waiting: Waiting) -> Self {
        waiting.clear();
        Self {
            peer,
            down: AtomicBool::new(false),
            waiting,
        }
    }

    /// Where an outage is told.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// The peer does not answer.
    pub fn down(&self, reason: &str) {
        self.waiting.set(reason);
        if self.down.swap(true, Ordering::Relaxed) {
            tracing::debug!(peer = self.peer, reason, "still down");
        } else {
            tracing::warn!(peer = self.peer, reason, "does not answer, trying again");
        }
    }

    /// The peer answers.
    pub fn up(&self) {
        // The load keeps the common case free of a write to a shared cache line.
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            self.waiting.clear();
            tracing::info!(peer = self.peer, "answers again");
        }
    }

    /// Whether the peer is known not to answer.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for step in [100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.wait();
            let step = Duration::from_millis(step);
            assert!(
                wait >= step / 2 && wait <= step,
                "{wait:?} is not within the step {step:?}"
            );
        }
        assert_eq!(backoff.attempts(), 7);
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        backoff.attempts = u32::MAX;
        assert!(backoff.wait() <= Duration::from_mins(1));
    }

    #[test]
    fn health_remembers_the_last_change() {
        let health = Health::new("peer".to_owned(), Waiting::default());
        health.up();
        assert!(!health.is_down());
        health.down("refused");
        health.down("refused");
        assert!(health.is_down());
        assert_eq!(health.waiting().reason().as_deref(), Some("refused"));
        health.up();
        assert!(!health.is_down());
        assert_eq!(health.waiting().reason(), None);
    }
}
