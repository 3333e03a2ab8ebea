use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;

use super::*;

const CSV: &str = "symbol,ts,price,volume\nA,2024-01-01T09:30:05,10,1\nA,2024-01-01T09:30:40,12,3\n\
                   B,2024-01-01T09:30:41,5,1\nA,2024-01-01T09:31:00,7,1\n";

async fn rows(batch: &Batch, text: &str) -> Result<String> {
    let rows = batch
        .query(text)
        .await?
        .batches
        .try_collect::<Vec<_>>()
        .await;
    let rows = rows.map_err(|error| vec![error])?;
    Ok(pretty_format_batches(&rows).unwrap().to_string())
}

async fn error(batch: &Batch, text: &str) -> String {
    let errors = rows(batch, text).await.unwrap_err();
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn batch() -> Batch {
    Batch::new(64 << 20, |_| Ok(())).unwrap()
}

#[tokio::test]
async fn files_folders_and_globs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    std::fs::create_dir_all(folder.path().join("bars/date=2024-01-01")).unwrap();
    std::fs::write(folder.path().join("bars/date=2024-01-01/a.csv"), CSV).unwrap();
    std::fs::write(folder.path().join("one.csv"), CSV).unwrap();
    std::fs::write(folder.path().join("one.json"), "{\"a\": 1}\n{\"a\": 2}\n").unwrap();
    for (from, count) in [
        ("one.csv", 4),
        ("one.json", 2),
        ("bars", 4),
        ("bars/", 4),
        ("on*.csv", 4),
    ] {
        let text = format!("SELECT COUNT(*) AS n FROM '{root}/{from}'");
        let found = rows(&batch(), &text).await.unwrap();
        assert!(found.contains(&format!("| {count} |")), "{from}: {found}");
    }
    // Files that are not all below folders of the same keys are read, without the keys.
    std::fs::create_dir_all(folder.path().join("deep/t/job=1/date=2024-01-01")).unwrap();
    std::fs::write(
        folder.path().join("deep/t/job=1/date=2024-01-01/a.csv"),
        CSV,
    )
    .unwrap();
    for from in [
        "deep",
        "deep/t",
        "deep/*",
        "deep/t/job=?/date=2024-*/*.csv",
        "de*/**/a.csv",
    ] {
        let text = format!("SELECT COUNT(*) AS n FROM '{root}/{from}'");
        let found = rows(&batch(), &text).await.unwrap();
        assert!(found.contains("| 4 |"), "{from}: {found}");
    }
    let none = format!("SELECT * FROM '{root}/deep/t/job=2*/*.csv'");
    assert!(error(&batch(), &none).await.contains("matches"));
    let text = format!("SELECT DISTINCT date FROM '{root}/bars'");
    assert!(rows(&batch(), &text).await.unwrap().contains("2024-01-01"));
}

#[tokio::test]
async fn our_functions_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trades.csv");
    std::fs::write(&file, CSV).unwrap();
    let file = file.to_str().unwrap();
    let text = format!(
        "SELECT symbol, sma(price, 2) OVER (w ROWS UNBOUNDED PRECEDING) AS x FROM '{file}'
         WINDOW w AS (PARTITION BY symbol ORDER BY ts) ORDER BY symbol, x"
    );
    let found = rows(&batch(), &text).await.unwrap();
    assert!(
        found.contains("| A      | 9.5  |") && found.contains("| A      | 11.0 |"),
        "{found}"
    );
    let text = format!(
        "SELECT symbol, SUM(price * volume) * 1.0 / SUM(volume) AS vwap, COUNT(*) AS n
         FROM TUMBLE((SELECT symbol, price, volume, CAST(ts AS TIMESTAMP) AS ts FROM '{file}'),
                     ts, INTERVAL '1' MINUTE)
         GROUP BY symbol, window_start, window_end ORDER BY symbol, window_start"
    );
    let found = rows(&batch(), &text).await.unwrap();
    assert!(found.contains("| A      | 11.5 | 2 |"), "{found}");
}

#[tokio::test]
async fn tables_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = batch();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(StringArray::from(vec!["A", "B"]))),
        ("p", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
    ];
    let table = RecordBatch::try_from_iter(columns).unwrap();
    batch.add_rows("t", table.schema(), vec![table]).unwrap();
    batch.add_folder("t$late", folder.path().join("late"));
    assert!(
        rows(&batch, "SELECT SUM(p) FROM t")
            .await
            .unwrap()
            .contains("3.0")
    );
    let missing = error(&batch, "SELECT * FROM t$late").await;
    assert!(
        missing.starts_with("line 1, column 15: ") && missing.ends_with("no rows yet"),
        "{missing}"
    );
    std::fs::create_dir_all(folder.path().join("late")).unwrap();
    std::fs::write(folder.path().join("late/a.csv"), CSV).unwrap();
    assert!(
        rows(&batch, "SELECT COUNT(*) FROM t$late")
            .await
            .unwrap()
            .contains("| 4 ")
    );
}

