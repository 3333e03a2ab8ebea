//! `state.ttl` in `key` and `over`: a key that was silent for longer starts afresh, whatever the
//! batches, watermarks and restarts, and what was kept of it is given back.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::UInt32Type;
use engine::operator::ttl::Ttl;
use engine::operator::union::TimeDomain;

use super::*;

fn ttl(length: i64) -> Ttl {
    Ttl {
        length,
        domain: TimeDomain::Event { delay: 0 },
        lag: 0,
    }
}

/// Everything but the number of the key, which is nobody's business.
fn without_number(rows: &RecordBatch) -> RecordBatch {
    let columns = (0..rows.num_columns()).filter(|column| *column != 4);
    rows.project(&columns.collect::<Vec<_>>()).expect("columns")
}

fn forgetful(
    (release, units): (Release, Units),
    length: i64,
    rows: &[Row],
    cuts: &[(usize, bool)],
) -> RecordBatch {
    let mut chain = Chain::forgetting(release, functions(units), Some(ttl(length)));
    drive(&mut chain, rows, cuts);
    without_number(&chain.rows())
}

/// The same by running each life of each key alone.
fn by_lives((release, units): (Release, Units), length: i64, rows: &[Row]) -> RecordBatch {
    let mut lives: BTreeMap<Option<u8>, (i64, usize)> = BTreeMap::new();
    let mut groups: BTreeMap<(Option<u8>, usize), Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let time = row.1.expect("time");
        let (last, life) = lives.entry(row.0).or_insert((time, 0));
        if time - *last > length {
            *life += 1;
        }
        *last = time;
        groups.entry((row.0, *life)).or_default().push(at);
    }
    let (mut results, mut order) = (vec![], vec![0; rows.len()]);
    let mut done = 0;
    for places in groups.values() {
        let alone: Vec<Row> = places.iter().map(|at| rows[*at]).collect();
        let mut chain = Chain::new(release, functions(units));
        drive(&mut chain, &alone, &[(alone.len(), false)]);
        results.push(chain.rows());
        for at in places {
            order[*at] = done;
            done += 1;
        }
    }
    let all = concat_batches(&results[0].schema(), &results).expect("alike");
    let all = take_record_batch(&all, &UInt32Array::from(order)).expect("rows");
    without_number(&all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_key_starts_afresh_after_a_silence(
        rows in rows(), cuts in cuts(), length in 0..9_i64,
    ) {
        for how in [(Release::AtOnce, Units::Rows), (Release::OnWatermark, Units::Range)] {
            let expected = by_lives(how, length, &rows);
            let whole = [(rows.len(), false)];
            for cuts in [&whole[..], &cuts, &[(1, false)], &[(1, true), (3, false)]] {
                prop_assert_eq!(&forgetful(how, length, &rows, cuts), &expected);
            }
        }
    }
}

fn price(symbol: u8, time: i64) -> Row {
    (Some(symbol), Some(time), Some(1.0), Some(1.0))
}

#[test]
fn memory_is_given_back() {
    let mut chain = Chain::forgetting(Release::AtOnce, functions(Units::Rows), Some(ttl(1_000)));
    let crowd: Vec<Row> = (0..250).map(|symbol| price(symbol, 0)).collect();
    chain.push(batch(&crowd));
    let size = |chain: &mut Chain| -> usize {
        let snapshots = chain
            .operators
            .iter_mut()
            .map(|o| o.snapshot().expect("snapshot"));
        let tables = snapshots.flat_map(|snapshot| snapshot.tables);
        tables.map(|table| table.num_rows()).sum()
    };
    let full = size(&mut chain);
    chain.push(batch(&[price(251, 900)]));
    chain.advance(Timestamp(1_000));
    assert!(
        size(&mut chain) > full,
        "nobody is forgotten before the time"
    );
    chain.advance(Timestamp(1_200));
    chain.push(batch(&[price(252, 1_900)]));
    chain.advance(Timestamp(5_000));
    let counts = functions(Units::Rows).len() + 1;
    assert_eq!(
        size(&mut chain),
        counts,
        "only how many tables each function has is left"
    );
    chain.restart();
    chain.push(batch(&[price(1, 5_000)]));
    let last = chain.out.last().expect("rows");
    assert_eq!(last.column(4).as_primitive::<UInt32Type>().value(0), 0);
}

#[test]
fn numbers_of_forgotten_keys_go_to_others() {
    let mut chain = Chain::forgetting(Release::AtOnce, functions(Units::Rows), Some(ttl(10)));
    for time in 0..2_000 {
        let symbol = (time % 251) as u8;
        chain.push(batch(&[price(symbol, time * 5)]));
        chain.advance(Timestamp(time * 5));
        if time % 97 == 0 {
            chain.restart();
        }
    }
    let rows = chain.rows();
    let numbers = rows.column(4).as_primitive::<UInt32Type>().values();
    let highest = numbers.iter().max().copied();
    assert!(highest < Some(16), "{highest:?}");
}

#[test]
fn explain_says_how_long_keys_are_remembered() {
    let functions = vec![of_indicator("rsi", &["price"])];
    let chain = Chain::forgetting(Release::AtOnce, functions, Some(ttl(3_600_000_000_000)));
    assert_eq!(
        chain.specs[0].to_string(),
        "Key: (symbol) AS _key, ttl 3600s after ts"
    );
    assert_eq!(
        chain.specs[1].to_string(),
        "Over: by _key, order ts, at once, ttl 3600s, rsi[14](price) AS rsi"
    );
}
