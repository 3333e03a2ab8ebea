//! What every output keeps, whoever is killed, sleeps or comes again: [`sink_contract`].
//!
//! An output is anything that rows of epochs leave for: a [`Sink`] that publishes after the commit
//! ([`Publishing`]), what a [`CommitPoint`] carries ([`Carrying`]), a live stream. A test says how a
//! process begins to write it and what a user sees of it ([`Outlet`]); the contract plays the part of
//! the runtime, with its log, its kills and its takeovers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use crate::commit::{CommitPoint, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::sink::{Epoch, Sink};

/// An output, as it outlives the processes that write it.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// Another process, which is about to write.
    fn writer(&self) -> Result<Box<dyn Writer>>;
    /// All rows that a user sees now, in any order.
    async fn seen(&self) -> Result<Vec<RecordBatch>>;
    /// Rows with these numbers, no two of which are equal: [`table_rows`], unless only others can be
    /// written there.
    fn rows(&self, numbers: Range<i64>) -> Result<RecordBatch> {
        table_rows(numbers)
    }
    /// Lets what is written there fail until the answer is dropped; `None` where a test of its own
    /// shows what becomes of that. An error must name the text.
    fn fail(&self) -> Result<Option<(Box<dyn Send>, &'static str)>> {
        Ok(None)
    }
    /// Whether rows of an epoch that are handed over again are left out. A stream that is given each
    /// row once in a process need not.
    fn knows_again(&self) -> bool {
        true
    }
    /// Whether a process that was replaced is kept out. What ends with its process need not.
    fn fences(&self) -> bool {
        true
    }
}

/// A process that writes an output.
#[async_trait]
pub trait Writer: Send {
    /// Takes the place of those before; `fence` is the first epoch of this process, without rows.
    /// Says which epochs need not be handed over again: those up to this one.
    async fn begin(&mut self, fence: Epoch) -> Result<Epoch>;
    /// The rows of an epoch leave the graph.
    async fn stage(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()>;
    /// The epoch is committed.
    async fn commit(&mut self, epoch: Epoch) -> Result<()>;
    /// Puts out what is held back.
    async fn flush(&mut self) -> Result<()>;
}

/// Runs all of it, the parts side by side, each with an output that `fresh` gives: nothing was ever
/// written there.
pub async fn sink_contract<O: Outlet>(fresh: impl AsyncFn() -> Result<O>) -> Result<()> {
    let world = async || {
        let (log, epoch, number) = (BTreeMap::new(), Epoch(0), 0);
        let outlet = fresh().await?;
        Ok::<_, Error>(World {
            outlet,
            log,
            epoch,
            number,
        })
    };
    let mut parts: Vec<(&str, BoxFuture<'_, Result<()>>)> = vec![
        ("once", Box::pin(once(world().await?))),
        ("again", Box::pin(again(world().await?))),
        ("given up", Box::pin(given_up(world().await?))),
        ("empty", Box::pin(empty(world().await?))),
        ("failing", Box::pin(failing(world().await?))),
    ];
    for kill in 0..4 {
        parts.push(("killed", Box::pin(killed(world().await?, kill))));
    }
    for asleep in [Asleep::Idle, Asleep::Staged, Asleep::Held] {
        for late in [false, true] {
            let sleeper = sleeper(world().await?, asleep, late);
            parts.push(("asleep", Box::pin(sleeper)));
        }
    }
    let parts = parts.into_iter().map(|(name, part)| async move {
        let named = |error| Error::internal(format!("in '{name}'")).caused_by(error);
        part.await.map_err(named)
    });
    try_join_all(parts).await.map(drop)
}

/// What the runtime has: a log, and a number for the next epoch.
struct World<O> {
    outlet: O,
    log: BTreeMap<Epoch, Vec<RecordBatch>>,
    epoch: Epoch,
    number: i64,
}

impl<O: Outlet> World<O> {
    fn next(&mut self) -> Epoch {
        self.epoch = self.epoch.next();
        self.epoch
    }

    /// Rows that were never there.
    fn rows(&mut self) -> Result<Vec<RecordBatch>> {
        // Batches of several lengths, one of them of no row.
        let lengths = [3, 0, 1 + self.number % 5];
        let batches = lengths.into_iter().map(|length| {
            let first = self.number;
            self.number += length;
            self.outlet.rows(first..first + length)
        });
        batches.collect()
    }

    /// A process that is given what is committed and it may lack.
    async fn start(&mut self) -> Result<Box<dyn Writer>> {
        let mut writer = self.outlet.writer()?;
        let known = writer.begin(self.next()).await?;
        for (epoch, rows) in self.log.range(known.next()..) {
            writer.stage(*epoch, rows).await?;
            writer.commit(*epoch).await?;
        }
        Ok(writer)
    }

