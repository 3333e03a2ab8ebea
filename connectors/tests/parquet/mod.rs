//! Parquet: rolls, crashes, foreign files, and the order of replays.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something is not as expected"
)]

mod checksum;
mod rolls;
mod sleepers;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType};
use connectors::parquet::read::{Ordered, Request};
use engine::{Epoch, ErrorKind, Result, Sink, StreamSpec};
use proptest::prelude::*;

use crate::tables::{DAY, drain, owner, stream, trade_fields, trades};

fn table(folder: &Path, options: &[(&str, &str)]) -> StreamSpec {
    let mut all = vec![("path", folder.to_str().expect("UTF-8"))];
    all.extend(options);
    stream("parquet", trade_fields(), &all)
}

fn sink(folder: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let connector = connectors::find("parquet").expect("there");
    connector
        .sink(&table(folder, options), &owner())
        .expect("a sink")
}

/// All files below a folder, hidden ones too, by name; of the folders of starts without the random
/// part.
fn names(folder: &Path) -> Vec<String> {
    let mut names = vec![];
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path
            .file_name()
            .expect("named")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            let name = match name.split_once("-start-") {
                Some((owner, random)) if random.len() == 16 => format!("{owner}-start"),
                _ => name,
            };
            names.extend(
                self::names(&path)
                    .into_iter()
                    .map(|below| format!("{name}/{below}")),
            );
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

async fn read(folder: &Path, fields: Vec<Field>) -> Result<RecordBatch> {
    let table = stream(
        "parquet",
        fields,
        &[("path", folder.to_str().expect("UTF-8"))],
    );
    let mut source = connectors::find("parquet")?.source(&table)?;
    source.splits().await?;
    let mut batches = vec![];
    while let Some(polled) = source.next().await? {
        batches.push(polled.rows);
    }
    Ok(concat_batches(&table.source_schema(), &batches)?)
}

fn write(path: &Path, rows: &RecordBatch) {
    let file = File::create(path).expect("file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("writer");
    writer.write(rows).expect("written");
    writer.close().expect("closed");
}

#[tokio::test]
async fn a_roll_is_one_file_of_many_epochs() {
    let folder = tempfile::tempdir().expect("folder");
    let mut out = sink(folder.path(), &[]);
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    for epoch in 12..=15 {
        let rows = if epoch == 14 {
            vec![]
        } else {
            vec![trades(&[epoch as i64])]
        };
        out.publish(Epoch(epoch), &rows).await.expect("taken");
        out.publish(Epoch(epoch), &rows).await.expect("taken again");
    }
    assert_eq!(
        out.published().await.expect("known"),
        Epoch(0),
        "the file still grows"
    );
    assert_eq!(
        names(folder.path()),
        [".job-shard0-start/00000012_0.parquet.tmp"]
    );
    out.flush().await.expect("flushed");
    assert_eq!(out.published().await.expect("known"), Epoch(15));
    assert_eq!(
        names(folder.path()),
        ["job-shard0-00000012-00000015.parquet"]
    );
    let rows = read(folder.path(), trade_fields()).await.expect("readable");
    assert_eq!(rows, trades(&[12, 13, 15]));
    let mut small = sink(folder.path(), &[("rolling.size", "1 b")]);
    small
        .publish(Epoch(15), &[trades(&[15])])
        .await
        .expect("known already");
    small
        .publish(Epoch(16), &[trades(&[16])])
        .await
        .expect("rolled at once");
    assert_eq!(small.published().await.expect("known"), Epoch(16));
    assert_eq!(names(folder.path()).len(), 2);
}

#[tokio::test]
async fn what_a_crash_leaves_is_removed_or_completed() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path();
    let options = [("partition", "date")];
    let rows = [trades(&[1, DAY + 1, 2, 3 * DAY])];
    // Killed while the roll grew: its files have no manifest.
    let mut out = sink(root, &options);
    out.publish(Epoch(1), &rows).await.expect("taken");
    std::mem::forget(out);
    assert_eq!(
        names(root)
            .iter()
            .filter(|name| name.contains(".tmp"))
            .count(),
        3
    );
    let mut out = sink(root, &options);
    assert_eq!(out.published().await.expect("known"), Epoch(0));
    assert!(names(root).is_empty());
    out.publish(Epoch(1), &rows).await.expect("taken");
    out.flush().await.expect("flushed");
    let finished = names(root);
    assert_eq!(
        finished,
        [
            "date=1970-01-01/job-shard0-00000001-00000001.parquet",
            "date=1970-01-02/job-shard0-00000001-00000001.parquet",
            "date=1970-01-04/job-shard0-00000001-00000001.parquet",
        ]
    );
    // Killed between the renames, before starts had folders: the manifest is there.
    let manifest = root.join(".job-shard0-00000001-00000001.roll");
    fs::write(
        &manifest,
        "date=1970-01-01/0\ndate=1970-01-02/0\ndate=1970-01-04/0\n",
    )
    .expect("manifest");
    for day in ["date=1970-01-02", "date=1970-01-04"] {
        let name = root.join(day).join("job-shard0-00000001-00000001.parquet");
        fs::rename(
            name,
            root.join(day).join(".job-shard0-00000001.parquet.tmp"),
        )
        .expect("renamed");
    }
    let mut out = sink(root, &options);
    assert_eq!(out.published().await.expect("known"), Epoch(1));
    assert_eq!(names(root), finished);
    let found = read(root, trade_fields()).await.expect("readable");
    assert_eq!(found, trades(&[1, 2, DAY + 1, 3 * DAY]));
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    fs::write(&file, "mine").expect("file");
    let mut out = sink(&file.join("below"), &[]);
    let error = out.published().await.expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("file/below' cannot be written"),
        "{error}"
    );
    assert!(
        out.publish(Epoch(1), &[trades(&[1])]).await.is_err(),
        "it stays failed"
    );
    assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
}

