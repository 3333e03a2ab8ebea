//! The splits of a table and the watermark they have in common.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::redriven::NOWHERE;
use crate::graph::Timing;
use crate::source::{END, Position, Split};
use crate::time::{Timestamp, Watermark};

/// Where a table's past is complete: no row before `(time, split)` follows. Ordered.
pub(super) type Frontier = (i64, u32);

/// One split: how far it got, and whether it is silent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    split: Split,
    /// The offset after its last record, once there is one.
    next_offset: Option<i64>,
    /// Its highest event time less the table's delay.
    watermark: i64,
    /// When its last record arrived, or when it was announced.
    last_arrival: i64,
    idle: bool,
}

/// What is due and not seen for so long, in nanoseconds, was not looked at: ticks come far more often
/// to a process that runs.
const UNWATCHED: i64 = 1_000_000_000;

/// All splits of a table, numbered in the order in which they became known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Splits {
    states: Vec<State>,
    frontier: Frontier,
    /// Up to when the frontier followed the arrival time, while it does.
    followed: Option<i64>,
    pub(super) ended: bool,
}

impl Default for Splits {
    fn default() -> Self {
        Self {
            states: vec![],
            frontier: (i64::MIN, 0),
            followed: None,
            ended: false,
        }
    }
}

impl State {
    /// How much longer than allowed it has been silent at `at`; not above zero where it was not.
    fn overdue(&self, at: i64, timeout: i64) -> i64 {
        at.saturating_sub(self.last_arrival).saturating_sub(timeout)
    }
}

impl Splits {
    /// The number of a split, which becomes known if it is not.
    pub(super) fn number(&mut self, split: &Split, at: i64) -> u32 {
        let known = self.states.iter().position(|state| state.split == *split);
        known.unwrap_or_else(|| {
            self.states.push(State {
                split: split.clone(),
                next_offset: None,
                watermark: i64::MIN,
                last_arrival: at,
                idle: false,
            });
            self.states.len() - 1
        }) as u32
    }

    /// Whether all of these are known.
    pub(super) fn knows(&self, splits: &[Split]) -> bool {
        splits
            .iter()
            .all(|split| self.states.iter().any(|state| state.split == *split))
    }

