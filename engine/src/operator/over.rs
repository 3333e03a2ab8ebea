//! `over`: window functions per key, any number of them, with one state per key and function.
//!
//! Input columns come out again, then one column per function. Keys are already numbers (see
//! [`key`](super::key)); each function runs over a whole batch in one call.

mod held;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType, UInt32Type};

use self::held::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::expression::Expression;
use crate::kernel::{Kernel, KernelSpec, Rows};
use crate::operator::ttl::{Ages, Ttl};
use crate::operator::{Operator, OperatorSpec, Output, Snapshot};
use crate::time::{TIMESTAMP, Watermark};

/// When rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// With the batch: no function asks for a row's peers, or there are none because the rows are
    /// ordered by their arrival.
    AtOnce,
    /// When the watermark has passed the row's time, so that all its peers are there.
    OnWatermark,
}

/// A window function with its arguments.
#[derive(Debug, Clone)]
pub struct Function {
    /// The column it fills.
    pub name: String,
    /// What it reads, row by row.
    pub arguments: Vec<Arc<dyn Expression>>,
    /// The function.
    pub kernel: Arc<dyn KernelSpec>,
}

impl Function {
    /// What its state depends on.
    fn call(&self) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(ToString::to_string).collect();
        format!("{}({})", self.kernel, arguments.join(", "))
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} AS {}", self.call(), self.name)
    }
}

/// Window functions over the rows of each key.
#[derive(Debug, Clone)]
pub struct Over {
    input: SchemaRef,
    key: usize,
    time: usize,
    release: Release,
    functions: Vec<Function>,
    ttl: Option<Ttl>,
    schema: SchemaRef,
}

impl Over {
    /// Over `input`, whose column `key` holds the key's number (`UInt32`) and whose column `time`
    /// holds what the rows are ordered by: a timestamp that never falls within a key.
    pub fn new(
        input: SchemaRef,
        key: usize,
        time: usize,
        release: Release,
        functions: Vec<Function>,
    ) -> Result<Self> {
        let is = |column: usize, data_type: &DataType| {
            input
                .fields()
                .get(column)
                .is_some_and(|field| field.data_type() == data_type)
        };
        if !is(key, &DataType::UInt32) || !is(time, &TIMESTAMP) {
            return Err(Error::internal(
                "over: the key must be a UInt32 column and the time a TIMESTAMP(9) column",
            ));
        }
        let values = functions.iter().map(|function| {
            Arc::new(Field::new(
                &function.name,
                function.kernel.data_type(),
                true,
            ))
        });
        let fields = input.fields().iter().cloned().chain(values);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self {
            input,
            key,
            time,
            release,
            functions,
            ttl: None,
            schema,
        })
    }

    /// Forgets keys; `key` is by a step that may give their numbers to others.
    #[must_use]
    pub fn forgetting(mut self, ttl: Option<Ttl>) -> Self {
        self.ttl = ttl;
        self
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base())?;
        self.functions
            .iter()
            .try_for_each(|function| write!(f, ", {function}"))
    }
}

impl OperatorSpec for Over {
    fn base(&self) -> String {
        let name = |column: usize| self.input.field(column).name();
        let release = match self.release {
            Release::AtOnce => "at once",
            Release::OnWatermark => "on watermark",
        };
        let (key, time) = (name(self.key), name(self.time));
        let ttl = self.ttl.map_or_else(String::new, |ttl| format!(", {ttl}"));
        format!("Over: by {key}, order {time}, {release}{ttl}")
    }

