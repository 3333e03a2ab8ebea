//! A keyed table: intake and `order` together, for the order in which rows go on is their joint
//! work.

use super::*;
use crate::operator::order::Order;
use crate::operator::{OperatorSpec, Output};
use crate::stream::{ARRIVED_AT, SPLIT};

#[derive(Debug, Clone, Copy)]
enum What {
    Row { time: i64 },
    Rejected,
    Tick,
    Advance { time: i64 },
}

#[derive(Debug, Clone, Copy)]
struct Event {
    what: What,
    split: u8,
    at: i64,
    /// Whether a poll begins here at the latest.
    cut: bool,
}

/// Delay, silence and events of three splits: long polls, few changes of the split, gaps in which
/// splits fall idle.
fn scripts() -> impl Strategy<Value = (Input, Vec<Event>)> {
    let event = (0..40_u8, 0..12_u8, 0..60_i64, 0..40_i64);
    let settings = (0..2_u64, any::<bool>());
    (settings, prop::collection::vec(event, 1..150)).prop_map(|((delay, advance), events)| {
        let (mut at, mut split) = (BASE, 0);
        let event = |(kind, next, back, gap): (u8, u8, i64, i64)| {
            at += match gap {
                39 => 3_000_000_000,
                37.. => gap,
                _ => 1 + gap / 12,
            };
            if next < 3 {
                split = next;
            }
            let what = match kind {
                0 => What::Tick,
                1..4 => What::Rejected,
                4 => What::Advance { time: at - back },
                // Splits lag behind each other.
                _ => What::Row {
                    time: (at - back / 3 - i64::from(split) * 8) / 3 * 3,
                },
            };
            let cut = kind % 6 == 0;
            Event {
                what,
                split,
                at,
                cut,
            }
        };
        let mut input = input(delay * 12, 30, 1_000);
        input.timing.advance_in_silence = advance;
        input.stream.key = vec!["name".to_owned()];
        (input, events.into_iter().map(event).collect())
    })
}

fn arrivals(events: &[Event], joined: bool) -> Vec<Arrival> {
    let mut offsets = [0_i64; 3];
    let splits = ["0", "1", "2"].map(Split::new).to_vec();
    let at = BASE - 1;
    let mut arrivals = vec![Arrival::Splits {
        table: 0,
        splits,
        at,
    }];
    let mut rest = events;
    while let Some(first) = rest.first() {
        let (split, table) = (first.split, 0);
        let goes_on = |event: &Event| joined && !event.cut && event.split == split;
        let is_row = |event: &Event| matches!(event.what, What::Row { .. });
        let is_bad = |event: &Event| matches!(event.what, What::Rejected);
        let count = |is: &dyn Fn(&Event) -> bool, from: usize| {
            let events = rest.iter().enumerate().skip(from);
            events
                .take_while(|(i, e)| is(e) && (*i == 0 || goes_on(e)))
                .count()
        };
        let taken = match first.what {
            What::Tick => {
                arrivals.push(Arrival::Tick { at: first.at });
                1
            }
            What::Advance { time } => {
                arrivals.push(Arrival::Advance {
                    table,
                    time,
                    at: first.at,
                });
                1
            }
            What::Row { .. } | What::Rejected => {
                let rows = count(&is_row, 0);
                let bad = match joined || rows == 0 {
                    true => count(&is_bad, rows),
                    false => 0,
                };
                let times = rest[..rows].iter().map(|event| match event.what {
                    What::Row { time } => (Some(time), event.at),
                    _ => unreachable!(),
                });
                let rejected = rest[rows..rows + bad].iter().map(|event| event.at);
                let (times, rejected): (Vec<_>, Vec<_>) = (times.collect(), rejected.collect());
                let offset = &mut offsets[usize::from(split)];
                let mut records = records(split, &times, &rejected, offset);
                // Two keys to a split.
                let names = times.iter().map(|(_, at)| format!("{split}-{}", at % 2));
                let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
                let columns = vec![names, Arc::clone(records.rows.column(1))];
                records.rows = RecordBatch::try_new(records.rows.schema(), columns).unwrap();
                arrivals.push(Arrival::Records(records));
                rows + bad
            }
        };
        rest = &rest[taken..];
    }
    let at = events.last().map_or(BASE, |event| event.at) + 1;
    arrivals.push(Arrival::End { table: 0, at });
    arrivals
}

/// What goes on, in order: key, event time, arrival. And how many of them before the end.
fn run(input: &Input, arrivals: Vec<Arrival>, by_split: bool, restore: bool) -> Outcome {
    let inputs = [input.clone()];
    let batch = input.batch_schema();
    let spec = Order {
        time: 1,
        split: batch.index_of(SPLIT).unwrap(),
        late: batch.index_of(LATE).unwrap(),
        schema: batch,
        by_split,
    };
    let (mut intake, mut order) = (Intake::new(&inputs), spec.build().unwrap());
    let mut outcome = Outcome::default();
    for arrival in arrivals {
        if restore {
            let (taken, held) = (intake.snapshot().unwrap(), order.snapshot().unwrap());
            (intake, order) = (Intake::new(&inputs), spec.build().unwrap());
            intake.restore(&taken).unwrap();
            order.restore(held).unwrap();
        }
        if matches!(arrival, Arrival::End { .. }) {
            outcome.before_the_end = outcome.rows.len();
        }
        let mut out = Output::default();
        for (_, message) in intake.arrive(arrival).unwrap().messages {
            match message {
                Message::Batch(rows) => order.on_batch(0, rows, &mut out).unwrap(),
                Message::Watermark(watermark) => order.on_watermark(watermark, &mut out).unwrap(),
            }
        }
        outcome.rows.extend(out.take().iter().flat_map(rows));
    }
    outcome.accepted = intake.counts()[0].accepted;
    outcome
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    rows: Vec<(String, i64, i64)>,
    before_the_end: usize,
    accepted: u64,
}