    /// Starts a run of rows of one split.
    pub(super) fn run(&mut self, number: u32, timing: Timing, delay: i64) -> Run<'_> {
        Run {
            others: None,
            checked_until: i64::MIN,
            splits: self,
            number,
            timing,
            delay,
        }
    }

    /// Notes how far a split was read.
    pub(super) fn read(&mut self, number: u32, next_offset: i64) {
        if next_offset == NOWHERE {
            return;
        }
        let read = &mut self.states[number as usize].next_offset;
        *read = Some(read.map_or(next_offset, |read| read.max(next_offset)));
        // What is read to its end is as good as idle, and never wakes.
        self.states[number as usize].idle |= next_offset == END;
    }

    /// Marks the splits that have been silent for too long at `at`; says whether one was.
    pub(super) fn mark_idle(&mut self, at: i64, timing: Timing) -> bool {
        let Some(timeout) = nanos(timing.idle_timeout) else {
            return false;
        };
        let waited_for = self.states.iter().filter(|state| !state.idle);
        let overdue = waited_for.map(|state| state.overdue(at, timeout)).max();
        match overdue {
            Some(overdue) if overdue > UNWATCHED => self.start_over(at),
            Some(overdue) if overdue > 0 => {
                for state in &mut self.states {
                    state.idle |= state.overdue(at, timeout) > 0;
                }
            }
            _ => return false,
        }
        true
    }

    /// Waits for every split anew, from `at` on. What was silent while nobody listened, or together
    /// with all others, need not have been idle: the process or its machine may have stood still, its
    /// clock have jumped, the transport have been away. Whatever is read first after that must not
    /// make the others late.
    fn start_over(&mut self, at: i64) {
        for state in &mut self.states {
            // What is read to its end never wakes.
            state.idle = state.next_offset == Some(END);
            state.last_arrival = at;
        }
        self.followed = None;
    }

    /// Raises the frontier by word of the source.
    pub(super) fn advance(&mut self, time: i64) {
        self.frontier = self.frontier.max((time, 0));
    }

    /// Raises the frontier to what the splits that are not idle have in common. When all are
    /// idle it stays, or follows the arrival time where the table says so; says whether splits that
    /// were idle are waited for again.
    pub(super) fn raise(&mut self, at: i64, timing: Timing, delay: i64) -> bool {
        let active = self.states.iter().zip(0..).filter(|(state, _)| !state.idle);
        let lowest = active
            .map(|(state, number)| (state.watermark, number))
            .min();
        if let Some(lowest) = lowest {
            self.frontier = self.frontier.max(lowest);
            self.followed = None;
        } else if timing.advance_in_silence && !self.states.is_empty() {
            return self.follow(at, timing, delay);
        }
        false
    }

    /// Raises the frontier after the arrival time; does not where it was left alone for a while.
    fn follow(&mut self, at: i64, timing: Timing, delay: i64) -> bool {
        let timeout = nanos(timing.idle_timeout).unwrap_or(0);
        let frontier = (at.saturating_sub(timeout).saturating_sub(delay), 0);
        if frontier <= self.frontier {
            return false;
        }
        let since = self.followed.map_or(0, |from| at.saturating_sub(from));
        if since > UNWATCHED {
            self.start_over(at);
            return true;
        }
        self.frontier = frontier;
        self.followed = Some(at);
        false
    }

    /// The watermark of the table.
    pub(super) fn watermark(&self, arrived_at: Timestamp) -> Watermark {
        if self.ended {
            return Watermark::MAX;
        }
        let (time, split) = self.frontier;
        Watermark {
            time: before_the_end(time),
            split,
            arrived_at,
            own: None,
        }
    }

    /// A split and how far it alone is complete.
    pub(super) fn own(&self, split: &Split) -> Option<(u32, Timestamp)> {
        let number = self.states.iter().position(|state| state.split == *split)?;
        Some((number as u32, before_the_end(self.states[number].watermark)))
    }

    /// What a split is called.
    pub(super) fn name(&self, number: u32) -> Option<&Split> {
        self.states.get(number as usize).map(|state| &state.split)
    }

    /// When the first of the other splits falls idle after `at`, where a record of this one arrives
    /// then, if nothing more comes of them.
    pub(super) fn next_idle(&self, split: &Split, at: i64, timing: Timing) -> Option<i64> {
        let timeout = nanos(timing.idle_timeout)?;
        let anew = self.starts_over(split, at, timeout);
        let waits = |state: &&State| match anew {
            true => state.next_offset != Some(END),
            false => !state.idle,
        };
        let others = self.states.iter().filter(|state| state.split != *split);
        let since = others.filter(waits).map(|state| match anew {
            true => at,
            false => state.last_arrival,
        });
        let from = since.map(|since| since.saturating_add(timeout).saturating_add(1));
        from.filter(|from| *from > at).min()
    }

    /// Whether all splits are waited for anew when a record of this one arrives at `at`.
    fn starts_over(&self, split: &Split, at: i64, timeout: i64) -> bool {
        let silent = |state: &State| state.idle || state.overdue(at, timeout) > 0;
        let unwatched = |state: &State| !state.idle && state.overdue(at, timeout) > UNWATCHED;
        let mut others = self.states.iter().filter(|state| state.split != *split);
        self.states.iter().all(silent) || others.any(unwatched)
    }

    /// The offset after the last record of each split that had one.
    pub(super) fn position(&self) -> Position {
        let read = |state: &State| Some((state.split.clone(), state.next_offset?));
        self.states.iter().filter_map(read).collect()
    }
}

/// A time that rows brought. The last instant of all is said by the end of the input alone.
fn before_the_end(time: i64) -> Timestamp {
    Timestamp(time.min(i64::MAX - 1))
}