    /// A function's state is of its own.
    fn parts(&self) -> Vec<String> {
        self.functions.iter().map(Function::call).collect()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn passes_rows(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let mut expressions: Vec<Arc<dyn Expression>> = vec![];
        let mut running = vec![];
        for function in &self.functions {
            let places = function.arguments.iter().map(|argument| {
                let text = argument.to_string();
                let known = expressions
                    .iter()
                    .position(|e| e.to_string() == text && e.data_type() == argument.data_type());
                known.unwrap_or_else(|| {
                    expressions.push(Arc::clone(argument));
                    expressions.len() - 1
                })
            });
            let places = places.collect();
            running.push(Running {
                places,
                kernel: function.kernel.build()?,
            });
        }
        let (spec, held) = (self.clone(), Held::new(Arc::clone(&self.input), self.time));
        Ok(Box::new(State {
            spec,
            expressions,
            running,
            key_count: 0,
            held,
            ages: self.ttl.map(Ages::new),
        }))
    }
}

/// A function in motion, with the places of its arguments among the distinct expressions.
struct Running {
    places: Vec<usize>,
    kernel: Box<dyn Kernel>,
}

struct State {
    spec: Over,
    expressions: Vec<Arc<dyn Expression>>,
    running: Vec<Running>,
    key_count: usize,
    held: Held,
    ages: Option<Ages>,
}

impl State {
    /// The rows that have a time and whose arguments can be evaluated, with these; the others
    /// are rejected.
    fn admit(
        &self,
        batch: RecordBatch,
        out: &mut Output,
    ) -> Result<Option<(RecordBatch, Vec<ArrayRef>)>> {
        let arguments = |rows: &RecordBatch| -> Result<Vec<ArrayRef>> {
            self.expressions
                .iter()
                .map(|expression| expression.evaluate(rows))
                .collect()
        };
        let timed = batch.column(self.spec.time).null_count() == 0;
        match arguments(&batch) {
            Ok(evaluated) if timed => return Ok(Some((batch, evaluated))),
            Err(error) if error.kind() != ErrorKind::Invalid => return Err(error),
            _ => {}
        }
        let mut fit = Vec::with_capacity(batch.num_rows());
        for row in (0..batch.num_rows()).map(|row| batch.slice(row, 1)) {
            let timed = row.column(self.spec.time).null_count() == 0;
            let reason = match arguments(&row) {
                Ok(_) if timed => None,
                Ok(_) => Some("the row has no time to be ordered by".to_owned()),
                Err(error) => Some(error.chain()),
            };
            fit.push(reason.is_none());
            if let Some(reason) = reason {
                out.reject(row, reason);
            }
        }
        let batch = filter_record_batch(&batch, &fit.into())?;
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let evaluated = arguments(&batch)?;
        Ok(Some((batch, evaluated)))
    }

    fn evaluate(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let Some((batch, evaluated)) = self.admit(batch, out)? else {
            return Ok(());
        };
        let keys = keys(batch.column(self.spec.key))?.values().clone();
        let times = batch
            .column(self.spec.time)
            .as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("over: the time is not TIMESTAMP(9)"))?;
        let times = times.values().clone();
        let highest = keys.iter().max().map_or(0, |key| *key as usize + 1);
        self.key_count = self.key_count.max(highest);
        let ages = self.ages.as_mut();
        let afresh = ages.and_then(|ages| ages.meet(&keys, &times, self.key_count));
        let rows = Rows {
            keys: afresh.as_ref().map_or(&keys, |afresh| &afresh.keys),
            key_count: afresh.as_ref().map_or(self.key_count, |a| a.count),
            times: &times,
        };
        let (_, mut columns, _) = batch.into_parts();
        columns.reserve_exact(self.running.len());
        let mut several = vec![];
        for running in &mut self.running {
            let arguments = match running.places.as_slice() {
                [] => &[],
                [place] => std::slice::from_ref(&evaluated[*place]),
                places => {
                    several.clear();
                    several.extend(places.iter().map(|place| Arc::clone(&evaluated[*place])));
                    several.as_slice()
                }
            };
            columns.push(running.kernel.evaluate(rows, arguments)?);
            if let Some(afresh) = &afresh {
                for (key, stand_in) in &afresh.of {
                    running.kernel.rename(*stand_in, *key);
                }
                running.kernel.forget(&[], self.key_count);
            }
        }
        out.emit(RecordBatch::try_new(
            Arc::clone(&self.spec.schema),
            columns,
        )?);
        Ok(())
    }
}

