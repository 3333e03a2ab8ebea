//! The job of a file: one shard, or four that are fed by a hash of the key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType};
use engine::graph::{EventTime, Graph};
use engine::intake::Counts;
use engine::stream::ARRIVED_AT;
use engine::testing::{Harness, START};
use engine::{Result, time};
use sql::catalog::Catalog;

use super::driver::Mode;

/// The day before which rows lie: the clock starts a day after [`START`].
const CLOCK: i64 = START + 86_400_000_000_000;

pub(super) struct Shards {
    graph: Arc<Graph>,
    harnesses: Vec<Harness>,
    /// The key columns of every table.
    keys: Vec<Vec<String>>,
}

impl Shards {
    pub(super) fn new(catalog: &Catalog, graph: Arc<Graph>, mode: Mode) -> Result<Self> {
        let keys = graph.inputs.iter().map(|input| {
            catalog
                .tables
                .get(&input.stream.name)
                .map_or(vec![], |table| table.stream.key.clone())
        });
        let keys: Vec<Vec<String>> = keys.collect();
        let keyed = keys.iter().all(|key| !key.is_empty());
        let count = if mode == Mode::Sharded && keyed { 4 } else { 1 };
        let shards = (0..count).map(|_| {
            let mut harness = Harness::new(Arc::clone(&graph))?;
            harness.set_clock(CLOCK);
            Ok(harness)
        });
        let harnesses = shards.collect::<Result<_>>()?;
        Ok(Self {
            graph,
            harnesses,
            keys,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.harnesses.len()
    }

    pub(super) fn table(&self, name: &str) -> Option<usize> {
        self.graph
            .inputs
            .iter()
            .position(|input| input.stream.name == name)
    }

    pub(super) fn target(&self, name: &str) -> Option<usize> {
        self.graph
            .targets
            .iter()
            .position(|target| target.stream.name == name)
    }

    pub(super) fn source_schema(&self, table: usize) -> SchemaRef {
        self.graph.inputs[table].stream.source_schema()
    }

    pub(super) fn target_schema(&self, target: usize) -> SchemaRef {
        Arc::clone(&self.graph.targets[target].stream.schema)
    }

    /// Where the first table's key columns are in an output that has all of them.
    pub(super) fn key_in(&self, schema: &Schema) -> Option<Vec<usize>> {
        let key = self
            .keys
            .first()?
            .iter()
            .map(|name| schema.index_of(name).ok());
        key.collect::<Option<Vec<usize>>>()
            .filter(|key| !key.is_empty())
    }

    pub(super) fn set_clock(&mut self, time: i64) {
        self.harnesses
            .iter_mut()
            .for_each(|harness| harness.set_clock(time));
    }

    /// Lets time pass in ticks as a running job does: often enough that none is missed.
    pub(super) fn tick(&mut self, until: i64) -> Result<()> {
        for harness in &mut self.harnesses {
            while harness.now() < until {
                harness.set_clock(until.min(harness.now() + 500_000_000));
                harness.tick()?;
            }
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, table: usize, time: i64) -> Result<()> {
        self.harnesses
            .iter_mut()
            .try_for_each(|harness| harness.advance(table, time))
    }

    pub(super) fn end(&mut self, table: usize) -> Result<()> {
        self.harnesses
            .iter_mut()
            .try_for_each(|harness| harness.end(table))
    }

    pub(super) fn restore(&mut self) -> Result<()> {
        for harness in &mut self.harnesses {
            let snapshot = harness.snapshot()?;
            harness.restore(snapshot)?;
        }
        Ok(())
    }

    pub(super) fn gather(
        &mut self,
        take: impl Fn(&mut Harness) -> Result<Vec<RecordBatch>>,
    ) -> Result<Vec<Vec<RecordBatch>>> {
        self.harnesses.iter_mut().map(take).collect()
    }

    pub(super) fn counts(&self, table: usize) -> Counts {
        let mut sum = Counts::default();
        for counts in self.harnesses.iter().map(|harness| harness.counts()[table]) {
            sum.arrived += counts.arrived;
            sum.accepted += counts.accepted;
            sum.late += counts.late;
            sum.future += counts.future;
            sum.dead += counts.dead;
        }
        sum
    }

    /// Lets rows arrive: in one shard as they are, in several one by one, and then the others
    /// learn how far time has come, as they would from a common intake.
    pub(super) fn insert(&mut self, table: usize, split: &str, rows: &RecordBatch) -> Result<()> {
        if let [harness] = self.harnesses.as_mut_slice() {
            return harness.insert_on(table, split, rows.clone());
        }
        let owner = self.owners(table, rows)?;
        let times = self.event_times(table, rows)?;
        for (row, owner) in owner.into_iter().enumerate() {
            let one = rows.slice(row, 1);
            for (number, harness) in self.harnesses.iter_mut().enumerate() {
                match times.get(row) {
                    _ if number == owner => harness.insert(table, one.clone())?,
                    Some(Some(time)) => harness.advance(table, *time)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The shard of every row.
    fn owners(&self, table: usize, rows: &RecordBatch) -> Result<Vec<usize>> {
        let mut owners = vec![0_u64; rows.num_rows()];
        for name in &self.keys[table] {
            let column = rows.column(rows.schema().index_of(name)?);
            let text = cast(column, &DataType::Utf8)?;
            for (owner, value) in owners.iter_mut().zip(text.as_string::<i32>()) {
                for byte in value.unwrap_or("\0").bytes() {
                    *owner = (*owner ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        Ok(owners
            .iter()
            .map(|hash| (hash >> 7) as usize % self.harnesses.len())
            .collect())
    }

    /// Event time minus delay of every row, where the table has an event time.
    fn event_times(&self, table: usize, rows: &RecordBatch) -> Result<Vec<Option<i64>>> {
        let input = &self.graph.inputs[table];
        let Some(EventTime { column, delay }) = input.event_time else {
            return Ok(vec![]);
        };
        let arrived: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![CLOCK; rows.num_rows()]));
        let arrival = Arc::new(Field::new(ARRIVED_AT, time::TIMESTAMP, false));
        let schema = rows.schema();
        let fields: Vec<_> = schema.fields().iter().cloned().chain([arrival]).collect();
        let columns = rows.columns().iter().cloned().chain([arrived]).collect();
        let source = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let Ok(times) = input.columns[column].evaluate(&source) else {
            return Ok(vec![None; rows.num_rows()]);
        };
        let times = times.as_primitive::<TimestampNanosecondType>();
        let skew = input
            .timing
            .max_future_skew
            .map(|skew| CLOCK + skew.as_nanos() as i64);
        let sane = |time: i64| skew.is_none_or(|latest| time <= latest);
        let minus = |time: i64| time.saturating_sub(delay.as_nanos() as i64);
        Ok(times
            .iter()
            .map(|time| time.filter(|time| sane(*time)).map(minus))
            .collect())
    }
}

/// The rows of all shards in the order that is expected, if they are the same rows and those of
/// each key are in the same order; else as they are.
pub(super) fn in_order(
    expected: Vec<Vec<String>>,
    shards: &[Vec<Vec<String>>],
    key: Option<&[usize]>,
) -> Vec<Vec<String>> {
    let actual = shards.concat();
    let sorted = |rows: &[Vec<String>]| {
        let mut rows = rows.to_vec();
        match key {
            // Stable: the order within a key stays.
            Some(key) => rows.sort_by_key(|row| {
                key.iter()
                    .map(|column| row[*column].clone())
                    .collect::<Vec<_>>()
            }),
            None => rows.sort(),
        }
        rows
    };
    if sorted(&actual) == sorted(&expected) {
        expected
    } else {
        actual
    }
}
