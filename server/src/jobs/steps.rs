//! The steps that the supervisor's work consists of: each notes in the store what it does.

use std::path::Path;
use std::sync::Arc;

use engine::{Error, Result};

use super::carry::Carrier;
use super::lifecycle::{Event, Phase};
use super::{Refused, Slot, StartFrom, Supervisor};
use crate::folder::Folder;
use crate::launch::{Grounded, Launch};
use crate::script::Plan;

impl Supervisor {
    /// Opens the folder, binds the ends, notes the start, and lets the job go.
    pub(super) async fn launch(
        &self,
        slot: &Arc<Slot>,
        plan: Plan,
        from: StartFrom,
    ) -> Result<(), Grounded> {
        let folder = Folder::open(&self.folder(&slot.id)).map_err(Grounded::Folder)?;
        if from == StartFrom::Empty {
            let cleared = folder.clear(&plan.graph).await;
            cleared.map_err(Grounded::Folder)?;
        }
        let mut launch = Launch::prepare(&plan, &slot.name, &folder, false).await?;
        if from == StartFrom::Recording {
            launch.take_recordings(&slot.name, &folder).await?;
        }
        for warning in launch.warnings() {
            tracing::warn!(job = slot.name, "{warning}");
        }
        let plan_text = plan.graph.to_string();
        let noted = self.0.store.job_starts(&slot.id, &plan_text).await;
        let record = noted.map_err(Grounded::Folder)?;
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