    /// An epoch from its rows to its commit, of which nothing is seen before.
    async fn put(&mut self, writer: &mut dyn Writer) -> Result<Epoch> {
        let (epoch, rows) = (self.next(), self.rows()?);
        writer.stage(epoch, &rows).await?;
        self.check_no_more("before its commit").await?;
        self.commit(writer, epoch, rows).await?;
        Ok(epoch)
    }

    async fn commit(
        &mut self,
        writer: &mut dyn Writer,
        epoch: Epoch,
        rows: Vec<RecordBatch>,
    ) -> Result<()> {
        self.log.insert(epoch, rows);
        writer.commit(epoch).await
    }

    /// What is seen is committed, once; the committed rows that are not seen.
    async fn check_no_more(&self, when: &str) -> Result<Vec<String>> {
        let seen = self.outlet.seen().await?;
        let mut committed = counted(self.log.values().flatten())?;
        for (row, times) in counted(seen.iter())? {
            let known = committed.remove(&row).unwrap_or(0);
            ensure(times <= known, || {
                format!(
                    "{when} the row {row} is seen {times} times, and is committed {known} times"
                )
            })?;
        }
        Ok(committed.into_keys().collect())
    }

    /// What is committed is seen, once.
    async fn check_all(&self, when: &str) -> Result<()> {
        match self.check_no_more(when).await?.first() {
            None => Ok(()),
            Some(row) => Err(Error::internal(format!("{when} the row {row} is not seen"))),
        }
    }
}

async fn once<O: Outlet>(mut world: World<O>) -> Result<()> {
    let mut writer = world.start().await?;
    for _ in 0..4 {
        world.put(&mut *writer).await?;
        world.check_no_more("after a commit").await?;
    }
    writer.flush().await?;
    world.check_all("after a flush").await?;
    // Held back or not, more can follow.
    world.put(&mut *writer).await?;
    writer.flush().await?;
    world.check_all("after another").await
}

/// Recovery hands over what it cannot know to be out.
async fn again<O: Outlet>(mut world: World<O>) -> Result<()> {
    if !world.outlet.knows_again() {
        return Ok(());
    }
    let mut writer = world.start().await?;
    let (epoch, rows) = (world.next(), world.rows()?);
    writer.stage(epoch, &rows).await?;
    writer.stage(epoch, &rows).await?;
    world.commit(&mut *writer, epoch, rows.clone()).await?;
    let other = world.put(&mut *writer).await?;
    writer.flush().await?;
    world.check_all("staged again").await?;
    drop(writer);
    let mut writer = world.start().await?;
    for epoch in [epoch, other] {
        writer.stage(epoch, &world.log[&epoch]).await?;
        writer.commit(epoch).await?;
        writer.commit(epoch).await?;
    }
    writer.flush().await?;
    world.check_all("committed again").await
}

/// What was staged and never committed is as if it had never been, and its number is not used again.
async fn given_up<O: Outlet>(mut world: World<O>) -> Result<()> {
    let mut writer = world.start().await?;
    world.put(&mut *writer).await?;
    writer.flush().await?;
    let (epoch, rows) = (world.next(), world.rows()?);
    writer.stage(epoch, &rows).await?;
    drop(writer);
    world.check_all("after a kill").await?;
    let mut writer = world.start().await?;
    world.check_all("after a start").await?;
    world.put(&mut *writer).await?;
    writer.flush().await?;
    world.check_all("after what follows").await
}

/// A kill after some epochs, of which some may be held back.
async fn killed<O: Outlet>(mut world: World<O>, after: usize) -> Result<()> {
    let mut writer = world.start().await?;
    for number in 0..4 {
        if number == after {
            drop(writer);
            world.check_no_more("after a kill").await?;
            writer = world.start().await?;
            world.check_no_more("after a start").await?;
        }
        world.put(&mut *writer).await?;
    }
    writer.flush().await?;
    world.check_all("in the end").await?;
    drop(writer);
    world.start().await?.flush().await?;
    world.check_all("after another start").await
}

async fn empty<O: Outlet>(mut world: World<O>) -> Result<()> {
    let mut writer = world.start().await?;
    let nothing = world.outlet.rows(0..0)?;
    for rows in [vec![], vec![nothing]] {
        let epoch = world.next();
        writer.stage(epoch, &rows).await?;
        world.commit(&mut *writer, epoch, rows).await?;
        writer.flush().await?;
    }
    world.check_all("nothing").await?;
    drop(writer);
    let mut writer = world.start().await?;
    world.put(&mut *writer).await?;
    let epoch = world.next();
    writer.stage(epoch, &[]).await?;
    world.commit(&mut *writer, epoch, vec![]).await?;
    writer.flush().await?;
    world.check_all("between epochs without rows").await
}

/// Where a process falls asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asleep {
    /// Between two epochs.
    Idle,
    /// With the rows of an epoch that is not committed.
    Staged,
    /// With a committed epoch that it may hold back.
    Held,
}

