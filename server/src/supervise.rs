//! Watching a running job: ticks for the display, Ctrl-C and SIGTERM, a limit in time.

use std::time::Duration;

use engine::runtime::{Job, Status};
use engine::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use crate::exit::Failure;
use crate::terminal;

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let failed = |error| Error::internal("signals cannot be received").caused_by(error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What happened next.
enum Event {
    Ended(Result<()>),
    Asked,
    Due,
    Tick,
}

/// Waits for the end of a job. The first signal, or the limit, stops it; the second leaves it
/// at once. `tick` sees the status every so often, and once in the end; what a stop could not
/// settle is said.
pub(crate) async fn supervise(
    job: &mut Job,
    limit: Option<Duration>,
    every: Duration,
    mut tick: impl FnMut(&Status),
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::run(&error))?;
    let mut ticks = interval(every);
    let due = Instant::now() + limit.unwrap_or_default();
    let mut asked = false;
    loop {
        let event = tokio::select! {
            outcome = job.wait() => Event::Ended(outcome),
            () = signals.next() => Event::Asked,
            () = sleep_until(due), if limit.is_some() && !asked => Event::Due,
            _ = ticks.tick() => Event::Tick,
        };
        match event {
            Event::Ended(outcome) => {
                let status = job.status();
                tick(&status);
                terminal::clear_status();
                for note in &status.unsettled {
                    terminal::say(note);
                }
                return outcome.map_err(|error| Failure::run(&error));
            }
            Event::Asked if asked => {
                let message = "stopped at once: the next start repeats what was not committed";
                return Err(Failure::failed(message));
            }
            Event::Asked => {
                terminal::say("stopping after a last commit; once more to stop at once");
                asked = true;
                job.stop();
            }
            Event::Due => {
                asked = true;
                job.stop();
            }
            Event::Tick => tick(&job.status()),
        }
    }
}
