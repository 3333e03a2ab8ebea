//! Attacks on time: clocks that jump, processes and transports that stand still, instants from
//! anywhere.

use super::*;
use crate::clock::{Clock, ManualClock};

const SECOND: i64 = 1_000_000_000;

/// A table of which `a`, `b` and `c` are splits, at arrival time 0.
fn announced(input: Input) -> Intake {
    let mut intake = Intake::new(&[input]);
    let splits = ["a", "b", "c"].map(Split::new).to_vec();
    let (table, at) = (0, 0);
    intake
        .arrive(Arrival::Splits { table, splits, at })
        .unwrap();
    intake
}

/// A row of a split arrives; whether it is late.
fn row(intake: &mut Intake, split: &str, time: i64, at: i64) -> bool {
    let late = intake.counts()[0].late;
    let records = records(0, &[(Some(time), at)], &[], &mut 0);
    let split = Split::new(split);
    intake
        .arrive(Arrival::Records(Records { split, ..records }))
        .unwrap();
    intake.counts()[0].late > late
}

fn ticks(intake: &mut Intake, from: i64, to: i64) {
    for at in (from..=to).step_by(SECOND as usize / 50) {
        intake.arrive(Arrival::Tick { at }).unwrap();
    }
}

fn seconds(delay: u64, idle: u64) -> Input {
    let second = SECOND as u64;
    input(delay * second, idle * second, 1_000_000 * second)
}

/// All of a table is read up to 5 s, then nobody looks, or nobody can, until 100 s.
fn before_the_gap(watched: bool, idle_before: bool) -> Intake {
    let mut intake = announced(seconds(0, 10));
    row(&mut intake, "c", SECOND, SECOND);
    if idle_before {
        for second in 2..20 {
            row(&mut intake, "a", second * SECOND, second * SECOND);
            row(&mut intake, "b", second * SECOND, second * SECOND + 1);
        }
        assert_eq!(
            intake.watermarks()[0].time,
            Timestamp(19 * SECOND),
            "c is idle"
        );
    } else {
        row(&mut intake, "a", 5 * SECOND, 5 * SECOND);
        row(&mut intake, "b", 5 * SECOND, 5 * SECOND + 1);
    }
    if watched {
        ticks(&mut intake, 20 * SECOND, 99 * SECOND);
    }
    intake
}

#[test]
fn after_a_standstill_or_an_outage_no_split_makes_the_backlog_of_another_late() {
    for (watched, idle_before) in [(false, false), (false, true), (true, false), (true, true)] {
        // What is found first: a row, or that nothing has come.
        for tick in [false, true] {
            let mut intake = before_the_gap(watched, idle_before);
            if tick {
                intake
                    .arrive(Arrival::Tick {
                        at: 99 * SECOND + 1,
                    })
                    .unwrap();
            }
            let now = 100 * SECOND;
            let backlog = (20..99).flat_map(|second| [("a", second), ("b", second), ("c", second)]);
            let mut backlog: Vec<_> = backlog.collect();
            backlog.sort_unstable();
            for (number, (split, second)) in backlog.into_iter().enumerate() {
                let late = row(&mut intake, split, second * SECOND, now + number as i64);
                assert!(!late, "{split} {second}: {watched} {idle_before} {tick}");
            }
            // None of them is waited for for ever.
            ticks(&mut intake, now + SECOND, now + 11 * SECOND);
            let wakes = row(&mut intake, "b", 200 * SECOND, now + 12 * SECOND);
            assert!(!wakes);
            assert!(row(&mut intake, "a", 3 * SECOND, now + 12 * SECOND + 1));
        }
    }
}

#[test]
fn a_split_that_is_silent_alone_is_idle_however_busy_the_others_are() {
    let mut intake = announced(seconds(0, 10));
    for second in 1..10 {
        row(&mut intake, "a", second * SECOND, second * SECOND);
        row(&mut intake, "b", second * SECOND, second * SECOND + 1);
    }
    assert_eq!(intake.watermarks()[0].time, Timestamp::MIN);
    row(&mut intake, "a", 10 * SECOND, 10 * SECOND + 1);
    assert_eq!(intake.watermarks()[0].time, Timestamp(9 * SECOND));
    // It wakes behind the others: late, and its next rows hold the watermark.
    assert!(row(&mut intake, "c", 8 * SECOND, 12 * SECOND));
    assert!(!row(&mut intake, "c", 11 * SECOND, 12 * SECOND + 1));
    row(&mut intake, "a", 30 * SECOND, 13 * SECOND);
    row(&mut intake, "b", 30 * SECOND, 13 * SECOND + 1);
    assert_eq!(intake.watermarks()[0].time, Timestamp(11 * SECOND));
}

