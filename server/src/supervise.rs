//! Watching a running job: ticks for the display, Ctrl-C and SIGTERM, a limit in time.

use std::time::Duration;

use connectors::stdout;
use engine::runtime::{Job, Status};
use engine::{Epoch, Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use crate::exit::Failure;
use crate::terminal;

/// What a replay has committed, always, and a job at its very beginning.
const NONE: Epoch = Epoch(0);

/// Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Signals from here on are received.
    pub(crate) fn new() -> Result<Self> {
        let failed = |error| Error::internal("signals cannot be received").caused_by(error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) {
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

/// How far a stop has come.
#[derive(Debug, Default)]
struct Stopping {
    /// By a signal.
    asked: bool,
    /// By the limit in time.
    due: bool,
}

/// What a signal means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Stop,
    /// It stops already, which was nobody's word: the person has not seen it yet.
    Wait,
    Leave,
}

impl Stopping {
    fn ask(&mut self) -> Meaning {
        match (std::mem::replace(&mut self.asked, true), self.due) {
            (true, _) => Meaning::Leave,
            (false, true) => Meaning::Wait,
            (false, false) => Meaning::Stop,
        }
    }
}

/// Waits for the end of a job. The first signal, or the limit, stops it; the second signal leaves
/// it at once. `tick` sees the status every so often, and once in the end; what a stop could not
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
    let mut stopping = Stopping::default();
    loop {
        let event = tokio::select! {
            outcome = job.wait() => Event::Ended(outcome),
            () = signals.next() => Event::Asked,
            () = sleep_until(due), if limit.is_some() && !stopping.asked && !stopping.due => Event::Due,
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
                return match outcome {
                    // `| head` has seen enough: that is no failure.
                    Err(error) if stdout::is_closed(&error) => Ok(()),
                    outcome => outcome.map_err(|error| Failure::run(&error)),
                };
            }
            Event::Asked => match stopping.ask() {
                Meaning::Leave => {
                    return Err(Failure::failed(match job.status().committed {
                        NONE => "stopped at once",
                        _ => "stopped at once: the next start repeats what was not committed",
                    }));
                }
                meaning => {
                    terminal::say(match job.status().committed {
                        NONE => "stopping; once more to stop at once",
                        _ => "stopping after a last commit; once more to stop at once",
                    });
                    if meaning == Meaning::Stop {
                        job.stop();
                    }
                }
            },
            Event::Due => {
                stopping.due = true;
                job.stop();
            }
            Event::Tick => tick(&job.status()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_signal_leaves_at_once() {
        let mut stopping = Stopping::default();
        assert_eq!(stopping.ask(), Meaning::Stop);
        assert_eq!(stopping.ask(), Meaning::Leave);
        let mut stopping = Stopping {
            due: true,
            ..Stopping::default()
        };
        assert_eq!(stopping.ask(), Meaning::Wait);
        assert_eq!(stopping.ask(), Meaning::Leave);
    }
}
