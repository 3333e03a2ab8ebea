//! The sink: a thread of its own writes what is committed.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use engine::{Emit, Epoch, Error, Result, Sink, StreamSpec};
use tokio::sync::oneshot;

use super::layout::Layout;
use super::roll::{Plan, Rolls};
use super::{Compression, Partition, SinkOptions, local, writer};
use crate::{Owner, options};

/// Writes what is committed, one roll of epochs after the other.
///
/// Encoding, compressing and syncing happen on a thread of its own, which also finishes a roll
/// that has taken long enough while no epoch comes. After an error it refuses everything: the log
/// still has the epochs of the roll that failed, and hands them over at the next start. Dropping
/// it waits for the thread: nothing is written afterwards.
#[derive(Debug)]
pub struct ParquetSink {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not asked for anything yet.
    New(Option<Box<Rolls>>),
    Running {
        /// `None` once the thread is to end.
        commands: Option<mpsc::Sender<Command>>,
        thread: Option<JoinHandle<()>>,
    },
}

/// What the thread is to do, and where it says the last epoch that is out.
#[derive(Debug)]
struct Command {
    task: Task,
    done: oneshot::Sender<Result<Epoch>>,
}

#[derive(Debug)]
enum Task {
    Take(Epoch, Vec<RecordBatch>),
    Published,
    Flush,
}

/// What a sink is made of besides its rows.
pub(super) struct Setup {
    pub(super) layout: Layout,
    pub(super) date: Option<usize>,
    pub(super) size: Option<u64>,
    pub(super) interval: Option<Duration>,
    pub(super) compression: Compression,
    pub(super) purpose: writer::Purpose,
}

impl ParquetSink {
    /// Reads the options; the folder is first touched by `published`.
    pub fn new(stream: &StreamSpec, owner: &Owner) -> Result<Self> {
        let options: SinkOptions = options::parse(stream)?;
        let date = match options.partition {
            Partition::None => None,
            Partition::Date => {
                let fields = stream.schema.fields();
                let dated = fields.iter().position(|field| {
                    matches!(
                        field.data_type(),
                        DataType::Timestamp(_, _) | DataType::Date32
                    )
                });
                Some(dated.ok_or_else(|| {
                    let message = "is 'date', but the table has no TIMESTAMP or DATE column";
                    options::invalid(stream, "partition", message)
                })?)
            }
        };
        let layout = Layout::new(local(stream, &options.path)?, owner);
        let setup = Setup {
            layout,
            date,
            size: options.size.map(|size| size.0),
            interval: options.interval.map(|interval| interval.0),
            compression: options.compression,
            purpose: writer::Purpose::Table,
        };
        Self::build(nullable(&stream.schema), setup)
    }

    /// A sink of these columns.
    pub(super) fn build(schema: SchemaRef, setup: Setup) -> Result<Self> {
        let properties = writer::properties(&schema, setup.compression, setup.purpose)?;
        let rolls = Rolls::new(Plan {
            schema,
            properties: Arc::new(properties),
            layout: setup.layout,
            date: setup.date,
            size: setup.size.unwrap_or(64 << 20),
            interval: setup.interval.unwrap_or(Duration::from_mins(5)),
        });
        Ok(Self {
            state: State::New(Some(Box::new(rolls))),
        })
    }

    async fn order(&mut self, task: Task) -> Result<Epoch> {
        let gone = || Error::internal("the thread that writes Parquet broke down");
        let (done, outcome) = oneshot::channel();
        self.commands()?
            .send(Command { task, done })
            .map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// The way to the thread, which is started where it is not running.
    fn commands(&mut self) -> Result<&mpsc::Sender<Command>> {
        let gone = || Error::internal("the thread that writes Parquet could not be started");
        if let State::New(rolls) = &mut self.state {
            let rolls = rolls.take().ok_or_else(gone)?;
            let (sender, receiver) = mpsc::channel();
            let writing = thread::Builder::new()
                .name("parquet".to_owned())
                .spawn(move || work(*rolls, &receiver));
            self.state = State::Running {
                commands: Some(sender),
                thread: Some(writing.map_err(|e| gone().caused_by(e))?),
            };
        }
        match &self.state {
            State::Running { commands, .. } => commands.as_ref().ok_or_else(gone),
            State::New(_) => Err(gone()),
        }
    }
}

impl Drop for ParquetSink {
    fn drop(&mut self) {
        let State::Running { commands, thread } = &mut self.state else {
            return;
        };
        drop(commands.take());
        // Whoever opens the same folder next must find it as it is. A panic was told before.
        let _ = thread.take().map(JoinHandle::join);
    }
}

#[async_trait]
impl Sink for ParquetSink {
    fn emit(&self) -> Emit {
        Emit::AfterCommit
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        let task = Task::Take(epoch, rows.to_vec());
        self.order(task).await.map(|_| ())
    }

    async fn published(&mut self) -> Result<Epoch> {
        self.order(Task::Published).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.order(Task::Flush).await.map(|_| ())
    }
}

/// What the thread does until its sink is gone.
fn work(mut rolls: Rolls, commands: &mpsc::Receiver<Command>) {
    loop {
        let command = match rolls.deadline() {
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => commands.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match command {
            Ok(Command { task, done }) => {
                let outcome = match task {
                    Task::Take(epoch, rows) => rolls.take(epoch, &rows),
                    Task::Published => rolls.published(),
                    Task::Flush => rolls.finish(),
                };
                // A sink that no longer waits is about to be dropped.
                let _ = done.send(outcome);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = rolls.finish() {
                    // The next call fails, but on a quiet input it may be long until then.
                    tracing::error!("a roll of Parquet failed: {}", error.chain());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The columns, any of which may be NULL.
pub(super) fn nullable(schema: &Schema) -> SchemaRef {
    let nullable = |field: &Arc<Field>| Field::clone(field).with_nullable(true);
    let fields = schema.fields().iter().map(nullable);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