/// The watermark follows the clock in silence; not over a time in which nobody listened.
#[test]
fn a_clock_that_leaps_or_a_process_that_stood_still_does_not_close_the_windows() {
    for silent_before in [false, true] {
        let mut input = seconds(0, 10);
        input.timing.advance_in_silence = true;
        let mut intake = announced(input);
        for (split, at) in [("a", 1), ("b", 2), ("c", 3)] {
            row(&mut intake, split, SECOND, SECOND + at);
        }
        let watermark = |intake: &Intake| intake.watermarks()[0].time.0;
        if silent_before {
            ticks(&mut intake, 2 * SECOND, 30 * SECOND);
            assert_eq!(watermark(&intake), 20 * SECOND);
        }
        let before = watermark(&intake);
        let year = 365 * 86_400 * SECOND;
        let step = intake.arrive(Arrival::Tick { at: year }).unwrap();
        assert!(step.changed, "to be journaled");
        assert_eq!(watermark(&intake), before);
        assert!(!row(&mut intake, "a", 40 * SECOND, year + 1));
        assert!(!row(&mut intake, "b", 25 * SECOND, year + 2));
        assert!(!row(&mut intake, "c", 25 * SECOND, year + 3));
        // It follows again, once the splits have been waited for.
        ticks(&mut intake, year + SECOND, year + 30 * SECOND);
        assert_eq!(watermark(&intake), year + 20 * SECOND);
    }
}

#[test]
fn a_split_that_starts_later_holds_the_watermark_and_never_takes_it_back() {
    let mut intake = announced(seconds(1, 10));
    for (split, at) in [("a", 1), ("b", 2), ("c", 3)] {
        row(&mut intake, split, 5 * SECOND, SECOND + at);
    }
    let splits = vec![Split::new("d")];
    let (table, at) = (0, 2 * SECOND);
    intake
        .arrive(Arrival::Splits { table, splits, at })
        .unwrap();
    for (split, at) in [("a", 1), ("b", 2), ("c", 3)] {
        row(&mut intake, split, 9 * SECOND, 3 * SECOND + at);
    }
    assert_eq!(intake.watermarks()[0].time, Timestamp(4 * SECOND));
    assert!(row(&mut intake, "d", 4 * SECOND - 1, 4 * SECOND));
    assert!(!row(&mut intake, "d", 6 * SECOND, 4 * SECOND + 1));
    assert_eq!(intake.watermarks()[0].time, Timestamp(5 * SECOND));
}

/// The last instant of all is the end of the input: no row may say it.
#[test]
fn no_row_ends_the_input() {
    let mut input = input(0, 1_000, 0);
    input.timing.max_future_skew = None;
    let mut intake = Intake::new(&[input]);
    assert!(!row(&mut intake, "a", i64::MAX, 1));
    let watermark = intake.watermarks()[0];
    assert!(watermark.time < Timestamp::MAX);
    assert!(!watermark.passed(i64::MAX) && watermark.passed(i64::MAX - 2));
    assert!(!row(&mut intake, "a", i64::MAX, 2));
    intake.arrive(Arrival::End { table: 0, at: 3 }).unwrap();
    assert!(intake.watermarks()[0].passed(i64::MAX));
}

/// Rows as an event time and what the clock shows when they come.
fn under_any_clock() -> impl Strategy<Value = Vec<(u8, i64, i64)>> {
    let shown = prop_oneof![
        6 => 0..1_000_i64,
        1 => -4_000_000_000_i64..4_000_000_000,
        1 => any::<i64>().prop_map(|at| at / 4),
    ];
    prop::collection::vec((0..3_u8, -50..50_i64, shown), 1..60)
}

