//! The wish that a job stops, and how long it may then take.

use std::time::Duration;

use tokio::sync::watch;

use super::timer::{Instant, sleep_until};

/// How long what is outside may take to answer once the job was asked to stop. What hangs in a
/// unit test hangs for good, so there it is given less.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 600 } else { 3_000 });
/// The least that it is given, however late it is asked.
const LEAST: Duration = Duration::from_millis(if cfg!(test) { 400 } else { 2_000 });

/// Whether and when a job was asked to stop. A handle of the job that is gone asks as well.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<Instant>>);

/// The other end.
#[derive(Debug)]
pub(super) struct Stopper(watch::Sender<Option<Instant>>);

impl Stopper {
    /// Asks; the first time counts.
    pub(super) fn stop(&self) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert_with(Instant::now);
            first
        });
    }
}

impl Stop {
    /// Both ends.
    pub(super) fn channel() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(None);
        (Stopper(sender), Self(receiver))
    }

    /// Whether the job was asked to stop.
    pub(super) fn asked(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// Waits until the job is asked to stop.
    pub(super) async fn wait(mut self) {
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Waits until the job was asked to stop so long ago that nothing more is waited for. The
    /// instant is found once and kept in `until`.
    pub(super) async fn overdue(&self, until: &mut Option<Instant>) {
        self.clone().wait().await;
        let asked = *self.0.borrow();
        let now = Instant::now();
        let end = asked.unwrap_or(now) + GRACE;
        let until = until.get_or_insert_with(|| end.max(now + LEAST));
        sleep_until(*until).await;
    }
}
