mod attacks;
mod keyed;
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType};
use proptest::prelude::*;

use super::*;
use crate::expression::{Column, Expression};
use crate::graph::{EventTime, Timing};
use crate::source::Rejected;
use crate::stream::{LATE, StreamSpec};
use crate::time::TIMESTAMP;

const BASE: i64 = 1_000_000;

fn input(delay: u64, idle: u64, skew: u64) -> Input {
    let schema = Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("ts", TIMESTAMP, true),
    ]));
    let column = |index: usize| {
        let field = schema.field(index);
        let (name, data_type) = (field.name().clone(), field.data_type().clone());
        Arc::new(Column {
            index,
            name,
            data_type,
        }) as Arc<dyn Expression>
    };
    Input {
        stream: StreamSpec {
            name: "t".into(),
            connector: "memory".into(),
            options: std::collections::BTreeMap::new(),
            schema: Arc::clone(&schema),
            metadata: vec![],
            key: vec![],
        },
        columns: vec![column(0), column(1)],
        schema,
        event_time: Some(EventTime {
            column: 1,
            delay: Duration::from_nanos(delay),
        }),
        timing: Timing {
            idle_timeout: Some(Duration::from_nanos(idle)),
            max_future_skew: Some(Duration::from_nanos(skew)),
            advance_in_silence: false,
        },
        archive: None,
    }
}

/// A row of a split with its event time (or NULL) and its arrival, or a tick.
#[derive(Debug, Clone)]
enum Op {
    Row {
        split: u8,
        time: Option<i64>,
        at: i64,
    },
    Rejected {
        split: u8,
        at: i64,
    },
    Tick {
        at: i64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0..12_u8, 0..3_u8, -30..60_i64, 1..40_i64);
    prop::collection::vec(op, 1..80).prop_map(|ops| {
        let mut at = BASE;
        let op = |(kind, split, time, gap): (u8, u8, i64, i64)| {
            at += if gap == 39 { 3_000_000_000 } else { gap };
            match kind {
                0 => Op::Tick { at },
                1 => Op::Rejected { split, at },
                2 => Op::Row {
                    split,
                    time: None,
                    at,
                },
                _ => Op::Row {
                    split,
                    time: Some(at - time),
                    at,
                },
            }
        };
        ops.into_iter().map(op).collect()
    })
}

fn records(split: u8, rows: &[(Option<i64>, i64)], rejected: &[i64], offset: &mut i64) -> Records {
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("ts", TIMESTAMP, true),
    ]);
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x"; rows.len()]));
    let times: TimestampNanosecondArray = rows.iter().map(|(time, _)| *time).collect();
    let first = *offset;
    *offset += (rows.len() + rejected.len()) as i64;
    let bad = |(i, at): (usize, &i64)| {
        let offset = first + (rows.len() + i) as i64;
        let payload = bytes::Bytes::from_static(b"?");
        (
            *at,
            Rejected {
                offset,
                record_time: None,
                payload,
                reason: "bad".into(),
            },
        )
    };
    Records {
        table: 0,
        split: Split::new(&split.to_string()),
        rows: RecordBatch::try_new(Arc::new(schema), vec![names, Arc::new(times)]).unwrap(),
        offsets: (first..first + rows.len() as i64).collect(),
        record_times: None,
        arrived_at: rows.iter().map(|(_, at)| *at).collect(),
        rejected: rejected.iter().enumerate().map(bad).collect(),
        next_offset: *offset,
    }
}

/// What came of a run: rows with their lateness, dead letters, counts, last watermark.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<(i64, bool)>,
    late: usize,
    dead: Vec<i64>,
    counts: Counts,
    watermark: Watermark,
}

fn arrivals(ops: &[Op], joined: bool) -> Vec<Arrival> {
    let mut offsets = [0_i64; 3];
    let mut arrivals = vec![];
    let mut i = 0;
    while i < ops.len() {
        match &ops[i] {
            Op::Tick { at } => arrivals.push(Arrival::Tick { at: *at }),
            Op::Rejected { split, at } => {
                let offset = &mut offsets[*split as usize];
                arrivals.push(Arrival::Records(records(*split, &[], &[*at], offset)));
            }
            Op::Row { split, .. } => {
                let mut rows = vec![];
                while let Some(Op::Row {
                    split: of,
                    time,
                    at,
                }) = ops.get(i)
                {
                    if of != split || (!joined && !rows.is_empty()) {
                        break;
                    }
                    rows.push((*time, *at));
                    i += 1;
                }
                let mut rejected = vec![];
                while let Some(Op::Rejected { split: of, at }) = ops.get(i) {
                    if of != split || !joined {
                        break;
                    }
                    rejected.push(*at);
                    i += 1;
                }
                i -= 1;
                let offset = &mut offsets[*split as usize];
                arrivals.push(Arrival::Records(records(*split, &rows, &rejected, offset)));
            }
        }
        i += 1;
    }
    arrivals
}