/// Lets the rows arrive, each at what the clock shows then.
fn stamped(input: Input, rows: &[(u8, i64, i64)], jumps: bool) -> (Vec<bool>, Vec<i64>, Counts) {
    let (clock, mut intake) = (ManualClock::default(), Intake::new(&[input]));
    let (mut late, mut stamps) = (vec![], vec![]);
    for (number, (split, back, shown)) in rows.iter().enumerate() {
        if jumps {
            clock.set(Timestamp(*shown));
        }
        let at = intake.stamp(clock.now());
        stamps.push(at);
        let time = number as i64 * 10 + back;
        late.push(row(&mut intake, &split.to_string(), time, at));
    }
    (late, stamps, intake.counts()[0])
}

proptest! {
    /// Arrival times rise whatever the clock does; what is late depends on the clock no more than
    /// the table's options say.
    #[test]
    fn the_clock_may_jump_in_both_directions(rows in under_any_clock()) {
        let (_, stamps, counts) = stamped(input(5, 60, 25), &rows, true);
        prop_assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(counts.arrived, rows.len() as u64);
        prop_assert_eq!(counts.arrived, counts.accepted + counts.late + counts.future);
        let mut untimed = input(5, 0, 0);
        (untimed.timing.idle_timeout, untimed.timing.max_future_skew) = (None, None);
        let (jumping, ..) = stamped(untimed.clone(), &rows, true);
        let (standing, ..) = stamped(untimed, &rows, false);
        prop_assert_eq!(jumping, standing);
    }

    /// 1970 is an instant like any other.
    #[test]
    fn everything_may_be_earlier_or_later(ops in ops(), shift in any::<i64>()) {
        let shift = shift / 4 * 3;
        let moved = ops.iter().map(|op| match *op {
            Op::Row { split, time, at } => Op::Row {
                split,
                time: time.map(|time| time + shift),
                at: at + shift,
            },
            Op::Rejected { split, at } => Op::Rejected { split, at: at + shift },
            Op::Tick { at } => Op::Tick { at: at + shift },
        });
        let moved: Vec<Op> = moved.collect();
        let here = run(arrivals(&ops, true), false);
        let mut there = run_from(arrivals(&moved, true), BASE + shift, false);
        for (at, _) in &mut there.rows {
            *at -= shift;
        }
        for at in &mut there.dead {
            *at -= shift;
        }
        for time in [&mut there.watermark.time.0, &mut there.watermark.arrived_at.0] {
            *time = if *time == i64::MIN { *time } else { *time - shift };
        }
        prop_assert_eq!(here, there);
    }

    /// Any instant is a row's event time: sums hold, the watermark never falls, and how rows are
    /// polled together does not matter.
    #[test]
    fn event_times_may_be_anything(
        times in prop::collection::vec((0..3_u8, any::<i64>(), any::<bool>()), 1..60),
        delay in any::<u64>(),
        limited in any::<bool>(),
    ) {
        let edge = |time: i64, exact: bool| match exact {
            true => time,
            // Often at the ends.
            false => [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX][time.rem_euclid(7) as usize],
        };
        let rows: Vec<(u8, i64)> = times.iter().map(|(split, t, e)| (*split, edge(*t, *e))).collect();
        let fates = |joined: bool| {
            let mut input = input(delay / 2, 1_000, 1_000);
            input.timing.max_future_skew = input.timing.max_future_skew.filter(|_| limited);
            let mut intake = Intake::new(&[input]);
            let (mut rest, mut at, mut watermark) = (rows.as_slice(), 1, Timestamp::MIN);
            while let Some((split, _)) = rest.first() {
                let same = rest.iter().take_while(|row| row.0 == *split).count();
                let (poll, later) = rest.split_at(if joined { same } else { 1 });
                let stamped = poll.iter().zip(at..).map(|((_, time), at)| (Some(*time), at));
                let stamped: Vec<_> = stamped.collect();
                (rest, at) = (later, at + poll.len() as i64);
                let records = records(*split, &stamped, &[], &mut 0);
                intake.arrive(Arrival::Records(records)).unwrap();
                assert!(intake.watermarks()[0].time >= watermark);
                watermark = intake.watermarks()[0].time;
            }
            (intake.counts()[0], watermark)
        };
        let (counts, watermark) = fates(true);
        prop_assert_eq!(counts.arrived, rows.len() as u64);
        prop_assert_eq!(counts.arrived, counts.accepted + counts.late + counts.future);
        prop_assert_eq!((counts, watermark), fates(false));
    }
}
