//! The savepoints of the server's jobs.

use engine::log::savepoint::Listed;
use engine::{Error, Result};

use super::{Refused, Slot, Supervisor, check_name};
use crate::folder::Folder;
use crate::savepoints::{self, Kept};

impl Supervisor {
    /// Keeps the state of a job under a name: of one that runs once it is committed and out, of
    /// another what it stopped with.
    pub(crate) async fn keep(&self, slot: &Slot, name: &str) -> Result<Kept, Refused> {
        check_name(name)?;
        let home = self.home(slot);
        if let Some(running) = slot.running() {
            let Some(redriver) = running.redriver else {
                return Err(Refused::Conflict(format!(
                    "job '{}' belongs to the program that shows it",
                    slot.name
                )));
            };
            self.check_free(slot, name).await?;
            let state = redriver.savepointer().take().await?;
            return Ok(savepoints::keep(&home, &running.graph, name, state).await?);
        }
        let _turn = slot.turn().await?;
        self.check_free(slot, name).await?;
        let unread = || Refused::Conflict(format!("the text of job '{}' is not read", slot.name));
        let graph = slot.graph().ok_or_else(unread)?;
        // A start that failed may have left the log of a savepoint half in its place.
        let _open = home.is_dir().then(|| Folder::open(&home)).transpose()?;
        let state = savepoints::at_rest(&home, &graph).await;
        let state = state.map_err(|error| Refused::Conflict(error.chain()))?;
        Ok(savepoints::keep(&home, &graph, name, state).await?)
    }

    async fn check_free(&self, slot: &Slot, name: &str) -> Result<(), Refused> {
        let free = savepoints::of(&self.home(slot))?.check_free(name).await;
        free.map_err(|error| Refused::Conflict(error.chain()))
    }

    /// What is kept of a job.
    pub(crate) async fn savepoints(&self, slot: &Slot) -> Result<Vec<Listed>> {
        savepoints::list(&self.home(slot)).await
    }

    /// Removes what is kept under a name.
    pub(crate) async fn remove_savepoint(&self, slot: &Slot, name: &str) -> Result<(), Refused> {
        let _turn = slot.turn().await?;
        if check_name(name).is_err() || !self.home(slot).is_dir() {
            return Err(Error::not_found(format!("there is no savepoint '{name}'")).into());
        }
        Ok(savepoints::of(&self.home(slot))?.remove(name).await?)
    }
}
