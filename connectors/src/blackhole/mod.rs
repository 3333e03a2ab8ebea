//! `'connector' = 'blackhole'`: takes rows and forgets them; for measurements and dry runs.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use engine::{Emit, Epoch, Result, Sink, StreamSpec};
use serde::Deserialize;

use crate::{Connector, Owner, options};

/// Options of the connector `blackhole`. It only writes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlackholeOptions {
    /// `now` (default) takes rows as they come, `after-commit` once their epoch is committed.
    #[serde(default, rename = "sink.emit")]
    pub emit: When,
}

/// When rows are taken.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// As they come.
    #[default]
    Now,
    /// Once they are committed.
    AfterCommit,
}

/// The connector.
#[derive(Debug)]
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn sink(&self, stream: &StreamSpec, _: &Owner) -> Result<Box<dyn Sink>> {
        let options: BlackholeOptions = options::parse(stream)?;
        let emit = match options.emit {
            When::Now => Emit::Now,
            When::AfterCommit => Emit::AfterCommit,
        };
        Ok(Box::new(BlackholeSink {
            emit,
            rows: 0,
            published: Epoch(0),
        }))
    }
}

/// Counts the rows it forgets.
#[derive(Debug)]
pub struct BlackholeSink {
    emit: Emit,
    rows: u64,
    published: Epoch,
}

impl BlackholeSink {
    /// Rows taken so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

#[async_trait]
impl Sink for BlackholeSink {
    fn emit(&self) -> Emit {
        self.emit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        if self.emit == Emit::AfterCommit && epoch <= self.published {
            return Ok(());
        }
        self.rows += rows
            .iter()
            .map(|batch| batch.num_rows() as u64)
            .sum::<u64>();
        self.published = self.published.max(epoch);
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        Ok(self.published)
    }

    async fn flush(&mut self) -> Result<()> {
        tracing::debug!(rows = self.rows, "the black hole has taken its rows");
        Ok(())
    }
}