/// The longest pause between two records, in nanoseconds, after which no split is looked at anew.
pub(super) fn pause(timing: Timing) -> Option<i64> {
    nanos(timing.idle_timeout).map(|timeout| timeout.min(UNWATCHED))
}

fn nanos(duration: Option<Duration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// Rows of one split, one after the other: decides which are late and moves the frontier.
///
/// Decided row by row, so that it does not matter how rows were polled together; the other
/// splits are looked at only when one of them may fall idle.
pub(super) struct Run<'a> {
    splits: &'a mut Splits,
    number: u32,
    timing: Timing,
    delay: i64,
    /// The lowest frontier of the other splits that are not idle, until `checked_until`.
    others: Option<Frontier>,
    checked_until: i64,
}

impl Run<'_> {
    /// Takes note of a record that arrived at `at`: its split is awake, others may not be.
    pub(super) fn awake(&mut self, at: i64) {
        let timeout = nanos(self.timing.idle_timeout).unwrap_or(i64::MAX);
        let silent = |state: &State| state.idle || state.overdue(at, timeout) > 0;
        let splits = &mut *self.splits;
        let was_silent = silent(&splits.states[self.number as usize]);
        // It wakes, and whether the others sleep cannot be known when all were silent.
        if was_silent && splits.states.iter().all(silent) {
            splits.start_over(at);
        }
        let state = &mut splits.states[self.number as usize];
        state.last_arrival = at;
        state.idle = false;
        if at < self.checked_until && !was_silent {
            return;
        }
        splits.mark_idle(at, self.timing);
        self.others = None;
        self.checked_until = i64::MAX;
        for (state, number) in self.splits.states.iter().zip(0..) {
            if number == self.number || state.idle {
                continue;
            }
            let frontier = (state.watermark, number);
            self.others = Some(self.others.map_or(frontier, |others| others.min(frontier)));
            let idle_from = state.last_arrival.saturating_add(timeout).saturating_add(1);
            self.checked_until = self.checked_until.min(idle_from);
        }
    }

    /// Whether a row of that event time is late. One that is not moves its split's watermark.
    pub(super) fn is_late(&mut self, time: i64) -> bool {
        let state = &mut self.splits.states[self.number as usize];
        if time < state.watermark || (time, self.number) < self.splits.frontier {
            return true;
        }
        state.watermark = state.watermark.max(time.saturating_sub(self.delay));
        false
    }

    /// Takes rows of these event times at once if none of them is late, and says whether it did.
    /// `first` and `last` are when the first and the last of them arrived; no split may fall idle
    /// between.
    pub(super) fn all_on_time(&mut self, times: &[i64], first: i64, last: i64) -> bool {
        self.awake(first);
        let timeout = nanos(self.timing.idle_timeout).unwrap_or(i64::MAX);
        if last >= self.checked_until || last.saturating_sub(first) > timeout {
            return false;
        }
        let (time, split) = self.splits.frontier;
        let state = &mut self.splits.states[self.number as usize];
        // Below this time rows are late: see `is_late`. The frontier follows this split's
        // watermark at most, so what moves it on the way here changes nothing.
        let mut bound = state
            .watermark
            .max(time.saturating_add(i64::from(self.number < split)));
        let mut late = false;
        for time in times {
            late |= *time < bound;
            bound = bound.max(time.saturating_sub(self.delay));
        }
        if late {
            return false;
        }
        if let Some(highest) = times.iter().max() {
            let reached = highest.saturating_sub(self.delay);
            state.watermark = state.watermark.max(reached);
        }
        state.last_arrival = last;
        self.raise();
        true
    }

    /// Raises the frontier after a record, good or bad.
    pub(super) fn raise(&mut self) {
        let own = (
            self.splits.states[self.number as usize].watermark,
            self.number,
        );
        let lowest = self.others.map_or(own, |others| others.min(own));
        self.splits.frontier = self.splits.frontier.max(lowest);
    }
}
