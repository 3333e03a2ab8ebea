//! Where a job stands and what may follow: a pure state machine.

use engine::runtime::status;

/// Where a job stands, as the supervisor knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was submitted and has not run.
    Created,
    /// It recovers or runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It was stopped: its state is kept.
    Stopped,
    /// All its inputs have come to their end.
    Finished,
    /// An error ended it, or kept it from starting.
    Failed,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody starts it, or the server does.
    Start,
    /// Somebody stops it.
    Stop,
    /// It has stopped, at a word of somebody or of the server.
    Stopped,
    /// It came to its end.
    Finished,
    /// It broke off, or could not be started.
    Failed,
}

impl Phase {
    /// What follows; or why the event is refused.
    pub(crate) fn after(self, event: Event) -> Result<Self, &'static str> {
        match (self, event) {
            (Self::Created | Self::Stopped | Self::Finished | Self::Failed, Event::Start) => {
                Ok(Self::Running)
            }
            (Self::Running, Event::Start) => Err("it runs already"),
            (Self::Stopping, Event::Start) => Err("it is stopping; try again once it has stopped"),
            (Self::Running | Self::Stopping, Event::Stop) => Ok(Self::Stopping),
            (Self::Created, Event::Stop) => Err("it has not started"),
            (Self::Finished, Event::Stop) => Err("it has finished"),
            (Self::Failed, Event::Stop) => Err("it has failed"),
            (Self::Running | Self::Stopping, Event::Stopped) | (Self::Stopped, Event::Stop) => {
                Ok(Self::Stopped)
            }
            (Self::Running | Self::Stopping, Event::Finished) => Ok(Self::Finished),
            (_, Event::Failed) => Ok(Self::Failed),
            (_, Event::Stopped | Event::Finished) => Err("it does not run"),
        }
    }

    /// What the store calls it: a job that was running is started again with the server, one that
    /// was told to stop is not.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopping | Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// What the store's word means when the server comes up, and whether the job is to be started.
    pub(crate) fn restored(stored: &str) -> (Self, bool) {
        match stored {
            // A kill may have come between submission and start.
            "created" => (Self::Created, true),
            "running" => (Self::Stopped, true),
            "finished" => (Self::Finished, false),
            "failed" => (Self::Failed, false),
            _ => (Self::Stopped, false),
        }
    }

    /// What a reader is told, with what the job says of itself.
    pub(crate) fn shown(self, running: Option<status::State>) -> &'static str {
        match (self, running) {
            (Self::Created, _) => "created",
            (Self::Running, None | Some(status::State::Recovering)) => "recovering",
            (Self::Running, _) => "running",
            (Self::Stopping, _) => "stopping",
            (Self::Stopped, _) => "stopped",
            (Self::Finished, _) => "finished",
            (Self::Failed, _) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 6] = [
        Phase::Created,
        Phase::Running,
        Phase::Stopping,
        Phase::Stopped,
        Phase::Finished,
        Phase::Failed,
    ];

    #[test]
    fn a_job_starts_once_and_stops_once() {
        let started = Phase::Created.after(Event::Start).unwrap();
        assert_eq!(started, Phase::Running);
        assert!(started.after(Event::Start).is_err());
        let stopping = started.after(Event::Stop).unwrap();
        assert_eq!(stopping.after(Event::Stop), Ok(Phase::Stopping));
        assert!(stopping.after(Event::Start).is_err());
        let stopped = stopping.after(Event::Stopped).unwrap();
        assert_eq!(stopped.after(Event::Stop), Ok(Phase::Stopped));
        assert_eq!(stopped.after(Event::Start), Ok(Phase::Running));
    }

    #[test]
    fn only_what_runs_can_end() {
        for phase in PHASES {
            let runs = matches!(phase, Phase::Running | Phase::Stopping);
            assert_eq!(phase.after(Event::Stopped).is_ok(), runs, "{phase:?}");
            assert_eq!(phase.after(Event::Finished).is_ok(), runs, "{phase:?}");
            // A start that fails has a reason to keep, whatever the job was before.
            assert_eq!(phase.after(Event::Failed), Ok(Phase::Failed), "{phase:?}");
        }
    }

    #[test]
    fn what_ended_can_start_again() {
        for ending in [Event::Stopped, Event::Finished, Event::Failed] {
            let ended = Phase::Running.after(ending).unwrap();
            assert_eq!(ended.after(Event::Start), Ok(Phase::Running));
        }
    }

    #[test]
    fn only_what_ran_comes_back() {
        for phase in PHASES {
            let (restored, starts) = Phase::restored(phase.stored());
            let ran = matches!(phase, Phase::Created | Phase::Running);
            assert_eq!(starts, ran, "{phase:?}");
            assert_eq!(
                restored.after(Event::Start),
                Ok(Phase::Running),
                "{phase:?}"
            );
        }
        // A kill amid a stop leaves the job stopped.
        assert_eq!(
            Phase::restored(Phase::Stopping.stored()),
            (Phase::Stopped, false)
        );
    }

    #[test]
    fn what_is_shown_says_whether_it_recovers() {
        let shown = |state| Phase::Running.shown(state);
        assert_eq!(shown(None), "recovering");
        assert_eq!(shown(Some(status::State::Recovering)), "recovering");
        assert_eq!(shown(Some(status::State::Running)), "running");
        assert_eq!(
            Phase::Stopping.shown(Some(status::State::Running)),
            "stopping"
        );
    }
}
