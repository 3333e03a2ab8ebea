//! Records: what is left out of them comes back, and large columns are not copied.

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use object_store::memory::InMemory;

use super::container::Writer;
use super::*;
use crate::intake::journal::Entry;
use crate::intake::{Arrival, Records, recording};
use crate::source::{Rejected, Split};

fn source() -> Schema {
    Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
    ])
}

fn rows(split: &str, first: i64, offsets: &[i64], timed: bool) -> Arrival {
    let count = offsets.len();
    let symbols = (0..count).map(|row| (row != 1).then(|| format!("S{row}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(symbols.collect::<StringArray>()),
        Arc::new(Float64Array::from_iter_values(
            (0..count).map(|row| row as f64 / 3.0),
        )),
    ];
    Arrival::Records(Records {
        table: 0,
        split: Split::new(split),
        rows: RecordBatch::try_new(Arc::new(source()), columns).unwrap(),
        offsets: offsets.iter().copied().collect(),
        record_times: timed.then(|| offsets.iter().map(|offset| offset * 7).collect()),
        arrived_at: (first..first + count as i64).collect(),
        rejected: vec![],
        next_offset: offsets.last().map_or(0, |last| last + 1),
    })
}

fn rejected(at: i64) -> Arrival {
    let rejected = Rejected {
        offset: 9,
        record_time: None,
        payload: Bytes::from_static(b"{"),
        reason: "cut short".to_owned(),
    };
    let Arrival::Records(records) = rows("0", at, &[], false) else {
        unreachable!()
    };
    Arrival::Records(Records {
        rejected: vec![(at, rejected)],
        arrived_at: ScalarBuffer::from(vec![]),
        ..records
    })
}

fn record(arrivals: &[Arrival]) -> Record {
    let schema = recording::schema(&source());
    let encoded = arrivals
        .iter()
        .map(|arrival| recording::encode(&schema, arrival, 0).unwrap());
    Record {
        epoch: Epoch(3),
        kept: vec![(1, encoded.flatten().collect())],
        ..Record::default()
    }
}

fn bytes(record: &Record) -> Vec<u8> {
    Bytes::from(record.encode().unwrap()).to_vec()
}

#[test]
fn kept_rows_come_back_as_they_were() {
    let splits = vec![Split::new("0"), Split::new("1")];
    let record = record(&[
        Arrival::Splits {
            table: 0,
            splits,
            at: 1,
        },
        rows("0", 10, &[4, 5, 6], false),
        rows("1", 20, &[1], false),
        rows("1", 30, &[2, 3, 7], false),
        rejected(35),
        rows("0", 40, &[7, 8], true),
        Arrival::Tick { at: 50 },
        rows("0", 60, &[9, 10], true),
        rows("0", 70, &[11], false),
    ]);
    let again = Record::decode(&bytes(&record)).unwrap();
    assert_eq!(again.epoch, record.epoch);
    assert_eq!(again.kept, record.kept);
}

#[test]
fn what_follows_from_the_first_row_takes_no_bytes() {
    let one = rows("0", 10, &(0..8_192).collect::<Vec<_>>(), false);
    let run = record(std::slice::from_ref(&one));
    // The texts and floats alone, with the offsets and the NULLs of the texts.
    let source: usize = run.kept[0].1[0].columns()[..2]
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap())
        .sum();
    let size = bytes(&run).len();
    assert!(size < source + 4_096, "{size} bytes for {source}");
    // Rows of two splits are none.
    let other = record(&[one, rows("1", 9_000, &[0], false)]);
    let both = concat_batches(&recording::schema(&self::source()), &other.kept[0].1).unwrap();
    let whole = Record {
        kept: vec![(1, vec![both])],
        ..other
    };
    assert!(bytes(&whole).len() > source + 8_192 * 25);
    assert_eq!(Record::decode(&bytes(&whole)).unwrap().kept, whole.kept);
}

#[test]
fn a_record_of_another_format_is_refused() {
    let head = (Epoch(1), 0_u8);
    let writer = Writer::new(*b"MSRECORD", 1, &head).unwrap();
    let error = Record::decode(&Bytes::from(writer.finish())).unwrap_err();
    let text = "it has format 1, this build reads format 5";
    assert_eq!(error.to_string(), text);
}

#[test]
fn large_columns_are_written_from_where_they_are() {
    let record = record(&[rows("0", 0, &(0..100_000).collect::<Vec<_>>(), true)]);
    let prices = record.kept[0].1[0].column(1).to_data().buffers()[0].as_ptr();
    let payload = record.encode().unwrap();
    let mut parts = payload.iter().map(|part| part.as_ptr());
    assert!(parts.any(|part| part == prices));
    // The head, small buffers and paddings are not written one by one.
    assert!(
        payload.iter().count() < 20,
        "{} parts",
        payload.iter().count()
    );
}

#[tokio::test]
async fn a_record_between_a_fence_and_what_it_follows_does_not_count() {
    let store = Arc::new(InMemory::new());
    let log = Log::new(store, "job".into(), 0);
    log.put_plan("").await.unwrap();
    let fence = |epoch, follows| Record {
        epoch: Epoch(epoch),
        start: Some(Start {
            at: 1,
            process: 1,
            follows: Epoch(follows),
        }),
        ..Record::default()
    };
    let at = |epoch, at| Record {
        epoch: Epoch(epoch),
        journal: vec![Entry::Tick { at }],
        ..Record::default()
    };
    assert!(log.fence(&fence(1, 0)).await.unwrap());
    log.append(&at(2, 20)).await.unwrap();
    // Never committed, and arrived after what was committed then.
    log.append(&at(3, 90)).await.unwrap();
    assert!(!log.fence(&fence(3, 2)).await.unwrap());
    assert!(log.fence(&fence(4, 2)).await.unwrap());
    assert!(log.fence(&fence(5, 2)).await.unwrap());
    log.append(&at(6, 30)).await.unwrap();
    let contents = log.contents().await.unwrap();
    assert_eq!(contents.fences, [1, 3, 4, 5].map(Epoch));
    let history = log.history(&contents, Epoch(1), Epoch(6)).await.unwrap();
    assert_eq!(history.epochs, [2, 5, 6].map(Epoch));
    assert_eq!(history.follows, Epoch(1));
    let found = log.inspect().await.unwrap();
    assert_eq!(found.faults, []);
    let abandoned = found.records.iter().filter(|record| record.abandoned);
    let abandoned: Vec<Epoch> = abandoned.map(|record| record.epoch).collect();
    assert_eq!(abandoned, [3, 4].map(Epoch));
    // Nobody needs it; what counts is needed.
    for (epoch, stops) in [(3, false), (2, true)] {
        let path = log.path(Epoch(epoch), "record");
        log.store.put(&path, "gone".into()).await.unwrap();
        let found = log.inspect().await.unwrap();
        let fault = found
            .faults
            .iter()
            .find(|fault| fault.object == path.as_ref());
        assert_eq!(fault.unwrap().stops_recovery, stops, "{epoch}");
    }
    let contents = log.contents().await.unwrap();
    log.cut_records(Epoch(5), &contents).await.unwrap();
    let contents = log.contents().await.unwrap();
    // One that lost the race for a number left its mark there, and so a record stays.
    assert_eq!(contents.records, [1, 3, 4, 5, 6].map(Epoch));
}
