//! When a hub makes its next frames: a timer for that which keeps to the time.
//!
//! The runtime's own counts whole milliseconds and waits in whole milliseconds: two become three or
//! four. Here a thread sleeps until the next task is due, to a tenth of one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Frames of a channel are at least so far apart, so that rows that come together go together.
const LEAST: Duration = Duration::from_millis(2);
/// Nobody waits for company any longer.
const MOST: Duration = Duration::from_millis(5);
/// What a reader costs a frame, above all a call into the system (3 µs), five times: so a core is
/// busy with a stream's frames a fifth of its time.
const EACH: Duration = Duration::from_micros(15);

/// How far apart the frames of a stream are that has so many readers.
pub(super) fn apart(readers: usize) -> Duration {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    EACH.saturating_mul(readers).clamp(LEAST, MOST)
}

/// The timer; its thread ends with it.
#[derive(Debug)]
pub(super) struct Metronome(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    due: Mutex<Due>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Due {
    /// By when they are due, and a number that tells them apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever is due, until the end.
    fn run(&self) {
        let mut due = self.lock();
        while !due.ended {
            let now = Instant::now();
            let next = due.sleepers.first_entry();
            let wait = next.map(|next| match next.key().0.checked_duration_since(now) {
                None | Some(Duration::ZERO) => {
                    next.remove().wake();
                    Duration::ZERO
                }
                Some(wait) => wait,
            });
            due = match wait {
                Some(Duration::ZERO) => due,
                Some(wait) => {
                    let waited = self.changed.wait_timeout(due, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(due);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Metronome {
    /// A timer with a thread of its own.
    pub(super) fn start() -> Arc<Self> {
        let shared = Arc::new(Shared::default());
        let running = Arc::clone(&shared);
        std::thread::spawn(move || running.run());
        Arc::new(Self(shared))
    }

    /// Waits until an instant.
    pub(super) fn until(&self, at: Instant) -> Until<'_> {
        Until {
            shared: &self.0,
            at,
            number: None,
        }
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

/// Waits until an instant.
#[derive(Debug)]
pub(super) struct Until<'a> {
    shared: &'a Shared,
    at: Instant,
    /// Its number among the sleepers, once it is one.
    number: Option<u64>,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        let mut due = self.shared.lock();
        let number = *self.number.get_or_insert_with(|| {
            due.next += 1;
            due.next
        });
        let waker = context.waker().clone();
        due.sleepers.insert((self.at, number), waker);
        let first = due.sleepers.first_key_value();
        if first.is_some_and(|(key, _)| *key == (self.at, number)) {
            self.shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.lock().sleepers.remove(&(self.at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_readers_the_rarer_the_frames() {
        let apart = [0, 100, 200, 1_000, usize::MAX].map(|readers| apart(readers).as_micros());
        assert_eq!(apart, [2_000, 2_000, 3_000, 5_000, 5_000]);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_in_order_and_who_leaves_is_forgotten() {
        let metronome = Metronome::start();
        let now = Instant::now();
        let order = Mutex::new(vec![]);
        let wait = async |ms: u64| {
            metronome.until(now + Duration::from_millis(ms)).await;
            order.lock().expect("a list").push(ms);
        };
        tokio::join!(wait(30), wait(10), wait(20), wait(0));
        assert!(now.elapsed() >= Duration::from_millis(30));
        assert_eq!(*order.lock().expect("a list"), [0, 10, 20, 30]);
        let long = metronome.until(now + Duration::from_hours(1));
        let given_up = tokio::time::timeout(Duration::from_millis(10), long).await;
        assert!(given_up.is_err());
        assert_eq!(metronome.0.lock().sleepers.len(), 0);
    }
}