/// A process wakes after its replacement: at once, or `late`, after the other has committed.
async fn sleeper<O: Outlet>(mut world: World<O>, asleep: Asleep, late: bool) -> Result<()> {
    if !world.outlet.fences() {
        return Ok(());
    }
    let mut old = world.start().await?;
    world.put(&mut *old).await?;
    if asleep != Asleep::Held {
        old.flush().await?;
    }
    let (epoch, rows) = (world.next(), world.rows()?);
    if asleep == Asleep::Staged {
        old.stage(epoch, &rows).await?;
    }
    let mut new = world.start().await?;
    if late {
        world.put(&mut *new).await?;
        new.flush().await?;
    }
    let woken = async {
        old.stage(epoch, &rows).await?;
        old.commit(epoch).await?;
        old.flush().await
    };
    let Err(error) = woken.await else {
        return Err(Error::internal(format!(
            "who was replaced ({asleep:?}) goes on"
        )));
    };
    let said = error.chain();
    ensure(
        error.kind() == ErrorKind::Corrupt && said.contains("another process has taken over"),
        || format!("who was replaced is told: {said}"),
    )?;
    world.check_no_more("after the other woke").await?;
    world.put(&mut *new).await?;
    new.flush().await?;
    world.check_all("after a takeover").await?;
    drop(old);
    world.check_all("after its end").await
}

/// What cannot be written says so, and is written by a retry: the same call after `Unavailable`, the
/// next start after any other error.
async fn failing<O: Outlet>(mut world: World<O>) -> Result<()> {
    let mut writer = world.start().await?;
    world.put(&mut *writer).await?;
    writer.flush().await?;
    let Some((fault, named)) = world.outlet.fail()? else {
        return Ok(());
    };
    let (epoch, rows) = (world.next(), world.rows()?);
    let failed = async {
        writer.stage(epoch, &rows).await?;
        world.commit(&mut *writer, epoch, rows.clone()).await?;
        writer.flush().await
    };
    let Err(error) = failed.await else {
        return Err(Error::internal("nothing failed"));
    };
    let said = error.chain();
    ensure(said.contains(named), || {
        format!("the error does not say '{named}': {said}")
    })?;
    world.check_no_more("after a failure").await?;
    drop(fault);
    if error.kind() == ErrorKind::Unavailable {
        writer.commit(epoch).await?;
    } else {
        drop(writer);
        writer = world.start().await?;
    }
    writer.flush().await?;
    world.check_all("after a retry").await
}

/// A sink that publishes what the log has.
pub struct Publishing {
    sink: Box<dyn Sink>,
    staged: BTreeMap<Epoch, Vec<RecordBatch>>,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publishing").finish_non_exhaustive()
    }
}

impl Publishing {
    /// A process with this sink.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>) -> Self {
        let staged = BTreeMap::new();
        Self { sink, staged }
    }
}

#[async_trait]
impl Writer for Publishing {
    async fn begin(&mut self, _: Epoch) -> Result<Epoch> {
        self.sink.published().await
    }

    async fn stage(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        self.staged.insert(epoch, rows.to_vec());
        Ok(())
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let rows = self.staged.get(&epoch).map_or(&[][..], Vec::as_slice);
        self.sink.publish(epoch, rows).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.sink.flush().await
    }
}

/// What a commit point carries of one target. A commit that was answered is not made again.
pub struct Carrying {
    point: Box<dyn CommitPoint>,
    staged: Option<(Epoch, Vec<RecordBatch>)>,
    last: Epoch,
}

impl std::fmt::Debug for Carrying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrying").finish_non_exhaustive()
    }
}

impl Carrying {
    /// A process with this commit point.
    #[must_use]
    pub fn new(point: Box<dyn CommitPoint>) -> Self {
        let (staged, last) = (None, Epoch(0));
        Self {
            point,
            staged,
            last,
        }
    }

