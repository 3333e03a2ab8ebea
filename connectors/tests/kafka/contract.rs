//! What every output keeps, by what a job's transactions carry. What becomes of brokers that are away
//! is in `outage`, and of a job with them in the crash tests of the binary.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use connectors::Owner;
use connectors::testing::Broker;
use engine::testing::contract::{Carrying, Outlet, Writer, sink_contract, table_schema};
use engine::{Result, StreamSpec};

use super::transaction::{commit_point, exactly_once, graph};
use super::{table, topic};
use crate::support::{open, with};

/// A topic that a job writes.
struct Topic {
    written: StreamSpec,
    read: StreamSpec,
    owner: Owner,
}

impl Topic {
    fn new() -> Self {
        let broker = Broker::shared().unwrap();
        let written = StreamSpec {
            schema: table_schema(),
            ..exactly_once(broker, &topic(broker, "contract", 2))
        };
        Self {
            written,
            read: table(broker, &topic(broker, "input", 1)),
            owner: Owner::unique("job", 0),
        }
    }
}

#[async_trait]
impl Outlet for Topic {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        let graph = graph(&self.read, &[&self.written]);
        let point = commit_point(&graph, &self.owner);
        Ok(Box::new(Carrying::new(point)))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        let bounded = with(self.written.clone(), "scan.bounded.mode", "latest-offset");
        let mut source = open(&bounded)?;
        source.splits().await?;
        let mut rows = vec![];
        while let Some(polled) = source.next().await? {
            let rejected = polled.rejected.first();
            assert!(rejected.is_none(), "{rejected:?}");
            rows.push(polled.rows);
        }
        Ok(rows)
    }
}

#[tokio::test]
async fn transactions_keep_the_contract() {
    let kept = sink_contract(async || Ok(Topic::new())).await;
    kept.map_err(|error| error.chain()).unwrap();
}
