use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, TimestampNanosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::time::{TIMESTAMP, Timestamp};

fn order() -> Order {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", TIMESTAMP, false),
        Field::new("_split", DataType::UInt32, false),
        Field::new("_late", DataType::Boolean, false),
    ]));
    Order {
        schema,
        time: 1,
        split: 2,
        late: 3,
        by_split: false,
    }
}

fn batch(rows: &[(i64, i64, u32, bool)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(TimestampNanosecondArray::from_iter_values(
            rows.iter().map(|row| row.1),
        )),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(order().schema, columns).unwrap()
}

fn ids(out: &mut Output) -> Vec<i64> {
    let batches = out.take();
    let ids = batches
        .iter()
        .map(|b| b.column(0).as_primitive::<Int64Type>().values().clone());
    ids.flat_map(|ids| ids.to_vec()).collect()
}

/// Rows in polls, each poll followed by a watermark; `restore` after each.
fn run(polls: &[Vec<(i64, i64, u32, bool)>], delay: i64, restore: bool) -> Vec<i64> {
    let mut operator = order().build().unwrap();
    let (mut out, mut highest) = (Output::default(), i64::MIN + delay);
    let mut released = vec![];
    for poll in polls {
        operator.on_batch(0, batch(poll), &mut out).unwrap();
        highest = poll
            .iter()
            .map(|row| row.1)
            .max()
            .unwrap_or(highest)
            .max(highest);
        let watermark = Watermark {
            time: Timestamp(highest - delay),
            ..Watermark::MIN
        };
        operator.on_watermark(watermark, &mut out).unwrap();
        released.extend(ids(&mut out));
        if restore {
            let snapshot = operator.snapshot().unwrap();
            operator = order().build().unwrap();
            operator.restore(snapshot).unwrap();
        }
    }
    operator.on_watermark(Watermark::MAX, &mut out).unwrap();
    released.extend(ids(&mut out));
    released
}

proptest! {
    #[test]
    fn rows_leave_in_order_however_they_were_polled(
        rows in prop::collection::vec((0..20_i64, 0..3_u32, prop::bool::weighted(0.1)), 1..60),
        cut in 1..7_usize,
    ) {
        let delay = 20;
        let rows: Vec<_> = rows.into_iter().enumerate().map(|(id, (jitter, split, late))| {
            (id as i64, id as i64 + jitter, split, late)
        }).collect();
        let mut expected: Vec<_> = rows.iter().filter(|row| !row.3).copied().collect();
        expected.sort_by_key(|row| (row.1, row.2, row.0));
        let expected: Vec<i64> = expected.iter().map(|row| row.0).collect();
        let polls: Vec<_> = rows.chunks(cut).map(<[_]>::to_vec).collect();
        prop_assert_eq!(&run(&polls, delay, false), &expected);
        prop_assert_eq!(&run(&polls, delay, true), &expected);
    }
}

#[test]
fn one_split_without_delay_waits_for_nothing() {
    let mut operator = order().build().unwrap();
    let mut out = Output::default();
    operator
        .on_batch(0, batch(&[(1, 10, 0, false), (2, 11, 0, false)]), &mut out)
        .unwrap();
    let watermark = Watermark {
        time: Timestamp(11),
        ..Watermark::MIN
    };
    operator.on_watermark(watermark, &mut out).unwrap();
    assert_eq!(ids(&mut out), [1, 2]);
}