fn run(arrivals: Vec<Arrival>, restore: bool) -> Outcome {
    run_from(arrivals, BASE, restore)
}

fn run_from(arrivals: Vec<Arrival>, base: i64, restore: bool) -> Outcome {
    let inputs = [input(5, 60, 25)];
    let mut intake = Intake::new(&inputs);
    let splits = ["0", "1", "2"].map(Split::new).to_vec();
    intake
        .arrive(Arrival::Splits {
            table: 0,
            splits,
            at: base - 1,
        })
        .unwrap();
    let mut outcome = Outcome {
        rows: vec![],
        late: 0,
        dead: vec![],
        counts: Counts::default(),
        watermark: Watermark::MIN,
    };
    for arrival in arrivals {
        if restore {
            let state = intake.snapshot().unwrap();
            intake = Intake::new(&inputs);
            intake.restore(&state).unwrap();
        }
        let step = intake.arrive(arrival).unwrap();
        for (_, message) in step.messages {
            if let Message::Batch(batch) = message {
                let late = batch.column_by_name(LATE).unwrap().as_boolean().clone();
                let at = batch.column_by_name(crate::stream::ARRIVED_AT).unwrap();
                let at = at
                    .as_primitive::<TimestampNanosecondType>()
                    .values()
                    .clone();
                outcome.rows.extend(
                    at.iter()
                        .copied()
                        .zip(late.iter().map(|late| late.unwrap())),
                );
            }
        }
        outcome.late += step
            .late
            .iter()
            .map(|(_, rows)| rows.num_rows())
            .sum::<usize>();
        for (_, rows) in step.dead {
            let at = rows
                .column(0)
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .clone();
            outcome.dead.extend(at.iter());
        }
    }
    outcome.dead.sort_unstable();
    outcome.counts = intake.counts()[0];
    outcome.watermark = intake.watermarks()[0];
    outcome
}

proptest! {
    #[test]
    fn lateness_does_not_depend_on_polls(ops in ops()) {
        let outcome = run(arrivals(&ops, true), false);
        prop_assert_eq!(&outcome, &run(arrivals(&ops, false), false));
        prop_assert_eq!(&outcome, &run(arrivals(&ops, true), true));
    }

    #[test]
    fn everything_that_arrived_went_somewhere(ops in ops()) {
        let Outcome { rows, late, dead, counts, .. } = run(arrivals(&ops, true), false);
        let records = ops.iter().filter(|op| !matches!(op, Op::Tick { .. })).count() as u64;
        prop_assert_eq!(counts.arrived, records);
        prop_assert_eq!(counts.arrived, counts.accepted + counts.late + counts.future + counts.dead);
        prop_assert_eq!(rows.len() as u64, counts.accepted + counts.late);
        prop_assert_eq!(late as u64, counts.late);
        prop_assert_eq!(dead.len() as u64, counts.dead + counts.future);
    }

    #[test]
    fn a_recording_gives_the_same_arrivals(ops in ops()) {
        let schema = recording::schema(&input(0, 0, 0).stream.source_schema());
        let before = arrivals(&ops, true);
        let mut batches = vec![];
        for arrival in &before {
            batches.extend(recording::encode(&schema, arrival, 0).unwrap());
        }
        for batch in &batches {
            if let Some((run, rows)) = recording::run::shorten(batch).unwrap() {
                prop_assert!(rows.num_columns() < batch.num_columns());
                prop_assert_eq!(&run.lengthen(&rows).unwrap(), batch);
            }
        }
        let all = arrow::compute::concat_batches(&schema, &batches).unwrap();
        let after = recording::decode(&all, 0).unwrap();
        prop_assert_eq!(run(before, false), run(after, false));
    }
}

