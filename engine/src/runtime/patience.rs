//! Patience with what is outside: a call that finds it unavailable is made again with backoff.
//! That is told once in the log of the process, and shown in the status until it answers. A job
//! that is to stop does not wait: the call is made once more at most, and then given up.

use std::time::Duration;

use super::status::SharedStatus;
use super::stop::Stop;
use super::timer::{self, Instant};
use crate::error::{Error, ErrorKind, Result};

/// Patience with one source, one sink, or the log.
#[derive(Debug)]
pub(super) struct Patience {
    /// Who is waited for.
    name: String,
    status: SharedStatus,
    stop: Stop,
    /// Failures since it last answered, and what the last one was.
    failures: u32,
    reason: String,
    /// When a call is given up at the latest, once the job was asked to stop.
    until: Option<Instant>,
}

/// What became of a call.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// It was answered.
    Done(T),
    /// It was not; now is the time for the next.
    Again,
    /// It was not, and the job is to stop.
    GivenUp,
}

/// Makes a call until it is answered; `None` where it was given up because the job is to stop.
macro_rules! patiently {
    ($patience:expr, $call:expr) => {
        loop {
            match $patience.attempt($call).await? {
                $crate::runtime::patience::Attempt::Done(value) => break Some(value),
                $crate::runtime::patience::Attempt::Again => {}
                $crate::runtime::patience::Attempt::GivenUp => break None,
            }
        }
    };
}
pub(super) use patiently;

impl Patience {
    /// The status that it tells.
    pub(super) fn status(&self) -> &SharedStatus {
        &self.status
    }

    pub(super) fn new(name: &str, status: &SharedStatus, stop: &Stop) -> Self {
        Self {
            name: name.to_owned(),
            status: status.clone(),
            stop: stop.clone(),
            failures: 0,
            reason: String::new(),
            until: None,
        }
    }

    /// Makes a call and, where it fails as unavailable, waits until it is time for the next.
    /// Other errors are passed on.
    pub(super) async fn attempt<T>(
        &mut self,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Attempt<T>> {
        let outcome = tokio::select! {
            biased;
            outcome = call => outcome,
            () = self.stop.overdue(&mut self.until) => {
                Err(Error::unavailable("it has not answered in time"))
            }
        };
        match outcome {
            Ok(value) => {
                self.answered();
                Ok(Attempt::Done(value))
            }
            Err(error) if error.kind() != ErrorKind::Unavailable => Err(error),
            Err(error) => {
                self.failed(error.chain());
                if self.stop.asked() {
                    return Ok(Attempt::GivenUp);
                }
                tokio::select! {
                    biased;
                    () = timer::sleep(backoff(self.failures)) => {}
                    () = self.stop.clone().wait() => {}
                }
                Ok(Attempt::Again)
            }
        }
    }

    /// What tells it that the job is to stop.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Who is waited for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the last failure was.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    fn answered(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.status.lock().waiting.remove(&self.name);
            tracing::info!("{} answers again", self.name);
        }
    }

    fn failed(&mut self, reason: String) {
        if self.failures == 0 {
            tracing::warn!("waiting: {}: {reason}", self.name);
        }
        self.failures += 1;
        self.reason.clone_from(&reason);
        self.status.lock().waiting.insert(self.name.clone(), reason);
    }
}

/// Longer after each failure: 0.1 s, 0.2 s, … up to 10 s.
fn backoff(failures: u32) -> Duration {
    let wait = Duration::from_millis(100 << failures.saturating_sub(1).min(7));
    wait.min(Duration::from_secs(10))
}
