//! The steps that the supervisor's work consists of: each notes in the store what it does.

use std::path::Path;
use std::sync::Arc;

use engine::crash::{self, Point};
use engine::runtime::savepoint::Inherited;
use engine::{Error, Result};

use super::carry::Carrier;
use super::lifecycle::{Event, Phase};
use super::{NewText, Refused, Slot, StartFrom, Supervisor, check_name};
use crate::folder::{self, Folder};
use crate::launch::{Grounded, Launch};
use crate::recordings::check_recorded;
use crate::savepoints;
use crate::script::Plan;

/// How a log begins.
pub(super) enum Begin {
    /// As it is.
    State,
    /// Anew.
    Empty,
    /// As it is, and the sources go past what is gone.
    Offset,
    /// As it is, with the state that recordings give.
    Recording,
    /// Anew, with what a graph made of a savepoint.
    Savepoint(String, Box<Inherited>),
}

impl Supervisor {
    /// What a start begins with; what is asked for in vain is no failure of the job.
    pub(super) async fn begin(
        &self,
        slot: &Slot,
        plan: &Plan,
        from: StartFrom,
    ) -> Result<Begin, Refused> {
        Ok(match from {
            StartFrom::State => Begin::State,
            StartFrom::Empty => Begin::Empty,
            StartFrom::Offset => Begin::Offset,
            StartFrom::Recording => {
                check_recorded(&plan.graph)?;
                Begin::Recording
            }
            StartFrom::Savepoint { name, may_drop } => {
                check_name(&name)?;
                let home = self.home(slot);
                let inherited = savepoints::inherited(&home, &plan.graph, &name, may_drop).await?;
                tracing::info!(job = slot.name, "{}", savepoints::told(&name, &inherited));
                Begin::Savepoint(name, Box::new(inherited))
            }
        })
    }

    /// Gives a job another text, for good.
    pub(super) async fn take_text(&self, slot: &Slot, text: NewText) -> Result<(), Refused> {
        let options = serde_json::to_string(&text.options);
        let unfit = |error| Error::internal("the options cannot be written").caused_by(error);
        let options = options.map_err(unfit)?;
        self.0.store.job_says(&slot.id, &text.sql, &options).await?;
        slot.says(text.sql, options);
        Ok(())
    }

    /// Opens the folder, binds the ends, notes the start, and lets the job go.
    pub(super) async fn launch(
        &self,
        slot: &Arc<Slot>,
        plan: Plan,
        begin: Begin,
    ) -> Result<(), Grounded> {
        let folder = Folder::open(&self.folder(&slot.id)).map_err(Grounded::Folder)?;
        let plan_text = plan.graph.to_string();
        let mut noted = None;
        match &begin {
            Begin::State | Begin::Recording | Begin::Offset => {}
            Begin::Empty => {
                let cleared = folder.clear(&plan.graph).await;
                cleared.map_err(Grounded::Folder)?;
            }
            Begin::Savepoint(savepoint, inherited) => {
                let (graph, state) = (&plan.graph, &inherited.state);
                let placed = async {
                    folder.stage(graph, &slot.name, savepoint, state).await?;
                    // From here on it starts from the savepoint, whoever is killed: before, the job
                    // is as it was.
                    let record = self.0.store.job_starts(&slot.id, &plan_text).await;
                    let record = record.or_else(|error| {
                        folder::withdraw(&self.folder(&slot.id)).and(Err(error))
                    })?;
                    crash::reach(Point::BeginNoted);
                    folder.replace_log().map(|()| record)
                };
                noted = Some(placed.await.map_err(Grounded::Folder)?);
            }
        }
        let mut launch = Launch::prepare(&plan, &slot.name, &folder, false).await?;
        if matches!(begin, Begin::Offset) {
            launch.skip_gaps();
        }
        if matches!(begin, Begin::Recording) {
            launch.take_recordings(&slot.name, &folder).await?;
        }
        for warning in launch.warnings() {
            tracing::warn!(job = slot.name, "{warning}");
        }
        let record = match noted {
            Some(record) => record,
            None => {
                let noted = self.0.store.job_starts(&slot.id, &plan_text).await;
                noted.map_err(Grounded::Folder)?
            }
        };
        let (carrier, running) = Carrier::new(self.clone(), slot, plan, launch, folder, &record);
        slot.runs(record, running);
        let _ = slot.take(Event::Start);
        carrier.go();
        Ok(())
    }

    /// Notes why a job does not run.
    pub(super) async fn fail(&self, slot: &Slot, refused: &Refused) -> Result<()> {
        let reason = match refused {
            Refused::Script(_, errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                errors.join("\n")
            }
            Refused::Conflict(why) => why.clone(),
            Refused::Error(error) => error.chain(),
        };
        self.settle(slot, Event::Failed, Some(reason), None).await
    }

    /// Notes how a job rests: in the store, and also where that fails.
    pub(super) async fn settle(
        &self,
        slot: &Slot,
        event: Event,
        reason: Option<String>,
        figures: Option<String>,
    ) -> Result<()> {
        // What stopped because the server stops is to run again.
        let comes_back =
            event == Event::Stopped && slot.phase() == Phase::Running && self.is_closing();
        let phase = slot.phase().after(event).unwrap_or(Phase::Failed);
        let store = &self.0.store;
        let noted = async {
            if !comes_back {
                let state = phase.stored();
                store.job_is(&slot.id, state, reason.as_deref()).await?;
            }
            match &figures {
                Some(figures) => store.job_figures(&slot.id, figures).await,
                None => Ok(()),
            }
        };
        let noted = noted.await;
        slot.rests(reason, figures);
        let _ = slot.take(event);
        noted
    }

    /// Removes a job that does not run.
    pub(super) async fn forget(&self, slot: &Slot) -> Result<()> {
        self.0.store.delete_job(&slot.id).await?;
        self.slots().remove(&slot.id);
        remove(&self.folder(&slot.id))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let message = format!("'{}' cannot be removed", folder.display());
            Err(Error::invalid(message).caused_by(error))
        }
        _ => Ok(()),
    }
}
