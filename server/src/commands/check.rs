//! `millstream check`: all errors of a script at once, or what it reads and writes.

use std::fmt::Write;

use crate::cli;
use crate::exit::Failure;
use crate::script::{self, Text};
use crate::terminal;

pub(super) fn check(arguments: &cli::Script) -> Result<(), Failure> {
    let text = Text::read(&arguments.file)?;
    let plan = script::plan(&text, &script::overrides(&arguments.options)?)?;
    let mut told = format!("{} is well\n", text.file);
    for input in &plan.graph.inputs {
        let (name, connector) = (&input.stream.name, &input.stream.connector);
        let _ = write!(told, "reads  {name} ({connector})");
        if let Some(time) = input.event_time {
            let _ = write!(
                told,
                ", event time {}",
                input.schema.field(time.column).name()
            );
        }
        if let Some(path) = &input.archive {
            let _ = write!(told, ", recorded in '{path}'");
        }
        told.push('\n');
    }
    for target in &plan.graph.targets {
        let (name, connector) = (&target.stream.name, &target.stream.connector);
        let _ = writeln!(told, "writes {name} ({connector})");
    }
    for target in plan.explained.iter().flat_map(|graph| &graph.targets) {
        let (name, connector) = (&target.stream.name, &target.stream.connector);
        let _ = writeln!(told, "only explains what would write {name} ({connector})");
    }
    terminal::print(&told)
}
