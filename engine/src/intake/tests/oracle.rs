//! The intake against its definition: row by row, every split looked at for every row.

use std::collections::BTreeMap;

use super::*;

const SPLITS: usize = 3;
const SKEW: i64 = 25;
/// Much longer than any split may be silent.
const STANDSTILL: i64 = 3_000_000_000;

/// How a table is timed, and what its rows look like.
#[derive(Debug, Clone, Copy)]
struct Settings {
    delay: i64,
    idle: i64,
    advance: bool,
    /// Whether the transport has times of its own.
    recorded: bool,
    /// Event times are multiples of this, so that they tie.
    grain: i64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Tick,
    Rejected,
    Row { time: Option<i64>, recorded: i64 },
}

#[derive(Debug, Clone, Copy)]
struct Event {
    kind: Kind,
    split: u8,
    at: i64,
    /// Whether a poll begins here at the latest.
    cut: bool,
}

/// What became of the rows that are rows: when each arrived and whether it is late, which are from
/// the future, and the frontier after each event.
#[derive(Debug, Default, PartialEq)]
struct Fates {
    rows: Vec<(i64, bool)>,
    future: Vec<i64>,
    frontiers: BTreeMap<i64, (i64, u32)>,
}

fn scripts() -> impl Strategy<Value = (Settings, Vec<Event>)> {
    let settings = (0..2_i64, 0..2_i64, any::<bool>(), any::<bool>(), 0..2_i64);
    let event = (0..40_u8, 0..9_u8, -30..60_i64, 0..30_i64, 1..30_i64);
    (settings, prop::collection::vec(event, 1..120)).prop_map(|(settings, events)| {
        let (delay, idle, advance, recorded, grain) = settings;
        let settings = Settings {
            delay: delay * 7,
            idle: 20 + idle * 40,
            advance,
            recorded,
            grain: 1 + grain * 19,
        };
        let (mut at, mut split) = (BASE, 0);
        let event = |(kind, next, back, recorded, gap): (u8, u8, i64, i64, i64)| {
            // Long gaps are rare, and so are changes of the split: polls are to have many rows.
            at += match gap {
                29 => STANDSTILL,
                28 => gap * 3,
                _ => 1 + gap / 8,
            };
            if usize::from(next) < SPLITS {
                split = next;
            }
            let time = (at - back / 4).div_euclid(settings.grain) * settings.grain;
            let row = |time| Kind::Row {
                time,
                recorded: at - recorded,
            };
            let kind = match kind {
                0 => Kind::Tick,
                1 => Kind::Rejected,
                2 => row(None),
                3 => row(Some(at + SKEW + back)),
                4 => row(Some(at - 2 * back)),
                _ => row(Some(time)),
            };
            Event {
                kind,
                split,
                at,
                cut: next == 8,
            }
        };
        (settings, events.into_iter().map(event).collect())
    })
}

/// The definition. Between the rows of a poll nobody sees the frontier: of `found` only the
/// instants of the frontiers are taken.
fn by_definition(settings: Settings, events: &[Event], found: &Fates) -> Fates {
    let mut watermarks = [i64::MIN; SPLITS];
    let mut heard = [BASE - 1; SPLITS];
    let mut idle = [false; SPLITS];
    let mut frontier = (i64::MIN, 0);
    let mut followed = None;
    let mut fates = Fates::default();
    for Event {
        kind, split, at, ..
    } in events
    {
        let own = usize::from(*split);
        if !matches!(kind, Kind::Tick) {
            let silent = |split: usize| idle[split] || at - heard[split] > settings.idle;
            if (0..SPLITS).all(silent) {
                (heard, idle) = ([*at; SPLITS], [false; SPLITS]);
            }
            (heard[own], idle[own]) = (*at, false);
        }
        let due = |split: &usize| !idle[*split] && at - heard[*split] > settings.idle;
        let due: Vec<usize> = (0..SPLITS).filter(due).collect();
        let unwatched = |split: &usize| at - heard[*split] - settings.idle > 1_000_000_000;
        if due.iter().any(unwatched) {
            (heard, idle) = ([*at; SPLITS], [false; SPLITS]);
        } else {
            for split in &due {
                idle[*split] = true;
            }
        }
        if let Kind::Row {
            time: Some(time),
            recorded,
        } = *kind
        {
            let known = if settings.recorded { recorded } else { *at };
            if time > known.min(*at) + SKEW {
                fates.future.push(*at);
            } else {
                let late = time < watermarks[own] || (time, u32::from(*split)) < frontier;
                if !late {
                    watermarks[own] = watermarks[own].max(time - settings.delay);
                }
                fates.rows.push((*at, late));
            }
        }
        let active = (0..SPLITS).filter(|split| !idle[*split]);
        let lowest = active.map(|split| (watermarks[split], split as u32)).min();
        let silent = (at - settings.idle - settings.delay, 0);
        match lowest {
            Some(lowest) => (frontier, followed) = (frontier.max(lowest), None),
            None if settings.advance && silent > frontier => {
                if followed.is_some_and(|from| at - from > 1_000_000_000) {
                    (heard, idle, followed) = ([*at; SPLITS], [false; SPLITS], None);
                } else {
                    (frontier, followed) = (silent, Some(*at));
                }
            }
            None => {}
        }
        if found.frontiers.contains_key(at) {
            fates.frontiers.insert(*at, frontier);
        }
    }
    fates
}

