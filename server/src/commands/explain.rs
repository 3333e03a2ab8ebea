//! `millstream explain`: the steps of a job, then those of every `EXPLAIN INSERT`.

use crate::cli;
use crate::exit::Failure;
use crate::script::{self, Text};
use crate::terminal;

pub(super) fn explain(arguments: &cli::Script) -> Result<(), Failure> {
    let text = Text::read(&arguments.file)?;
    let plan = script::plan(&text, &script::overrides(&arguments.options)?)?;
    let job = Some(plan.graph.as_ref()).filter(|graph| !graph.targets.is_empty());
    let graphs = job.into_iter().chain(&plan.explained);
    let graphs: Vec<String> = graphs.map(ToString::to_string).collect();
    terminal::print(&graphs.join("\n"))
}
