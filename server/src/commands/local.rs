//! A job that `run` runs: its script, and the folder with what it keeps.

use std::path::{Path, PathBuf};

use crate::cli;
use crate::exit::Failure;
use crate::folder::Folder;
use crate::script::{self, Plan, Text};

/// A script, read and planned.
#[derive(Debug)]
pub(super) struct Local {
    /// What the job is called.
    pub(super) name: String,
    /// What it does.
    pub(super) plan: Plan,
    /// Where it keeps everything.
    pub(super) data: PathBuf,
}

impl Local {
    /// Reads the script; the folder is not touched.
    pub(super) fn read(script: &cli::Script, data: Option<&PathBuf>) -> Result<Self, Failure> {
        let text = Text::read(&script.file)?;
        let overrides = script::overrides(&script.options)?;
        let plan = script::plan_to_run(&text, &overrides)?;
        let set = plan.script.settings.name.clone();
        let default = || Path::new("data").join(&text.stem);
        Ok(Self {
            data: data.cloned().unwrap_or_else(default),
            name: set.unwrap_or(text.stem),
            plan,
        })
    }

    /// Its folder, which must be there.
    pub(super) fn open(&self) -> Result<Folder, Failure> {
        if !self.data.is_dir() {
            return Err(Failure::usage(&format!(
                "there is no data folder '{}': the job has not run, or ran with another --data",
                self.data.display()
            )));
        }
        Folder::open(&self.data).map_err(|error| Failure::run(&error))
    }

    /// What an error of its run or its folder comes to.
    pub(super) fn failed(&self, error: &engine::Error) -> Failure {
        Failure::failed(&format!(
            "{} (data folder '{}')",
            error.chain(),
            self.data.display()
        ))
    }
}
