//! One query on its thread.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, Writer};
use connectors::parquet;
use engine::ErrorKind;
use futures::StreamExt;
use serde_json::value::RawValue;
use sql::batch::{self, Batch};
use sql::catalog::sql_type;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::tables::Cut;
use super::{Answer, Column, Limits, Unanswered};

/// Bytes of an answer at most: what comes then counts as beyond the limit of rows.
const MOST_BYTES: usize = 64 << 20;
/// How instants are written: RFC 3339. Those without a time zone are UTC.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9f";

/// Runs a query to its end, its limit, or until nobody waits.
pub(super) fn run(
    text: &str,
    tables: BTreeMap<String, Cut>,
    limits: Limits,
    memory: usize,
    nobody_waits: oneshot::Receiver<()>,
) -> Result<Answer, Unanswered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            let error = engine::Error::internal("no runtime for a query").caused_by(error);
            Unanswered::Failed(error)
        })?;
    runtime.block_on(async {
        let answering = timeout(limits.time, answer(text, tables, limits.rows, memory));
        tokio::select! {
            answered = answering => answered.unwrap_or_else(|_| Err(Unanswered::too_long(limits))),
            _ = nobody_waits => Err(Unanswered::Busy),
        }
    })
}

async fn answer(
    text: &str,
    tables: BTreeMap<String, Cut>,
    most: usize,
    memory: usize,
) -> Result<Answer, Unanswered> {
    let mut batch = Batch::closed(memory, parquet::read::verify).map_err(Unanswered::Wrong)?;
    for (name, cut) in tables {
        batch
            .add_table(&name, &cut.schema, &cut.files, cut.recent)
            .map_err(Unanswered::Wrong)?;
    }
    let mut rows = batch
        .query(text)
        .await
        .map_err(|errors| fault(errors, memory))?;
    let columns = columns(&rows.schema)?;
    let mut answer = Encoder::new(most);
    while !answer.truncated
        && let Some(batch) = rows.batches.next().await
    {
        let batch = batch.map_err(|error| fault(vec![error], memory))?;
        answer.add(&batch).map_err(Unanswered::Failed)?;
        // The timeout and the client's going away are noticed between batches.
        tokio::task::yield_now().await;
    }
    let truncated = answer.truncated;
    Ok(Answer {
        columns,
        rows: answer.finish().map_err(Unanswered::Failed)?,
        truncated,
    })
}

/// What became of errors of the query.
fn fault(errors: Vec<sql::Error>, memory: usize) -> Unanswered {
    if errors.iter().any(batch::is_exhausted) {
        return Unanswered::Limit(format!(
            "the query needs more than {} MB of memory: read fewer rows or columns, or group by \
             fewer keys",
            memory >> 20
        ));
    }
    for error in errors
        .iter()
        .filter(|error| error.kind == ErrorKind::Internal)
    {
        tracing::error!(%error, "a query met a defect");
    }
    Unanswered::Wrong(errors)
}

/// The columns; two of one name would be one in an object.
fn columns(schema: &Schema) -> Result<Vec<Column>, Unanswered> {
    let mut columns: Vec<Column> = vec![];
    for field in schema.fields() {
        if columns.iter().any(|column| column.name == *field.name()) {
            let message = format!("two columns are called '{}'", field.name());
            let error = sql::Error::of_whole(message).hint("name one of them otherwise with AS");
            return Err(Unanswered::Wrong(vec![error]));
        }
        columns.push(Column {
            name: field.name().clone(),
            data_type: sql_type(field.data_type()),
        });
    }
    Ok(columns)
}

/// Rows as a JSON array, up to a limit.
struct Encoder {
    writer: Writer<Vec<u8>, JsonArray>,
    left: usize,
    truncated: bool,
}

impl Encoder {
    fn new(most: usize) -> Self {
        let writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_timestamp_format(format!("{TIMESTAMP}Z"))
            .with_timestamp_tz_format(format!("{TIMESTAMP}%:z"))
            .build(vec![]);
        Self {
            writer,
            left: most,
            truncated: false,
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> engine::Result<()> {
        let taken = batch.num_rows().min(self.left);
        self.writer.write(&batch.slice(0, taken))?;
        self.left -= taken;
        let full = self.writer.get_ref().len() > MOST_BYTES;
        self.truncated = taken < batch.num_rows() || full;
        Ok(())
    }

    fn finish(mut self) -> engine::Result<Box<RawValue>> {
        self.writer.finish()?;
        let bytes = self.writer.into_inner();
        let wrong = |error: &dyn std::fmt::Display| {
            engine::Error::internal(format!("the rows are no JSON: {error}"))
        };
        let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
        RawValue::from_string(text).map_err(|error| wrong(&error))
    }
}
