//! The names of tables and outputs, as the plan beside a log has them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::intake::dead::{DEAD_SUFFIX, LATE_SUFFIX};
use crate::sink::Epoch;
use crate::source::Position;

/// The names in a plan.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The tables that are read, by number.
    pub tables: Vec<String>,
    /// The tables that are written, by number.
    pub targets: Vec<String>,
    /// How many steps there are.
    pub steps: usize,
}

impl Plan {
    pub(super) fn read(text: &str) -> Self {
        let name = |line: &str| line.rsplit_once(" (").map(|(name, _)| name.to_owned());
        let mut plan = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("table ") {
                plan.tables.extend(name(rest));
            } else if let Some(rest) = line.strip_prefix("sink ") {
                let table = rest.rsplit_once(" of ").map_or(rest, |(table, _)| table);
                plan.targets.extend(name(table));
            } else if line.strip_prefix("step ").is_some() {
                plan.steps += 1;
            }
        }
        plan
    }

    pub(super) fn table(&self, number: usize) -> String {
        let name = self.tables.get(number).cloned();
        name.unwrap_or_else(|| format!("table {number}"))
    }

    /// The name of an output, as outputs are numbered.
    pub(super) fn output(&self, number: usize) -> String {
        if let Some(name) = self.targets.get(number) {
            return name.clone();
        }
        let beyond = number.checked_sub(self.targets.len());
        let (Some(beyond), false) = (beyond, self.tables.is_empty()) else {
            return format!("output {number}");
        };
        let table = self.table(beyond % self.tables.len());
        match beyond / self.tables.len() {
            0 => table + LATE_SUFFIX,
            1 => table + DEAD_SUFFIX,
            2 => format!("the recording of {table}"),
            _ => format!("output {number}"),
        }
    }

    pub(super) fn by_output(&self, epochs: &[Epoch]) -> BTreeMap<String, Epoch> {
        let named = epochs.iter().enumerate();
        named
            .map(|(output, epoch)| (self.output(output), *epoch))
            .collect()
    }

    pub(super) fn by_table(&self, positions: Vec<Position>) -> BTreeMap<String, Position> {
        let named = positions.into_iter().enumerate();
        let named = named.filter(|(_, position)| !position.is_empty());
        named
            .map(|(table, position)| (self.table(table), position))
            .collect()
    }
}