#[tokio::test]
async fn foreign_files_are_read_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let schema = Schema::new(vec![
        Field::new("extra", DataType::Utf8, true),
        Field::new("volume", DataType::Int32, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["x"])),
        Arc::new(Int32Array::from(vec![7])),
    ];
    let rows = RecordBatch::try_new(Arc::new(schema), columns).expect("two columns");
    write(&folder.path().join("10.parquet"), &rows);
    write(&folder.path().join("9.parquet"), &rows);
    let wanted = vec![
        Field::new("volume", DataType::Int64, false),
        Field::new("symbol", DataType::Utf8, true),
    ];
    let path = folder.path().join("*.parquet");
    let table = stream(
        "parquet",
        wanted,
        &[("path", path.to_str().expect("UTF-8"))],
    );
    let mut source = connectors::find("parquet")
        .expect("there")
        .source(&table)
        .expect("valid");
    let (found, places) = drain(source.as_mut()).await;
    assert_eq!(
        found.column(0).as_primitive::<Int64Type>().values(),
        &[7, 7]
    );
    assert_eq!(found.column(1).null_count(), 2);
    assert_eq!(
        places,
        [("9.parquet".to_owned(), 0), ("10.parquet".to_owned(), 0)]
    );
    let error = read(
        folder.path(),
        vec![Field::new("volume", DataType::Utf8, true)],
    )
    .await;
    let error = error.expect_err("another type").to_string();
    assert!(error.contains("9.parquet' has column 'volume' as Int32, the table declares Utf8"));
    let error = read(
        folder.path(),
        vec![Field::new("price", DataType::Utf8, false)],
    )
    .await;
    assert!(
        error
            .expect_err("missing")
            .to_string()
            .contains("no column 'price'")
    );
}

