//! `key` and `over` as operators: the same rows come out however they were cut and wherever the
//! job was stopped and restored.

mod ttl;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use engine::expression::{Column, Expression};
use engine::frame::{self, Frame, Literal, Units};
use engine::operator::key::Key;
use engine::operator::over::{Function, Over, Release};
use engine::operator::ttl::Ttl;
use engine::{Error, Operator, OperatorSpec, Output, Result, Timestamp, Watermark, indicator};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("ts", engine::time::TIMESTAMP, true),
        Field::new("price", DataType::Float64, true),
        Field::new("volume", DataType::Float64, true),
    ]))
}

type Row = (Option<u8>, Option<i64>, Option<f64>, Option<f64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let symbols = rows
        .iter()
        .map(|row| row.0.map(|symbol| format!("S{symbol}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(symbols.collect::<StringArray>()),
        Arc::new(
            rows.iter()
                .map(|row| row.1)
                .collect::<TimestampNanosecondArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("batch")
}

fn column(name: &str) -> Arc<dyn Expression> {
    let index = schema().index_of(name).expect("column");
    let data_type = schema().field(index).data_type().clone();
    Arc::new(Column {
        index,
        name: name.to_owned(),
        data_type,
    })
}

fn of_indicator(name: &str, inputs: &[&str]) -> Function {
    let kernel = indicator::find(name)
        .expect("indicator")
        .spec(&[])
        .expect("defaults");
    let arguments = inputs.iter().map(|input| column(input)).collect();
    Function {
        name: name.to_owned(),
        arguments,
        kernel,
    }
}

fn of_frame(name: &str, input: &str, literals: &[Literal], frame: Frame) -> Function {
    let arguments = vec![column(input)];
    let kernel = frame::spec(name, &[arguments[0].data_type()], literals, frame).expect("kernel");
    Function {
        name: format!("{name} {kernel}"),
        arguments,
        kernel,
    }
}

fn functions(units: Units) -> Vec<Function> {
    let frame = |start: Option<u64>, end| Frame { units, start, end };
    let mut functions = vec![
        of_indicator("rsi", &["price"]),
        of_indicator("macd", &["price"]),
        of_indicator("bbands", &["price"]),
        of_indicator("atr", &["price", "volume", "price"]),
        of_indicator("vwap", &["price", "price", "price", "volume"]),
        of_indicator("volume_zscore", &["volume"]),
        of_frame("lag", "price", &[Literal::Integer(5)], frame(None, 0)),
        of_frame("lag", "symbol", &[Literal::Integer(2)], frame(None, 0)),
        of_frame("lag", "ts", &[Literal::Integer(1)], frame(None, 0)),
        of_frame("count", "symbol", &[], frame(Some(3), 0)),
    ];
    for name in [
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "stddev",
        "var_pop",
        "last_value",
    ] {
        for (start, end) in [(Some(4), 0), (Some(6), 2), (None, 0), (None, 3)] {
            functions.push(of_frame(name, "price", &[], frame(start, end)));
        }
    }
    functions
}

struct Chain {
    specs: [Arc<dyn OperatorSpec>; 2],
    operators: [Box<dyn Operator>; 2],
    out: Vec<RecordBatch>,
    rejected: Vec<String>,
}

impl Chain {
    fn new(release: Release, functions: Vec<Function>) -> Self {
        Self::forgetting(release, functions, None)
    }

    fn forgetting(release: Release, functions: Vec<Function>, ttl: Option<Ttl>) -> Self {
        let key = Key::new(schema(), vec![0], "_key").expect("key");
        let key = key.forgetting(1, ttl);
        let over = Over::new(key.schema(), 4, 1, release, functions).expect("over");
        let over = over.forgetting(ttl);
        let operators = [key.build().expect("key"), over.build().expect("over")];
        let specs: [Arc<dyn OperatorSpec>; 2] = [Arc::new(key), Arc::new(over)];
        Self {
            specs,
            operators,
            out: vec![],
            rejected: vec![],
        }
    }

    fn push(&mut self, batch: RecordBatch) {
        let mut out = Output::default();
        self.operators[0].on_batch(0, batch, &mut out).expect("key");
        for keyed in out.take() {
            self.operators[1]
                .on_batch(0, keyed, &mut out)
                .expect("over");
        }
        self.take(&mut out);
    }

    fn take(&mut self, out: &mut Output) {
        self.out.extend(out.take());
        self.rejected
            .extend(out.take_rejected().into_iter().map(|row| row.reason));
    }

    fn advance(&mut self, time: Timestamp) {
        let mut out = Output::default();
        let watermark = Watermark {
            time,
            ..Watermark::MAX
        };
        for operator in &mut self.operators {
            operator
                .on_watermark(watermark, &mut out)
                .expect("watermark");
        }
        self.take(&mut out);
    }

    fn restart(&mut self) {
        for (spec, operator) in self.specs.iter().zip(&mut self.operators) {
            let snapshot = operator.snapshot().expect("snapshot");
            *operator = spec.build().expect("fresh");
            operator.restore(snapshot).expect("restored");
        }
    }

    /// Another over goes on with what this one knows of the functions that both have.
    fn hand_over(&mut self, to: &mut Self) {
        let key = self.operators[0].snapshot().expect("snapshot");
        to.operators[0].restore(key).expect("restored");
        let over = self.operators[1].snapshot().expect("snapshot");
        let (old, new) = (self.specs[1].parts(), to.specs[1].parts());
        assert_eq!(self.specs[1].base(), to.specs[1].base());
        let place = |part: &String| old.iter().position(|other| other == part);
        let from: Vec<_> = new.iter().map(place).collect();
        let restored = to.operators[1].restore_parts(over, &from);
        restored.expect("restored");
    }

    fn rows(&self) -> RecordBatch {
        concat_batches(&self.specs[1].schema(), &self.out).expect("alike")
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let price =
        prop_oneof![1 => Just(None), 9 => (0..4_000_i32).prop_map(|p| Some(f64::from(p) / 16.0))];
    let volume = prop_oneof![1 => Just(None), 9 => (0..50_i32).prop_map(|v| Some(f64::from(v)))];
    let row = (prop::option::of(0..3_u8), 0..3_i64, price, volume);
    prop::collection::vec(row, 1..200).prop_map(|rows| {
        let mut time = 0;
        let step = |(symbol, step, price, volume): (Option<u8>, i64, _, _)| {
            time += step;
            (symbol, Some(time), price, volume)
        };
        rows.into_iter().map(step).collect()
    })
}

/// Where the rows are cut, and whether the job is restarted there.
fn cuts() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((1..40_usize, any::<bool>()), 1..60)
}

fn run(release: Release, units: Units, rows: &[Row], cuts: &[(usize, bool)]) -> RecordBatch {
    let mut chain = Chain::new(release, functions(units));
    drive(&mut chain, rows, cuts);
    chain.rows()
}

fn drive(chain: &mut Chain, rows: &[Row], cuts: &[(usize, bool)]) {
    let (mut rest, mut cuts) = (rows, cuts.iter().cycle());
    while let Some((length, restart)) = cuts.next().filter(|_| !rest.is_empty()) {
        let (now, later) = rest.split_at((*length).min(rest.len()));
        chain.push(batch(now));
        let last = now.last().and_then(|row| row.1).unwrap_or_default();
        chain.advance(Timestamp(last));
        if *restart {
            chain.restart();
        }
        rest = later;
    }
    chain.advance(Timestamp::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cuts_and_restarts_leave_no_trace(rows in rows(), cuts in cuts()) {
        for (release, units) in [(Release::AtOnce, Units::Rows), (Release::OnWatermark, Units::Range)] {
            let whole = run(release, units, &rows, &[(rows.len(), false)]);
            prop_assert_eq!(whole.num_rows(), rows.len());
            prop_assert_eq!(&run(release, units, &rows, &cuts), &whole);
            prop_assert_eq!(&run(release, units, &rows, &[(1, false)]), &whole);
            prop_assert_eq!(&run(release, units, &rows, &[(1, true), (3, false)]), &whole);
        }
    }

    /// Some functions stay, in other places, and others come: the ones go on as if nothing had
    /// happened, the others begin.
    #[test]
    fn functions_that_stay_keep_their_state(rows in rows(), at in any::<prop::sample::Index>()) {
        let at = at.index(rows.len());
        for (release, units) in [(Release::AtOnce, Units::Rows), (Release::OnWatermark, Units::Range)] {
            let all = functions(units);
            let half = all.len() / 2;
            let mut whole = Chain::new(release, all.clone());
            let mut before = Chain::new(release, all[..half].to_vec());
            let turned: Vec<Function> = all.iter().rev().cloned().collect();
            let mut after = Chain::new(release, turned);
            let mut fresh = Chain::new(release, all.clone());
            for chain in [&mut whole, &mut before] {
                chain.push(batch(&rows[..at]));
            }
            before.hand_over(&mut after);
            for chain in [&mut whole, &mut after, &mut fresh] {
                chain.push(batch(&rows[at..]));
                chain.advance(Timestamp::MAX);
            }
            let (whole, after, fresh) = (whole.rows(), after.rows(), fresh.rows());
            let later = after.num_rows();
            let whole = whole.slice(whole.num_rows() - later, later);
            let columns = whole.num_columns();
            for (place, function) in all.iter().enumerate() {
                let here = after.column(columns - 1 - place);
                let there = columns - all.len() + place;
                if place < half {
                    prop_assert_eq!(here, whole.column(there), "{}", function);
                } else if release == Release::AtOnce {
                    prop_assert_eq!(here, fresh.column(there), "{}", function);
                }
            }
        }
    }
}

#[test]
fn peers_have_the_same_value_once_the_watermark_has_passed() {
    let sum = of_frame("sum", "price", &[], Frame::DEFAULT);
    let mut chain = Chain::new(Release::OnWatermark, vec![sum]);
    chain.push(batch(&[
        (Some(1), Some(10), Some(1.0), None),
        (Some(1), Some(10), Some(2.0), None),
    ]));
    chain.advance(Timestamp(10));
    assert!(chain.out.is_empty());
    chain.push(batch(&[
        (Some(1), Some(10), Some(4.0), None),
        (Some(1), Some(11), Some(8.0), None),
    ]));
    chain.advance(Timestamp(11));
    let values = |chain: &Chain| {
        chain
            .rows()
            .column(5)
            .as_primitive::<Float64Type>()
            .values()
            .to_vec()
    };
    assert_eq!(values(&chain), [7.0, 7.0, 7.0]);
    chain.restart();
    chain.advance(Timestamp::MAX);
    assert_eq!(values(&chain), [7.0, 7.0, 7.0, 15.0]);
}

#[test]
fn rows_of_several_splits_wait_each_for_its_own_time() {
    let sum = of_frame("sum", "price", &[], Frame::DEFAULT);
    let mut chain = Chain::new(Release::OnWatermark, vec![sum]);
    let row = |symbol, time| (Some(symbol), Some(time), Some(1.0), None);
    chain.push(batch(&[row(1, 5), row(2, 1), row(1, 9), row(2, 2)]));
    chain.advance(Timestamp(6));
    assert_eq!(chain.rows().num_rows(), 3);
    chain.advance(Timestamp(10));
    let rows = chain.rows();
    assert_eq!(
        rows.column(5).as_primitive::<Float64Type>().values(),
        &[1.0, 1.0, 2.0, 2.0]
    );
}

#[derive(Debug)]
struct Positive;

impl std::fmt::Display for Positive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("positive(price)")
    }
}

impl Expression for Positive {
    fn data_type(&self) -> DataType {
        DataType::Float64
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let prices = batch.column(2).as_primitive::<Float64Type>();
        if prices.iter().flatten().any(|price| price < 0.0) {
            return Err(Error::invalid("a price is negative"));
        }
        Ok(Arc::clone(batch.column(2)))
    }
}

#[test]
fn rows_at_fault_are_rejected_and_the_others_go_on() {
    for release in [Release::AtOnce, Release::OnWatermark] {
        let mut sum = of_frame("sum", "price", &[], Frame::DEFAULT);
        sum.arguments = vec![Arc::new(Positive)];
        let mut chain = Chain::new(release, vec![sum]);
        let row = |time, price| (Some(1), time, Some(price), None);
        chain.push(batch(&[
            row(Some(1), 1.0),
            row(Some(2), -1.0),
            row(None, 1.0),
            row(Some(3), 2.0),
        ]));
        chain.advance(Timestamp::MAX);
        let rows = chain.rows();
        assert_eq!(
            rows.column(5).as_primitive::<Float64Type>().values(),
            &[1.0, 3.0]
        );
        chain.rejected.sort();
        let reasons = [
            "a price is negative",
            "the row has no time to be ordered by",
        ];
        assert_eq!(chain.rejected, reasons);
    }
}

#[test]
fn explain_says_everything() {
    let frame = Frame {
        units: Units::Rows,
        start: Some(59),
        end: 0,
    };
    let functions = vec![
        of_indicator("rsi", &["price"]),
        of_frame("avg", "volume", &[], frame),
        of_frame("lag", "price", &[Literal::Integer(5)], frame),
    ];
    let chain = Chain::new(Release::AtOnce, functions);
    assert_eq!(chain.specs[0].to_string(), "Key: (symbol) AS _key");
    assert_eq!(
        chain.specs[1].to_string(),
        "Over: by _key, order ts, at once, rsi[14](price) AS rsi, \
         avg[rows 59 preceding](volume) AS avg avg[rows 59 preceding], \
         lag[5](price) AS lag lag[5]"
    );
    let names = chain.specs[1].schema();
    assert_eq!(names.field(5).name(), "rsi");
    assert!(names.field(5).is_nullable());
}

#[test]
fn a_snapshot_of_another_query_is_refused() {
    let frame = |start| Frame {
        units: Units::Rows,
        start: Some(start),
        end: 0,
    };
    let mut chain = Chain::new(
        Release::AtOnce,
        vec![of_frame("avg", "price", &[], frame(5))],
    );
    chain.push(batch(&[(Some(1), Some(1), Some(1.0), None)]));
    let snapshot = chain.operators[1].snapshot().expect("snapshot");
    for functions in [
        vec![of_frame("avg", "price", &[], frame(6))],
        vec![
            of_frame("avg", "price", &[], frame(5)),
            of_indicator("rsi", &["price"]),
        ],
        vec![],
    ] {
        let mut other = Chain::new(Release::AtOnce, functions);
        let error = other.operators[1]
            .restore(snapshot.clone())
            .expect_err("refused");
        assert_eq!(error.kind(), engine::ErrorKind::Corrupt);
    }
}
