//! Results as Markdown: a section a benchmark, tables, and the figures that have a target.

use std::fmt::Write;

use crate::measure::{Sample, Series};

/// The result of one benchmark.
#[derive(Debug, Clone, Default)]
pub struct Section {
    text: String,
    goals: Vec<Goal>,
}

/// A figure next to its target.
#[derive(Debug, Clone)]
pub struct Goal {
    what: String,
    target: String,
    measured: String,
    met: bool,
}

impl Goal {
    /// A figure that should be at most `limit`.
    #[must_use]
    pub fn at_most(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            target: format!("≤ {}{unit}", number(limit)),
            measured: format!("{}{unit}", number(measured)),
            met: measured <= limit,
        }
    }

    /// A figure that should be at least `limit`.
    #[must_use]
    pub fn at_least(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            target: format!("≥ {}{unit}", number(limit)),
            met: measured >= limit,
            ..Self::at_most(what, measured, limit, unit)
        }
    }
}

impl Section {
    /// A paragraph.
    pub fn say(&mut self, text: impl AsRef<str>) -> &mut Self {
        let _ = writeln!(self.text, "{}\n", text.as_ref());
        self
    }

    /// Contestants with their rates: best and median.
    pub fn compare(&mut self, rows: &str, series: &[Series]) -> &mut Self {
        let mut lines = vec![];
        for series in series {
            let rate = |figure: fn(&Sample) -> f64| {
                let [best, median] = [series.best(figure), series.median(figure)];
                format!("{} / {}", millions(1e9 / best), millions(1e9 / median))
            };
            let [best, median] = [
                series.best(Sample::nanoseconds),
                series.median(Sample::nanoseconds),
            ];
            lines.push(vec![
                series.name.clone(),
                rate(Sample::nanoseconds),
                rate(Sample::wall_nanoseconds),
                format!("{} / {}", number(best), number(median)),
            ]);
        }
        let per_second = format!("M {rows} per CPU-second, best / median");
        let by_clock = format!("M {rows}/s by the clock");
        let each = format!("CPU ns each of the {rows}");
        self.table(&["", &per_second, &by_clock, &each], &lines)
    }

    /// A table.
    pub fn table(&mut self, heads: &[&str], lines: &[Vec<String>]) -> &mut Self {
        let _ = writeln!(self.text, "| {} |", heads.join(" | "));
        let _ = writeln!(self.text, "|{}", "---|".repeat(heads.len()));
        for line in lines {
            let _ = writeln!(self.text, "| {} |", line.join(" | "));
        }
        self.text.push('\n');
        self
    }

    /// A figure that has a target.
    pub fn goal(&mut self, goal: Goal) -> &mut Self {
        self.goals.push(goal);
        self
    }

    /// The section as Markdown below its heading; `command` is what was run.
    #[must_use]
    pub fn markdown(&self, name: &str, command: &str, machine: &str) -> String {
        let mut text = format!("## {name}\n\n`{command}` on {machine}\n\n{}", self.text);
        if !self.goals.is_empty() {
            text.push_str("| figure | target | measured | |\n|---|---|---|---|\n");
            for goal in &self.goals {
                let verdict = if goal.met { "met" } else { "**missed**" };
                let Goal {
                    what,
                    target,
                    measured,
                    ..
                } = goal;
                let _ = writeln!(text, "| {what} | {target} | {measured} | {verdict} |");
            }
            text.push('\n');
        }
        text
    }
}

/// Three figures that count.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Millions, three figures.
#[must_use]
pub fn millions(value: f64) -> String {
    number(value / 1e6)
}

/// The results so far with these sections in place of those of the same name; sections of
/// benchmarks that did not run stay.
#[must_use]
pub fn merged(before: &str, names: &[&str], sections: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Results\n\nWritten by `make bench`. Contestants of a table ran in turn in one process; \
         every figure is the best and the median of its rounds. Machines are noisy: compare \
         within a table.\n\n",
    );
    let old: Vec<(&str, &str)> = before
        .split("\n## ")
        .skip(1)
        .filter_map(|part| Some((part.split_once('\n')?.0, part)))
        .collect();
    for name in names {
        let new = sections.iter().find(|(section, _)| section == name);
        let kept = old.iter().find(|(section, _)| section == name);
        match (new, kept) {
            (Some((_, section)), _) => text.push_str(section),
            (None, Some((_, part))) => {
                let _ = write!(text, "## {}\n\n", part.trim_end());
            }
            (None, None) => {}
        }
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_so() {
        let mut section = Section::default();
        section.goal(Goal::at_most("ratio", 1.6, 1.5, "×"));
        section.goal(Goal::at_least("rate", 12.0, 10.0, " M/s"));
        let text = section.markdown("over", "make bench", "a machine");
        assert!(
            text.contains("| ratio | ≤ 1.50× | 1.60× | **missed** |"),
            "{text}"
        );
        assert!(
            text.contains("| rate | ≥ 10.0 M/s | 12.0 M/s | met |"),
            "{text}"
        );
    }

    #[test]
    fn sections_that_did_not_run_stay() {
        let names = ["a", "b", "c"];
        let one = |name: &'static str, body: &str| (name, format!("## {name}\n\n{body}\n\n"));
        let first = merged("", &names, &[one("c", "old c"), one("a", "old a")]);
        let second = merged(&first, &names, &[one("b", "new b"), one("c", "new c")]);
        let places = ["old a", "new b", "new c"].map(|part| second.find(part));
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{second}"
        );
        assert!(!second.contains("old c"), "{second}");
        assert_eq!(merged(&second, &names, &[]), second);
    }
}
