//! What every output keeps, by a stream that shows what is committed. It is a process's own: no other
//! writes it. What readers are told of it, by frames and cursors, is tested in the core.

use async_trait::async_trait;
use engine::graph::Port;
use engine::testing::contract::{Outlet, Writer, sink_contract, table_schema};
use engine::{Result, StreamSpec};

use super::*;
use crate::live::ring::Bounds;

/// Larger than anything in the test.
const MANY: usize = 1 << 20;

/// What outlives a process: the newest snapshot that was stored.
#[derive(Debug, Default)]
struct Kept {
    snapshot: Option<(Epoch, Snapshot)>,
    generation: u64,
    hub: Option<Arc<Hub>>,
}

#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Kept>>);

struct Life {
    kept: Arc<Mutex<Kept>>,
    hub: Arc<Hub>,
}

#[async_trait]
impl Outlet for Stream {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        let stream = StreamSpec {
            name: "t".to_owned(),
            connector: "blackhole".to_owned(),
            options: std::collections::BTreeMap::new(),
            schema: table_schema(),
            metadata: vec![],
            key: vec![],
        };
        let target = Target {
            shown: Emit::AfterCommit,
            ..Target::new(stream, Port::Input(0))
        };
        let sizes = Sizes {
            ring: Bounds {
                rows: MANY,
                bytes: MANY,
            },
            keys: MANY,
            page_rows: MANY,
            frame_bytes: MANY,
        };
        let mut kept = lock(&self.0);
        kept.generation += 1;
        let hub = Arc::new(Hub::new("job", &target, kept.generation, sizes));
        kept.hub = Some(Arc::clone(&hub));
        Ok(Box::new(Life {
            kept: Arc::clone(&self.0),
            hub,
        }))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        let hub = lock(&self.0).hub.clone();
        let newest = hub.map(|hub| hub.newest(MANY)).unwrap_or_default();
        Ok(newest.into_iter().map(|(_, rows)| rows).collect())
    }

    fn knows_again(&self) -> bool {
        false
    }

    fn fences(&self) -> bool {
        false
    }
}

#[async_trait]
impl Writer for Life {
    async fn begin(&mut self, _: Epoch) -> Result<Epoch> {
        let snapshot = lock(&self.kept).snapshot.clone();
        let (epoch, snapshot) = snapshot.unzip();
        let epoch = epoch.unwrap_or_default();
        if let Some(snapshot) = snapshot {
            self.hub.restore(epoch, snapshot)?;
        }
        self.hub.committed(epoch);
        Ok(epoch)
    }

    async fn stage(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        for rows in rows {
            self.hub.rows(epoch, rows);
        }
        Ok(())
    }

    /// Of every other epoch a snapshot is stored.
    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let snapshot = self.hub.snapshot(epoch)?;
        self.hub.committed(epoch);
        if epoch.0.is_multiple_of(2) {
            lock(&self.kept).snapshot = Some((epoch, snapshot));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stream_of_committed_rows_keeps_the_contract() {
    let kept = sink_contract(async || Ok(Stream::default())).await;
    assert!(kept.is_ok(), "{}", kept.unwrap_err().chain());
}