#[tokio::test]
async fn damaged_and_absent_files_are_named() {
    let folder = tempfile::tempdir().expect("folder");
    let good = folder.path().join("a.parquet");
    write(&good, &trades(&(0..1000).collect::<Vec<_>>()));
    let bytes = fs::read(&good).expect("bytes");
    for damage in [
        bytes[..bytes.len() / 2].to_vec(),
        vec![],
        b"PAR1 and more".to_vec(),
    ] {
        fs::write(&good, damage).expect("written");
        let error = read(folder.path(), trade_fields())
            .await
            .expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("a.parquet"), "{error}");
        let error = Ordered::open(folder.path(), &request("ts")).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let error = read(&folder.path().join("none"), trade_fields())
        .await
        .expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn request(order_by: &str) -> Request {
    Request {
        schema: Arc::new(Schema::new(trade_fields())),
        required: vec![],
        order_by: order_by.to_owned(),
        from: None,
        to: None,
    }
}

fn ordered(folder: &Path, from: Option<i64>, to: Option<i64>) -> Vec<i64> {
    let mut reader = Ordered::open(
        folder,
        &Request {
            from,
            to,
            ..request("ts")
        },
    )
    .expect("opens");
    let mut times = vec![];
    while let Some(rows) = reader.next_batch().expect("rows") {
        assert!(rows.num_rows() <= 8_192 && rows.num_rows() > 0);
        times.extend_from_slice(
            rows.column(2)
                .as_primitive::<TimestampNanosecondType>()
                .values(),
        );
    }
    assert!(reader.rows() >= times.len() as u64);
    times
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn files_are_merged_in_order_within_bounds(
        files in proptest::collection::vec(proptest::collection::vec(0_i64..200, 1..60), 1..6),
        sorted in any::<bool>(), from in proptest::option::of(0_i64..200),
        to in proptest::option::of(0_i64..200),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut expected = vec![];
        for (i, mut times) in files.into_iter().enumerate() {
            if sorted { times.sort_unstable() }
            write(&folder.path().join(format!("{i}.parquet")), &trades(&times));
            expected.extend(times);
        }
        expected.sort_unstable();
        expected.retain(|time| from.is_none_or(|from| *time >= from) && to.is_none_or(|to| *time < to));
        prop_assert_eq!(ordered(folder.path(), from, to), expected);
    }
}

#[test]
fn long_files_come_in_batches_and_are_cut_by_statistics() {
    let folder = tempfile::tempdir().expect("folder");
    for (i, start) in [0_i64, 20_000, 40_000].into_iter().enumerate() {
        let rows = trades(&(start..start + 20_000).collect::<Vec<_>>());
        write(&folder.path().join(format!("{i}.parquet")), &rows);
    }
    assert_eq!(
        ordered(folder.path(), None, None),
        (0..60_000).collect::<Vec<_>>()
    );
    let bounds = Request {
        from: Some(20_000),
        to: Some(20_010),
        ..request("ts")
    };
    let reader = Ordered::open(folder.path(), &bounds).expect("opens");
    assert_eq!(reader.rows(), 20_000, "two of three files are left out");
    assert_eq!(ordered(folder.path(), Some(20_000), Some(20_010)).len(), 10);
    let error = Ordered::open(folder.path(), &request("price")).expect_err("no instant");
    assert!(
        error.to_string().contains("expected a TIMESTAMP"),
        "{error}"
    );
}

/// The rows of a recording of two arrivals around midnight, and their columns.
fn recorded() -> (SchemaRef, Vec<RecordBatch>) {
    let schema = engine::intake::recording::schema(&Schema::new(trade_fields()));
    let records = engine::intake::Records {
        table: 0,
        split: engine::Split::new("market-0"),
        rows: trades(&[5, 6]),
        offsets: vec![0, 1].into(),
        record_times: None,
        arrived_at: vec![DAY - 1, DAY].into(),
        rejected: vec![],
        next_offset: 2,
    };
    let arrival = engine::Arrival::Records(records);
    let rows = engine::intake::recording::encode(&schema, &arrival, 0).expect("encodes");
    (schema, rows)
}

#[tokio::test]
async fn recordings_are_laid_out_by_table_job_shard_and_day() {
    let folder = tempfile::tempdir().expect("folder");
    let (schema, rows) = recorded();
    let mut out =
        connectors::parquet::recorder::recorder(folder.path(), "trades", &owner(), &schema)
            .expect("a sink");
    out.publish(Epoch(1), &rows).await.expect("taken");
    out.flush().await.expect("flushed");
    assert_eq!(
        names(folder.path()),
        [
            "trades/job=job/shard=0/date=1970-01-01/job-shard0-00000001-00000001.parquet",
            "trades/job=job/shard=0/date=1970-01-02/job-shard0-00000001-00000001.parquet",
        ]
    );
    let request = Request {
        schema: Arc::clone(&schema),
        ..request(engine::stream::ARRIVED_AT)
    };
    let mut reader = Ordered::open(folder.path(), &request).expect("opens");
    let back = reader.next_batch().expect("rows").expect("some");
    assert_eq!(back, rows[0]);
    assert!(reader.next_batch().expect("end").is_none());
}