    /// Makes a call of the commit point until it is answered.
    async fn call(&mut self, epoch: Epoch, commits: bool) -> Result<()> {
        let rows = match &self.staged {
            Some((staged, rows)) if *staged == epoch => rows.clone(),
            _ => vec![],
        };
        let rows: Vec<_> = rows.into_iter().map(|batch| (0, batch)).collect();
        let transaction = Transaction {
            epoch,
            rows: &rows,
            positions: Some(&[]),
        };
        for _ in 0..100 {
            let answer = match commits {
                true => self.point.commit(transaction).await,
                false => self.point.prepare(transaction).await,
            };
            match answer {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
        Err(Error::unavailable("the commit point does not answer"))
    }
}

#[async_trait]
impl Writer for Carrying {
    async fn begin(&mut self, fence: Epoch) -> Result<Epoch> {
        self.last = self.point.last().await?.unwrap_or_default();
        self.call(fence, true).await?;
        self.last = fence;
        Ok(fence)
    }

    async fn stage(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        if epoch <= self.last {
            return Ok(());
        }
        self.staged = Some((epoch, rows.to_vec()));
        self.call(epoch, false).await
    }

    async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        if epoch > self.last {
            self.call(epoch, true).await?;
            self.last = epoch;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The columns of [`table_rows`]: every plain type that SQL has.
#[must_use]
pub fn table_schema() -> SchemaRef {
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let fields = [
        ("number", DataType::Int64),
        ("text", DataType::Utf8),
        ("flag", DataType::Boolean),
        ("tiny", DataType::Int8),
        ("small", DataType::Int16),
        ("medium", DataType::Int32),
        ("large", DataType::Int64),
        ("real", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal", DataType::Decimal128(30, 6)),
        ("day", DataType::Date32),
        ("at", crate::time::TIMESTAMP),
        ("bytes", DataType::Binary),
    ];
    Arc::new(Schema::new(fields.map(field).to_vec()))
}

/// Rows with values of every plain type, the ends of their ranges and NULLs among them.
pub fn table_rows(numbers: Range<i64>) -> Result<RecordBatch> {
    /// Of each row another of these values, or none.
    fn of<T: Clone>(numbers: &Range<i64>, step: i64, values: &[T]) -> Vec<Option<T>> {
        let value = |number: i64| {
            let place = (number * step).rem_euclid(values.len() as i64 + 1) as usize;
            values.get(place).cloned()
        };
        numbers.clone().map(value).collect()
    }
    let texts = [
        "",
        "plain",
        "a \"quote\", a \\ and\na line",
        "Zürich 東京 🦀",
        "\u{1}\t",
    ];
    let doubles = [0.0, -0.1, 1.0 / 3.0, f64::MAX, f64::MIN_POSITIVE, -1e-300];
    let decimals = [0, 1, -1, 123_456_789_012, 10_i128.pow(30) - 1];
    let times = [0, -1, 1_704_067_200_123_456_789, 4_102_444_800_000_000_000];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone())),
        Arc::new(StringArray::from(of(&numbers, 1, &texts))),
        Arc::new(BooleanArray::from(of(&numbers, 1, &[true, false]))),
        Arc::new(Int8Array::from(of(&numbers, 1, &[i8::MIN, 0, i8::MAX]))),
        Arc::new(Int16Array::from(of(&numbers, 2, &[i16::MIN, i16::MAX]))),
        Arc::new(Int32Array::from(of(&numbers, 1, &[i32::MIN, -1, i32::MAX]))),
        Arc::new(Int64Array::from(of(&numbers, 1, &[i64::MIN, 7, i64::MAX]))),
        Arc::new(Float32Array::from(of(&numbers, 1, &[0.1, f32::MAX, -2.5]))),
        Arc::new(Float64Array::from(of(&numbers, 3, &doubles))),
        Arc::new(
            Decimal128Array::from(of(&numbers, 1, &decimals)).with_precision_and_scale(30, 6)?,
        ),
        Arc::new(Date32Array::from(of(&numbers, 1, &[0, -1, 19_723]))),
        Arc::new(TimestampNanosecondArray::from(of(&numbers, 1, &times))),
        Arc::new(BinaryArray::from(of(
            &numbers,
            1,
            &[&b""[..], b"\0\xff", b"bytes"],
        ))),
    ];
    Ok(RecordBatch::try_new(table_schema(), columns)?)
}

/// Each row as text with its types, and how often it is there.
fn counted<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Result<BTreeMap<String, usize>> {
    let mut rows = BTreeMap::new();
    let options = FormatOptions::default().with_null("NULL");
    for batch in batches {
        let schema = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| {
            let shown = ArrayFormatter::try_new(column, &options)?;
            Ok((format!("{} {}", field.name(), field.data_type()), shown))
        });
        let columns: Vec<_> = columns.collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            let values = columns
                .iter()
                .map(|(name, shown)| format!("{name}: {:?}", shown.value(row).to_string()));
            let text = values.collect::<Vec<_>>().join(", ");
            *rows.entry(text).or_default() += 1;
        }
    }
    Ok(rows)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::internal(otherwise())),
    }
}

#[cfg(test)]
mod tests;
