//! A file of ours whose bytes are not those that were written is refused, wherever it is damaged.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom, Write};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use connectors::parquet::recorder::recorder;

use super::*;

/// Everything that a replay reads.
fn replayed(folder: &Path, schema: &Arc<Schema>) -> Result<usize> {
    let request = Request {
        schema: Arc::clone(schema),
        ..request(engine::stream::ARRIVED_AT)
    };
    let mut reader = Ordered::open(folder, &request)?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.num_rows();
    }
    Ok(rows)
}

/// Inverts a byte; done twice, it is as before.
fn flip(path: &Path, at: u64) {
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("there");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(at)).expect("there");
    file.write_all(&[byte[0] ^ 0xff]).expect("written");
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let fields = Schema::new(trade_fields());
    let schema = engine::intake::recording::schema(&fields);
    let count = 20_000;
    let records = engine::intake::Records {
        table: 0,
        split: engine::Split::new("market-0"),
        rows: trades(&(0..count).collect::<Vec<_>>()),
        offsets: (0..count).collect(),
        record_times: None,
        arrived_at: (0..count).collect(),
        rejected: vec![],
        next_offset: count,
    };
    let arrival = engine::Arrival::Records(records);
    let rows = engine::intake::recording::encode(&schema, &arrival, 0).expect("encodes");
    let mut sink = recorder(folder.path(), "trades", &owner(), &schema).expect("a sink");
    sink.publish(Epoch(1), &rows).await.expect("taken");
    sink.flush().await.expect("flushed");
    let file = folder.path().join(&names(folder.path())[0]);
    assert_eq!(
        replayed(folder.path(), &schema).expect("whole"),
        count as usize
    );

    let length = fs::metadata(&file).expect("there").len();
    let pages = (0..100).map(|part| part * length / 100);
    // The footer and what stands around it, byte by byte.
    let tail = length.saturating_sub(3_000)..length;
    for at in pages.chain(tail).collect::<BTreeSet<_>>() {
        flip(&file, at);
        let Err(error) = replayed(folder.path(), &schema) else {
            panic!("byte {at} of {length} was flipped, and nothing was noticed");
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("job-shard0-00000001-00000001.parquet") && text.contains("a copy"),
            "{text}"
        );
        let error = read(&file, trade_fields()).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        flip(&file, at);
    }
    assert_eq!(
        replayed(folder.path(), &schema).expect("whole"),
        count as usize
    );
    let others = File::open(&file).and_then(|file| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
        Ok(reader
            .map(|rows| rows.expect("rows").num_rows())
            .sum::<usize>())
    });
    assert_eq!(others.expect("any reader takes it"), count as usize);
}