#[test]
fn a_silent_split_holds_the_watermark_until_it_is_idle() {
    let mut intake = Intake::new(&[input(0, 100, 1_000)]);
    let splits = ["a", "b"].map(Split::new).to_vec();
    intake
        .arrive(Arrival::Splits {
            table: 0,
            splits,
            at: BASE,
        })
        .unwrap();
    let mut offset = 0;
    let row = records(0, &[(Some(BASE), BASE + 10)], &[], &mut offset);
    intake
        .arrive(Arrival::Records(Records {
            split: Split::new("a"),
            ..row
        }))
        .unwrap();
    assert_eq!(intake.watermarks()[0].time, Timestamp::MIN);
    intake.arrive(Arrival::Tick { at: BASE + 100 }).unwrap();
    assert_eq!(intake.watermarks()[0].time, Timestamp::MIN);
    let step = intake.arrive(Arrival::Tick { at: BASE + 101 }).unwrap();
    assert!(step.changed);
    assert_eq!(intake.watermarks()[0].time, Timestamp(BASE));
    let step = intake.arrive(Arrival::Tick { at: BASE + 102 }).unwrap();
    assert!(!step.changed);
}

#[test]
fn one_clock_ahead_does_not_close_the_windows() {
    let mut intake = Intake::new(&[input(0, 1_000_000, 50)]);
    let mut offset = 0;
    let rows = [
        (Some(BASE), BASE + 1),
        (Some(BASE + 53), BASE + 2),
        (Some(BASE + 1), BASE + 3),
    ];
    let step = intake
        .arrive(Arrival::Records(records(0, &rows, &[], &mut offset)))
        .unwrap();
    assert_eq!(intake.watermarks()[0].time, Timestamp(BASE + 1));
    let counts = Counts {
        arrived: 3,
        accepted: 2,
        late: 0,
        future: 1,
        dead: 0,
    };
    assert_eq!(intake.counts()[0], counts);
    let reason = step.dead[0]
        .1
        .column_by_name("reason")
        .unwrap()
        .as_string::<i32>()
        .value(0);
    assert!(reason.starts_with("future"), "{reason}");
}

#[test]
fn arrivals_never_go_back() {
    let mut intake = Intake::new(&[input(0, 10, 10)]);
    intake.arrive(Arrival::Tick { at: 5 }).unwrap();
    assert_eq!(intake.stamp(Timestamp(3)), 6);
    let error = intake.arrive(Arrival::Tick { at: 5 }).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
}

#[test]
fn a_split_read_to_its_end_no_longer_holds_the_watermark() {
    let arrive = |arrivals: &[Arrival]| {
        let mut intake = Intake::new(&[input(0, 1_000_000, 1_000_000)]);
        for arrival in arrivals {
            intake.arrive(arrival.clone()).unwrap();
        }
        (intake.watermarks()[0].time, intake.positions())
    };
    let row = |split: &str, time: i64, at: i64| {
        let records = records(0, &[(Some(time), at)], &[], &mut 0);
        Arrival::Records(Records {
            split: Split::new(split),
            ..records
        })
    };
    let (split, next_offset) = (Split::new("a"), crate::source::END);
    let mut arrivals = vec![
        Arrival::Splits {
            table: 0,
            splits: vec![split.clone()],
            at: BASE,
        },
        row("a", BASE, BASE + 1),
        row("b", BASE + 9, BASE + 2),
    ];
    assert_eq!(arrive(&arrivals).0, Timestamp(BASE));
    arrivals.push(Arrival::Reached {
        table: 0,
        split,
        next_offset,
        at: BASE + 3,
    });
    let (time, positions) = arrive(&arrivals);
    assert_eq!(time, Timestamp(BASE + 9));
    assert_eq!(positions[0][&Split::new("a")], crate::source::END);
    // The journal and a recording tell it too.
    let schema = recording::schema(&input(0, 0, 0).stream.source_schema());
    let rows = arrivals
        .iter()
        .flat_map(|arrival| recording::encode(&schema, arrival, 0).unwrap());
    let rows: Vec<RecordBatch> = rows.collect();
    let all = arrow::compute::concat_batches(&schema, &rows).unwrap();
    assert_eq!(
        arrive(&recording::decode(&all, 0).unwrap()),
        (time, positions)
    );
    let last = arrivals.last().unwrap();
    let again = journal::Entry::of(last).repeat(None).unwrap();
    assert_eq!(format!("{again:?}"), format!("{last:?}"));
}
