//! The status line of long work: rows, rate, time left. On a terminal it is drawn in place once
//! a second; elsewhere it is a plain line, now and then.

use std::time::{Duration, Instant};

use engine::runtime::Status;

use crate::{figures, report, terminal};

/// How often the status is looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);

/// The progress of a job.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// When the last line was, and how many rows had arrived.
    last: Option<(Instant, u64)>,
    /// How many rows there are, where that is known.
    total: Option<u64>,
    watched: bool,
}

impl Progress {
    /// Begins now; `total` gives the time left.
    pub(crate) fn new(total: Option<u64>) -> Self {
        Self {
            started: Instant::now(),
            last: None,
            total,
            watched: terminal::is_watched(),
        }
    }

    /// How long it has been.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows the figures.
    pub(crate) fn show(&mut self, status: &Status) {
        let now = Instant::now();
        let rows = arrived(status);
        let Some((then, before)) = self.last else {
            self.last = Some((now, rows));
            return;
        };
        if before == 0 && rows > 0 && status.committed.0 > 0 {
            // A job that goes on has all it took before at once: that is no rate.
            self.last = Some((now, rows));
            return;
        }
        let since = now.duration_since(then);
        if !self.watched && since < PLAIN {
            return;
        }
        self.last = Some((now, rows));
        let rate = figures::rate(rows.saturating_sub(before), since);
        let line = line(status, rows, &rate, self.left(rows));
        if self.watched {
            terminal::show_status(&line);
        } else {
            terminal::say(&line);
        }
    }

    /// Shows how many rows a query has read, to a person alone.
    pub(crate) fn show_read(&mut self, rows: u64) {
        let now = Instant::now();
        if let Some((then, before)) = self.last.replace((now, rows))
            && self.watched
        {
            let rate = figures::rate(rows.saturating_sub(before), now.duration_since(then));
            terminal::show_status(&read_line(rows, &rate, self.left(rows)));
        }
    }

    /// About how long it will take still, by the rate from the beginning.
    fn left(&self, rows: u64) -> Option<Duration> {
        let left = self.total?.saturating_sub(rows);
        let seconds = self.elapsed().as_secs_f64() * left as f64 / rows as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Everything that all sources handed over.
pub(crate) fn arrived(status: &Status) -> u64 {
    status.tables.iter().map(|table| table.counts.arrived).sum()
}

fn line(status: &Status, rows: u64, rate: &str, left: Option<Duration>) -> String {
    let late = status.tables.iter().map(|table| table.counts.late).sum();
    let mut parts = vec![format!("in {} ({rate})", figures::count(rows))];
    for target in &status.targets {
        parts.push(format!("{} {}", target.name, figures::count(target.rows)));
    }
    parts.push(format!("late {}", figures::count(late)));
    parts.push(format!("dead {}", figures::count(report::dead(status))));
    if status.committed.0 > 0 {
        parts.push(format!("epoch {}", status.committed));
    }
    parts.extend(left.map(time_left));
    for (name, reason) in &status.waiting {
        parts.push(format!("waiting: {name}: {reason}"));
    }
    parts.join("  ")
}

fn read_line(rows: u64, rate: &str, left: Option<Duration>) -> String {
    let read = format!("read {} ({rate})", figures::count(rows));
    let parts: Vec<String> = [read].into_iter().chain(left.map(time_left)).collect();
    parts.join("  ")
}

fn time_left(left: Duration) -> String {
    format!("{} left", figures::duration(left))
}

#[cfg(test)]
mod tests {
    use engine::runtime::status::{TableStatus, TargetStatus};

    use super::*;

    #[test]
    fn the_line_has_every_figure_and_what_is_waited_for() {
        let mut table = TableStatus {
            name: "trades".to_owned(),
            rejected: 3,
            ..TableStatus::default()
        };
        table.counts.arrived = 1_500;
        table.counts.late = 2;
        table.counts.future = 1;
        let target = TargetStatus {
            name: "bars".to_owned(),
            rows: 7,
            ..TargetStatus::default()
        };
        let status = Status {
            tables: vec![table],
            targets: vec![target],
            waiting: [("trades".to_owned(), "no broker answers".to_owned())].into(),
            ..Status::default()
        };
        let line = line(&status, 1_500, "500/s", Some(Duration::from_secs(2)));
        let expected = "in 1,500 (500/s)  bars 7  late 2  dead 4  2.0 s left  \
                        waiting: trades: no broker answers";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_query_tells_the_time_left_where_it_is_known() {
        let left = |left| read_line(1_500, "500/s", left);
        assert_eq!(left(None), "read 1,500 (500/s)");
        let known = left(Some(Duration::from_secs(2)));
        assert_eq!(known, "read 1,500 (500/s)  2.0 s left");
    }
}
