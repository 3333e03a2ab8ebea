//! What a finished run or replay tells: where the rows went, and the digests.

use std::fmt::Write;
use std::time::Duration;

use engine::runtime::status::TableStatus;
use engine::runtime::{DigestValue, Status};

use crate::figures;
use crate::progress::arrived;

/// The figures of a run, line by line; they are those of the whole job, over all its starts. The
/// rate is left out of a run that went on (`resumed`): it would count rows of earlier starts.
pub(crate) fn figures_of(status: &Status, elapsed: Duration, resumed: bool) -> String {
    let mut text = String::new();
    for table in &status.tables {
        let counts = table.counts;
        let figures = [
            ("accepted", counts.accepted),
            ("late", counts.late),
            ("future", counts.future),
            ("dead", counts.dead),
        ];
        let figures = figures.map(|(name, count)| format!("{name} {}", figures::count(count)));
        let (name, arrived) = (&table.name, figures::count(counts.arrived));
        let _ = write!(text, "in   {name}: {arrived} rows: {}", figures.join(", "));
        if table.rejected > 0 {
            // They were accepted, so they are no part of the sum.
            let rejected = figures::count(table.rejected);
            let _ = write!(text, "; rejected by the query {rejected}");
        }
        if table.skipped > 0 {
            // They never arrived.
            let skipped = figures::count(table.skipped);
            let _ = write!(text, "; gone before they were read {skipped}");
        }
        text.push('\n');
    }
    for (number, target) in status.targets.iter().enumerate() {
        let name = &target.name;
        let _ = if let Some(digest) = digest(status, number) {
            let rows = figures::count(digest.rows);
            writeln!(text, "out  {name}: {rows} rows, digest {digest}")
        } else {
            let rows = figures::count(target.rows);
            writeln!(text, "out  {name}: {rows} rows")
        };
    }
    let _ = write!(text, "time {}", figures::duration(elapsed));
    if !resumed {
        let _ = write!(text, ", {}", figures::rate(arrived(status), elapsed));
    }
    text.push('\n');
    text
}

/// Rows that are in the tables of dead rows: undecodable, from the future, or rejected by a step.
pub(crate) fn dead(status: &Status) -> u64 {
    let dead = |table: &TableStatus| table.counts.dead + table.counts.future + table.rejected;
    status.tables.iter().map(dead).sum()
}

/// The digest of a target, where one was kept.
pub(crate) fn digest(status: &Status, target: usize) -> Option<DigestValue> {
    status.digests.as_ref()?.get(target).copied()
}
