//! The contract holds of what is right, and is broken by what is not.

use std::sync::Mutex;

use super::*;
use crate::sink::Emit;
use crate::testing::{Collected, Transactions};

struct Memory(Collected);

#[async_trait]
impl Outlet for Memory {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Publishing::new(self.0.sink())))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.0.rows())
    }

    /// Whoever has the sink writes to memory.
    fn fences(&self) -> bool {
        false
    }
}

struct Carried(Transactions);

#[async_trait]
impl Outlet for Carried {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Carrying::new(self.0.commit_point())))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.0.rows(0))
    }
}

#[tokio::test]
async fn sinks_and_transactions_in_memory_keep_it() {
    let memory = async || Ok(Memory(Collected::default()));
    sink_contract(memory).await.unwrap();
    let carried = async || Ok(Carried(Transactions::default()));
    sink_contract(carried).await.unwrap();
}

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It forgets what it has once it is opened anew.
    Doubles,
    /// It holds rows back and says that they are out.
    Loses,
    /// It goes on after its replacement.
    Wakes,
    /// NULLs become something else.
    Guesses,
}

#[derive(Clone)]
struct Bad {
    wrong: Wrong,
    out: Arc<Mutex<BTreeMap<u64, RecordBatch>>>,
}

struct BadSink {
    to: Bad,
    held: Vec<RecordBatch>,
    published: Epoch,
}

impl BadSink {
    fn put_out(&mut self, rows: Vec<RecordBatch>) {
        let mut out = self.to.out.lock().unwrap();
        for rows in rows {
            let number = out.len() as u64;
            out.insert(number, rows);
        }
    }
}

#[async_trait]
impl Sink for BadSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        if epoch <= self.published {
            return Ok(());
        }
        self.published = epoch;
        let rows = rows.iter().filter(|rows| rows.num_rows() > 0).cloned();
        match self.to.wrong {
            Wrong::Loses => self.held.extend(rows),
            Wrong::Guesses => {
                let rows = rows.map(|rows| {
                    let mut columns = rows.columns().to_vec();
                    let texts = columns[1].len();
                    columns[1] = Arc::new(StringArray::from_iter_values(vec!["?"; texts]));
                    RecordBatch::try_new(rows.schema(), columns).unwrap()
                });
                let rows = rows.collect();
                self.put_out(rows);
            }
            Wrong::Doubles | Wrong::Wakes => {
                let rows = rows.collect();
                self.put_out(rows);
            }
        }
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        Ok(self.published)
    }

    async fn flush(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        self.put_out(held);
        Ok(())
    }
}

#[async_trait]
impl Outlet for Bad {
    fn writer(&self) -> Result<Box<dyn Writer>> {
        let published = match self.wrong {
            Wrong::Doubles => Epoch(0),
            // As many as there ever were in this test.
            _ => Epoch(self.out.lock().unwrap().len() as u64 * 9),
        };
        Ok(Box::new(Publishing::new(Box::new(BadSink {
            to: self.clone(),
            held: vec![],
            published,
        }))))
    }

    async fn seen(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.out.lock().unwrap().values().cloned().collect())
    }
}

#[tokio::test]
async fn what_is_wrong_is_found() {
    let expected = [
        (Wrong::Doubles, "is seen 2 times"),
        (Wrong::Loses, "is not seen"),
        (Wrong::Wakes, "is not seen"),
        (Wrong::Guesses, "is committed 0 times"),
    ];
    for (wrong, found) in expected {
        let fresh = async || {
            let out = Arc::default();
            Ok(Bad { wrong, out })
        };
        let said = sink_contract(fresh).await.unwrap_err().chain();
        assert!(said.contains(found), "{wrong:?}: {said}");
    }
}