fn rows(batch: &RecordBatch) -> Vec<(String, i64, i64)> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let times = |name: &str| {
        column(name)
            .as_primitive::<TimestampNanosecondType>()
            .values()
            .clone()
    };
    let (time, at) = (times("ts"), times(ARRIVED_AT));
    let names = column("name").as_string::<i32>();
    let row = |i: usize| (names.value(i).to_owned(), time[i], at[i]);
    (0..batch.num_rows()).map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn the_order_does_not_depend_on_polls((input, events) in scripts()) {
        let whole = run(&input, arrivals(&events, true), true, false);
        prop_assert_eq!(&whole, &run(&input, arrivals(&events, false), true, false));
        prop_assert_eq!(&whole, &run(&input, arrivals(&events, true), true, true));
        prop_assert_eq!(&whole, &run(&input, arrivals(&events, false), true, true));
    }

    #[test]
    fn each_key_is_in_event_time_order_and_no_row_waits_longer((input, events) in scripts()) {
        let by_split = run(&input, arrivals(&events, true), true, false);
        let by_table = run(&input, arrivals(&events, true), false, false);
        prop_assert_eq!(by_split.rows.len() as u64, by_split.accepted);
        prop_assert!(by_split.before_the_end >= by_table.before_the_end);
        let of_keys = |outcome: &Outcome| {
            let mut rows = outcome.rows.clone();
            rows.sort_by(|a, b| a.0.cmp(&b.0));
            rows
        };
        prop_assert_eq!(of_keys(&by_split), of_keys(&by_table));
        let times_rise = |rows: &[(String, i64, i64)]| {
            let pairs = rows.windows(2);
            pairs.filter(|pair| pair[0].0 == pair[1].0).all(|pair| pair[0].1 <= pair[1].1)
        };
        prop_assert!(times_rise(&of_keys(&by_split)));
    }
}

#[test]
fn a_split_does_not_wait_for_a_slower_one() {
    let mut input = input(0, 1_000, 1_000);
    input.stream.key = vec!["name".to_owned()];
    let row = |split, time, at| Event {
        what: What::Row { time },
        split,
        at,
        cut: true,
    };
    let events = [
        row(0, BASE, BASE + 1),
        row(1, BASE - 90, BASE + 2),
        row(0, BASE + 5, BASE + 6),
    ];
    let waits = |by_split| run(&input, arrivals(&events, true), by_split, false).before_the_end;
    assert_eq!((waits(true), waits(false)), (3, 0));
}

#[test]
fn what_a_split_holds_goes_on_when_it_falls_idle_within_a_poll() {
    let mut input = input(10, 30, 1_000);
    input.stream.key = vec!["name".to_owned()];
    // Split 2 is idle from 32 on: a poll of split 0 goes beyond that.
    let events = [
        (2, 0, 1),
        (0, 15, 20),
        (0, 20, 25),
        (0, 26, 31),
        (0, 30, 40),
    ];
    let events = events.map(|(split, time, at)| Event {
        what: What::Row { time: BASE + time },
        split,
        at: BASE + at,
        cut: false,
    });
    for joined in [false, true] {
        let outcome = run(&input, arrivals(&events, joined), true, false);
        let before = outcome.rows.iter().take(outcome.before_the_end);
        let times: Vec<i64> = before.map(|row| row.1 - BASE).collect();
        assert_eq!(times, [15, 0, 20], "{joined}");
    }
}

#[test]
fn a_key_on_a_second_split_is_an_error_that_names_both() {
    let mut input = input(0, 1_000, 1_000);
    input.stream.key = vec!["name".to_owned()];
    let rows = |split: &str, at: i64| {
        Arrival::Records(Records {
            split: Split::new(split),
            ..records(0, &[(Some(BASE), at)], &[], &mut 0)
        })
    };
    for restore in [false, true] {
        let mut intake = Intake::new(std::slice::from_ref(&input));
        intake.arrive(rows("a", BASE + 1)).unwrap();
        if restore {
            let state = intake.snapshot().unwrap();
            intake = Intake::new(std::slice::from_ref(&input));
            intake.restore(&state).unwrap();
        }
        intake.arrive(rows("a", BASE + 2)).unwrap();
        let error = intake.arrive(rows("b", BASE + 3)).unwrap_err();
        let expected = "table 't': rows of name 'x' came from split 'a' and now from split 'b', \
                        and 'key' says that all rows of a key are on one split; remove 'key', or \
                        let the producers write each key to one split";
        assert_eq!(
            (error.kind(), error.chain().as_str()),
            (crate::ErrorKind::Invalid, expected)
        );
    }
}
