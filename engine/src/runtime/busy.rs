//! How long a step works, at next to no cost: of many messages one is timed and stands for all of
//! them. It is a figure for people; nothing is decided by it, so rows do not depend on it.

use std::time::Duration;

use tokio::time::Instant;

/// One message of so many is timed.
const EACH: u32 = 32;

/// The time of one step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    messages: u32,
    time: Duration,
}

impl Busy {
    /// Does the work of a message.
    pub(super) fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.messages = self.messages.wrapping_add(1);
        if !self.messages.is_multiple_of(EACH) {
            return work();
        }
        let started = Instant::now();
        let done = work();
        self.time += started.elapsed() * EACH;
        done
    }

    /// The time so far, about, since this start of the job.
    pub(super) fn time(self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_stands_for_many() {
        let mut busy = Busy::default();
        let nap = Duration::from_millis(1);
        for _ in 0..2 * EACH {
            busy.during(|| std::thread::sleep(nap));
        }
        assert!(busy.time() >= nap * 2 * EACH, "{busy:?}");
        let idle = (0..EACH - 1).fold(Busy::default(), |mut idle, _| {
            idle.during(|| ());
            idle
        });
        assert_eq!(idle.time(), Duration::ZERO);
    }
}