fn keys(column: &ArrayRef) -> Result<&UInt32Array> {
    let keys = column
        .as_primitive_opt::<UInt32Type>()
        .filter(|keys| keys.null_count() == 0);
    keys.ok_or_else(|| Error::internal("over: the key numbers are not UInt32 or have a NULL"))
}

impl Operator for State {
    fn on_batch(&mut self, _: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match self.spec.release {
            Release::AtOnce => self.evaluate(batch, out),
            Release::OnWatermark => {
                let times = batch.column(self.spec.time);
                if times.null_count() == 0 {
                    return self.held.push(batch);
                }
                let with_time = is_not_null(times)?;
                for row in (0..batch.num_rows()).filter(|row| times.is_null(*row)) {
                    out.reject(batch.slice(row, 1), "the row has no time to be ordered by");
                }
                self.held.push(filter_record_batch(&batch, &with_time)?)
            }
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if let Some(batch) = self.held.release(|time| watermark.passed(time))? {
            self.evaluate(batch, out)?;
        }
        if let Some(ages) = &mut self.ages {
            let gone = ages.sweep(watermark);
            if !gone.is_empty() {
                self.key_count = ages.count();
                let running = self.running.iter_mut();
                running.for_each(|running| running.kernel.forget(&gone, self.key_count));
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let held = self.held.rows()?;
        let mut tables = vec![RecordBatch::new_empty(Arc::new(Schema::empty())), held];
        if let Some(ages) = &self.ages {
            tables.push(ages.snapshot()?);
        }
        let mut counts = vec![self.key_count as u32];
        for running in &self.running {
            let states = running.kernel.snapshot()?;
            counts.push(states.len() as u32);
            tables.extend(states);
        }
        let schema = Schema::new(vec![Field::new("count", DataType::UInt32, false)]);
        let counts: ArrayRef = Arc::new(UInt32Array::from(counts));
        tables[0] = RecordBatch::try_new(Arc::new(schema), vec![counts])?;
        Ok(Snapshot { version: 1, tables })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let own: Vec<Option<usize>> = (0..self.running.len()).map(Some).collect();
        let counts = snapshot.tables.first();
        if counts.is_none_or(|counts| counts.num_rows() != own.len() + 1) {
            return Err(Error::corrupt("the snapshot of over is of another query"));
        }
        self.restore_parts(snapshot, &own)
    }

    fn restore_parts(&mut self, snapshot: Snapshot, from: &[Option<usize>]) -> Result<()> {
        snapshot.expect_version(1)?;
        let damaged = || Error::corrupt("the snapshot of over is of another query");
        let [counts, held, tables @ ..] = snapshot.tables.as_slice() else {
            return Err(damaged());
        };
        let counts = keys(counts.columns().first().ok_or_else(damaged)?)?.values();
        let (key_count, counts) = counts.split_first().ok_or_else(damaged)?;
        self.key_count = *key_count as usize;
        if held.num_rows() > 0 {
            self.held.push(held.clone())?;
        }
        let mut tables = tables;
        if let Some(ages) = &mut self.ages {
            let (last, states) = tables.split_first().ok_or_else(damaged)?;
            ages.restore(last)?;
            tables = states;
        }
        let mut functions = vec![];
        for count in counts {
            let (states, rest) = tables
                .split_at_checked(*count as usize)
                .ok_or_else(damaged)?;
            functions.push(states);
            tables = rest;
        }
        for (running, from) in self.running.iter_mut().zip(from) {
            if let Some(from) = from {
                running
                    .kernel
                    .restore(functions.get(*from).ok_or_else(damaged)?)?;
            }
        }
        Ok(())
    }
}
