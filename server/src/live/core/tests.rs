//! Whatever happens in whatever order, what readers are told equals a naive reference.

mod reader;
mod world;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use reader::Reader;
use world::{Step, World, steps};

fn check(keyed: bool, after_commit: bool, steps: &[Step]) {
    let mut world = World::new(keyed, after_commit);
    for step in steps {
        world.apply(step);
        world.check();
    }
    world.settle();
    world.check();
    world.check_settled();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn readers_of_a_keyed_stream_are_told_what_is_so(steps in steps()) {
        check(true, false, &steps);
    }

    #[test]
    fn readers_of_a_stream_without_a_key_are_told_what_is_so(steps in steps()) {
        check(false, false, &steps);
    }

    #[test]
    fn readers_of_committed_rows_are_never_told_others(steps in steps()) {
        check(true, true, &steps);
    }
}

/// Key, value, and one that is often the same.
fn rows(rows: &[(u8, i64)]) -> RecordBatch {
    let keys = rows
        .iter()
        .map(|(key, _)| (*key > 0).then(|| format!("K{key}")));
    let often = rows.iter().map(|(_, n)| (n % 3 > 0).then_some(n % 2));
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("k", Arc::new(keys.collect::<StringArray>()), true),
        (
            "n",
            Arc::new(rows.iter().map(|(_, n)| Some(*n)).collect::<Int64Array>()),
            true,
        ),
        ("m", Arc::new(often.collect::<Int64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn windows_that_are_open_are_shown_when_they_change_and_to_newcomers() {
    let mut world = World::new(true, false);
    world.apply(&Step::Subscribe { reader: 1, view: 0 });
    world.core.forming(&[rows(&[(1, 5)])]).unwrap();
    world.core.forming(&[rows(&[(1, 5)])]).unwrap();
    world.apply(&Step::Subscribe { reader: 3, view: 0 });
    let forming = |reader: &mut Reader| {
        let frames = reader
            .frames()
            .into_iter()
            .filter(|frame| frame["type"] == "forming");
        frames
            .map(|frame| frame["rows"].to_string())
            .collect::<Vec<_>>()
    };
    let shown = r#"[{"k":"K1","m":1,"n":5}]"#;
    assert_eq!(forming(&mut world.readers[1]), [shown]);
    assert_eq!(forming(&mut world.readers[3]), [shown]);
    world.core.forming(&[]).unwrap();
    world.core.forming(&[]).unwrap();
    assert_eq!(forming(&mut world.readers[1]), ["[]"]);
}

#[test]
fn equal_subscriptions_share_a_channel_and_its_frames() {
    let mut world = World::new(true, false);
    world.apply(&Step::Subscribe { reader: 1, view: 1 });
    world.apply(&Step::Subscribe { reader: 3, view: 1 });
    world.apply(&Step::Subscribe { reader: 2, view: 0 });
    assert_eq!(world.core.counts(), (2, 3));
    world.apply(&Step::Publish(vec![(1, 2), (2, 9)]));
    world.apply(&Step::Flush);
    let first = world.readers[1].taken();
    let second = world.readers[3].taken();
    let (Some(first), Some(second)) = (first.last(), second.last()) else {
        panic!("no frames");
    };
    assert!(Arc::ptr_eq(first, second), "the very same bytes");
}

#[test]
fn a_closed_stream_says_so() {
    let mut world = World::new(true, false);
    world.apply(&Step::Subscribe { reader: 1, view: 0 });
    world.core.close("the job has stopped").unwrap();
    let last = world.readers[1].frames().pop().unwrap();
    let expected = r#"{"id":"r1","reason":"the job has stopped","type":"unsubscribed"}"#;
    assert_eq!(last.to_string(), expected);
    assert!(world.core.is_closed() && !world.core.is_watched());
}

#[test]
fn what_is_known_of_a_key_is_not_taken_for_that_of_another() {
    let mut world = World::with_keys(true, false, 2);
    world.apply(&Step::Subscribe { reader: 1, view: 4 });
    world.readers[1].frames();
    let mut told = |rows: &[(u8, i64)]| {
        world.apply(&Step::Publish(rows.to_vec()));
        world.apply(&Step::Flush);
        let frames = world.readers[1].frames();
        let rows = frames.iter().filter_map(|frame| frame["rows"].as_array());
        let numbers = rows.flatten().map(|row| row["n"].as_i64());
        numbers.flatten().collect::<Vec<i64>>()
    };
    assert_eq!(told(&[(1, 10), (3, 11), (1, 12)]), [10, 12]);
    // The key that came first is forgotten, and its number goes to another one.
    assert_eq!(told(&[(3, 13), (2, 14), (3, 15)]), [14]);
    assert_eq!(told(&[(3, 16), (1, 17), (4, 18), (2, 19)]), [17, 19]);
    assert_eq!(told(&[(4, 20), (2, 21), (1, 22), (3, 23)]), [21, 22]);
}

#[test]
fn a_channel_whose_condition_leaves_out_all_rows_keeps_its_cursor_fresh() {
    let mut world = World::new(true, false);
    world.apply(&Step::Subscribe { reader: 1, view: 1 });
    world.readers[1].frames();
    world.apply(&Step::Publish(vec![(1, 1), (1, 3)]));
    world.apply(&Step::Flush);
    assert!(world.readers[1].frames().is_empty());
    world.core.bring_all_forward();
    let frames = world.readers[1].frames();
    let expected = r#"{"after":"1-0-0","channel":1,"cursor":"1-1-2","rows":[],"type":"update"}"#;
    assert_eq!(frames[0].to_string(), expected);
    world.core.bring_all_forward();
    assert!(world.readers[1].frames().is_empty());
}