#[tokio::test]
async fn errors_have_their_place() {
    let mut batch = batch();
    let columns: Vec<(&str, ArrayRef)> = vec![("price", Arc::new(Float64Array::from(vec![1.0])))];
    let table = RecordBatch::try_from_iter(columns).unwrap();
    batch
        .add_rows("trades", table.schema(), vec![table])
        .unwrap();
    for (text, expected) in [
        (
            "SELECT prce\nFROM trades",
            "line 1, column 8: no column is called 'prce'; did you mean 'price'?",
        ),
        (
            "SELECT *\nFROM trade",
            "line 2, column 6: no table is called 'trade'; did you mean 'trades'?",
        ),
        (
            "SELECT * FROM 'no.csv'",
            "line 1, column 15: no file or folder is called 'no.csv'",
        ),
        (
            "SELECT * FROM '/etc/hostname'",
            "line 1, column 15: '/etc/hostname' holds nothing that can be \
          read; files end in .parquet, .csv or .json",
        ),
        (
            "INSERT INTO t SELECT 1",
            "line 1, column 1: this is not a query; write SELECT …; scripts are \
          for `millstream run`",
        ),
        (
            "SELECT 1; SELECT 2",
            "the text is not one query; write one SELECT",
        ),
        ("", "the text is not one query; write one SELECT"),
    ] {
        assert_eq!(error(&batch, text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn what_is_read_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trades.csv");
    std::fs::write(&file, CSV).unwrap();
    let text = format!(
        "SELECT MAX(price) FROM '{}' WHERE volume > 1",
        file.display()
    );
    let mut rows = batch().query(&text).await.unwrap();
    assert_eq!(rows.scan.rows(), 0);
    while rows.batches.try_next().await.unwrap().is_some() {}
    assert_eq!(rows.scan.rows(), 4);
}

#[tokio::test]
async fn how_much_there_is_to_read_is_told_where_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trades.csv");
    std::fs::write(&file, CSV).unwrap();
    let mut batch = batch();
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let (schema, twice) = (rows.schema(), vec![rows.clone(), rows]);
    batch.add_rows("kept", schema, twice).unwrap();
    for (text, total) in [
        ("SELECT * FROM kept WHERE x > 1".to_owned(), Some(6)),
        (
            "SELECT a.x FROM kept a JOIN kept b ON a.x = b.x".to_owned(),
            Some(12),
        ),
        (format!("SELECT * FROM '{}'", file.display()), None),
    ] {
        let rows = batch.query(&text).await.unwrap();
        assert_eq!(rows.scan.total(), total, "{text}");
    }
}

#[tokio::test]
async fn what_is_no_query_has_no_remedy_for_scripts() {
    for text in [
        "DROP TABLE x",
        "COPY x TO 'y'",
        "SHOW TABLES",
        "DELETE FROM x",
    ] {
        let found = error(&batch(), text).await;
        assert!(
            found.contains("is not available; write SELECT …"),
            "{found}"
        );
    }
}

#[tokio::test]
async fn what_makes_many_rows_of_few_can_be_stopped() {
    let mut batch = batch();
    let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values((0..100).map(f64::from)));
    let ones: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 100]));
    let table = RecordBatch::try_from_iter([("n", numbers), ("one", ones)]).unwrap();
    batch.add_rows("t", table.schema(), vec![table]).unwrap();
    let soon = std::time::Duration::from_millis(50);
    let joined = |on: &str| {
        let join = |name: &str| format!(" JOIN t AS {name} ON {}", on.replace('?', name));
        format!("t AS a{}", ["b", "c", "d"].map(join).concat())
    };
    for from in [
        "t AS a, t AS b, t AS c, t AS d".to_owned(),
        joined("a.one = ?.one"),
        joined("a.n < ?.n + 99"),
    ] {
        let text = format!("SELECT SUM(a.n * b.n * c.n * d.n) AS s FROM {from}");
        let summed = tokio::time::timeout(soon, rows(&batch, &text)).await;
        assert!(summed.is_err(), "{from}: {summed:?}");
    }
}
