//! What a finished run or replay tells: where the rows went, and the digests.

use std::fmt::Write;
use std::time::Duration;

use engine::runtime::{DigestValue, Status};

use crate::figures;
use crate::progress::arrived;

/// The figures of a run, line by line. Of a run that went on (`resumed`), rows out without a
/// digest are those since its start; all others are those of the whole job.
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
        let _ = writeln!(text, "in   {name}: {arrived} rows: {}", figures.join(", "));
    }
    for (number, target) in status.targets.iter().enumerate() {
        let name = &target.name;
        let _ = if let Some(digest) = digest(status, number) {
            let rows = figures::count(digest.rows);
            writeln!(text, "out  {name}: {rows} rows, digest {digest}")
        } else {
            let since = if resumed { " since the start" } else { "" };
            let rows = figures::count(target.rows);
            writeln!(text, "out  {name}: {rows} rows{since}")
        };
    }
    let _ = write!(text, "time {}", figures::duration(elapsed));
    if !resumed {
        let _ = write!(text, ", {}", figures::rate(arrived(status), elapsed));
    }
    text.push('\n');
    text
}

/// The digest of a target, where one was kept.
pub(crate) fn digest(status: &Status, target: usize) -> Option<DigestValue> {
    status.digests.as_ref()?.get(target).copied()
}