/// The events as arrivals: rows of one split that follow each other, and then rejected records of
/// it, are one poll.
fn polls(settings: Settings, events: &[Event]) -> Vec<Arrival> {
    let mut polls: Vec<Vec<Event>> = vec![];
    for event in events {
        let joins = polls
            .last()
            .and_then(|poll| poll.last())
            .is_some_and(|last| {
                let kinds = matches!(
                    (last.kind, event.kind),
                    (Kind::Row { .. }, Kind::Row { .. } | Kind::Rejected)
                        | (Kind::Rejected, Kind::Rejected)
                );
                kinds && last.split == event.split && !event.cut
            });
        match polls.last_mut() {
            Some(poll) if joins => poll.push(*event),
            _ => polls.push(vec![*event]),
        }
    }
    let mut offsets = [0; SPLITS];
    let arrival = |poll: Vec<Event>| {
        let (split, at) = (poll[0].split, poll[0].at);
        let (mut rows, mut times, mut rejected) = (vec![], vec![], vec![]);
        for event in &poll {
            match event.kind {
                Kind::Tick => return Arrival::Tick { at },
                Kind::Rejected => rejected.push(event.at),
                Kind::Row { time, recorded } => {
                    rows.push((time, event.at));
                    times.push(recorded);
                }
            }
        }
        let offset = &mut offsets[usize::from(split)];
        Arrival::Records(Records {
            record_times: settings.recorded.then(|| times.into()),
            ..records(split, &rows, &rejected, offset)
        })
    };
    polls.into_iter().map(arrival).collect()
}

fn by_intake(settings: Settings, events: &[Event]) -> Fates {
    let [delay, idle] = [settings.delay, settings.idle].map(i64::unsigned_abs);
    let mut input = input(delay, idle, SKEW as u64);
    input.timing.advance_in_silence = settings.advance;
    let mut intake = Intake::new(&[input]);
    let splits = ["0", "1", "2"].map(Split::new).to_vec();
    let (table, at) = (0, BASE - 1);
    intake
        .arrive(Arrival::Splits { table, splits, at })
        .unwrap();
    let mut fates = Fates::default();
    for arrival in polls(settings, events) {
        let at = arrival.last_at();
        let step = intake.arrive(arrival).unwrap();
        for (_, message) in step.messages {
            let Message::Batch(batch) = message else {
                continue;
            };
            let late = batch.column_by_name(LATE).unwrap().as_boolean().clone();
            let arrived = batch.column_by_name(crate::stream::ARRIVED_AT).unwrap();
            let arrived = arrived.as_primitive::<TimestampNanosecondType>().clone();
            let late = late.iter().map(Option::unwrap);
            fates
                .rows
                .extend(arrived.values().iter().copied().zip(late));
        }
        for (_, dead) in step.dead {
            let arrived = dead.column(0).as_primitive::<TimestampNanosecondType>();
            let reasons = dead.column_by_name("reason").unwrap().as_string::<i32>();
            let dead = arrived.values().iter().zip(reasons.iter());
            let future = dead.filter(|(_, reason)| reason.unwrap().starts_with("future"));
            fates.future.extend(future.map(|(at, _)| *at));
        }
        let watermark = intake.watermarks()[0];
        let frontier = (watermark.time.0, watermark.split);
        fates.frontiers.insert(at, frontier);
    }
    fates
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn lateness_is_what_its_definition_says((settings, events) in scripts()) {
        let found = by_intake(settings, &events);
        let defined = by_definition(settings, &events, &found);
        prop_assert_eq!(found, defined);
    }
}

/// Rows at the frontier's own time are late on the splits that sort before its own, and only
/// there.
#[test]
fn a_tie_is_decided_by_the_number_of_the_split() {
    for (split, late) in [(0, true), (1, false), (2, false)] {
        let settings = Settings {
            delay: 0,
            idle: 20,
            advance: false,
            recorded: false,
            grain: 1,
        };
        let row = |split, time, at| Event {
            kind: Kind::Row {
                time: Some(BASE + time),
                recorded: 0,
            },
            split,
            at: BASE + at,
            cut: false,
        };
        // Split 1 alone is awake: the frontier is (BASE + 30, 1).
        let events = [row(1, 10, 10), row(1, 30, 30), row(split, 30, 31)];
        let fates = by_intake(settings, &events);
        assert_eq!(fates.rows[1..], [(BASE + 30, false), (BASE + 31, late)]);
        assert_eq!(fates, by_definition(settings, &events, &fates));
    }
}
