//! `millstream explain`: the steps of a job.

use crate::cli;
use crate::exit::Failure;
use crate::script::{self, Text};
use crate::terminal;

pub(super) fn explain(arguments: &cli::Script) -> Result<(), Failure> {
    let text = Text::read(&arguments.file)?;
    let plan = script::plan(&text, &script::overrides(&arguments.options)?)?;
    terminal::print(&plan.graph.to_string())
}
