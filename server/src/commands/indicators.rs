//! `millstream indicators`: the catalogue.

use std::fmt::Write;

use connectors::options::nearest;
use engine::indicator::{Entry, catalog, find};

use crate::cli;
use crate::exit::Failure;
use crate::terminal;

pub(super) fn indicators(arguments: &cli::Indicators) -> Result<(), Failure> {
    let Some(name) = &arguments.name else {
        return terminal::print(&list());
    };
    if let Some(entry) = find(&name.to_lowercase()) {
        return terminal::print(&description(entry));
    }
    let hint = match nearest(name, catalog().iter().map(|entry| entry.name)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "`millstream indicators` lists them".to_owned(),
    };
    let message = format!("no indicator is called '{name}'; {hint}");
    Err(Failure::usage(&message))
}

fn list() -> String {
    let calls: Vec<String> = catalog().iter().map(|entry| entry.call()).collect();
    let width = calls.iter().map(String::len).max().unwrap_or_default();
    let mut text = format!("{:width$}  {:10}  description\n", "call", "group");
    for (entry, call) in catalog().iter().zip(calls) {
        let group = entry.group.to_string();
        let _ = writeln!(text, "{call:width$}  {group:10}  {}", entry.description);
    }
    text
}

fn description(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n\n", entry.function(), entry.description);
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "{what:11} {value}");
    };
    line("call", &entry.call());
    line("also", &format!("ta_{}", entry.name));
    line("group", &entry.group.to_string());
    line("TA-Lib", entry.talib.unwrap_or("has none like it"));
    line("inputs", &entry.inputs.join(", "));
    for parameter in entry.parameters {
        let kind = if parameter.integer {
            "whole number"
        } else {
            "number"
        };
        let (min, max, default) = (parameter.min, parameter.max, parameter.default);
        let range = format!(
            "{}: {kind} from {min} to {max}, default {default}",
            parameter.name
        );
        line("parameter", &range);
    }
    line("outputs", &entry.outputs.join(", "));
    if let Ok(rows) = entry.lookback(&[]) {
        line(
            "warm-up",
            &format!("NULL for the first {rows} rows with the defaults"),
        );
    }
    line(
        "NULL",
        "a row whose input is NULL or not finite is skipped and gives NULL",
    );
    let window = format!("{} OVER (PARTITION BY symbol ORDER BY ts)", entry.call());
    let example = match entry.outputs {
        [first, _, ..] => format!("({window})['{first}']"),
        _ => window,
    };
    line("example", &format!("SELECT symbol, {example} FROM trades"));
    text
}
