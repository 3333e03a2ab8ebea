//! What travels along the edges of the graph.

use arrow::array::RecordBatch;

use crate::time::Watermark;

/// A message of a table or a step.
///
/// A barrier is not among them: a shard is one thread, so the runtime takes its snapshot between
/// two messages. The end of a bounded input is [`Watermark::MAX`].
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows.
    Batch(RecordBatch),
    /// The past is complete up to here.
    Watermark(Watermark),
}
