//! The graph as data: tables that come in, steps, and outputs. Its display is EXPLAIN; its plan
//! is what a log is bound to.

pub mod blueprint;
mod plan;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::expression::{Column, Expression};
use crate::operator::OperatorSpec;
use crate::operator::project::SelectList;
use crate::sink::Emit;
use crate::stream::{StreamSpec, system_fields};

/// A table that rows come in by.
#[derive(Debug, Clone)]
pub struct Input {
    /// The table as its DDL states it.
    pub stream: StreamSpec,
    /// The table's columns, computed ones included.
    pub schema: SchemaRef,
    /// How each column of `schema` follows from the source's columns followed by `_arrived_at`.
    pub columns: Vec<Arc<dyn Expression>>,
    /// The watermark column, if one is declared.
    pub event_time: Option<EventTime>,
    /// How the table's rows are timed.
    pub timing: Timing,
    /// Where the input is recorded (`archive`).
    pub archive: Option<String>,
}

impl Input {
    /// The columns of the batches that enter the graph: the table's, then the system columns.
    #[must_use]
    pub fn batch_schema(&self) -> SchemaRef {
        let system = system_fields().map(Arc::new);
        let fields = self.schema.fields().iter().cloned().chain(system);
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Position of the column in the table.
    pub column: usize,
    /// How long rows may come out of order.
    pub delay: Duration,
}

/// The `watermark.*` options of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A split that has been silent for longer does not hold the watermark back, unless all of the
    /// table were or nobody listened: then each is waited for anew.
    pub idle_timeout: Option<Duration>,
    /// How far an event time may be ahead of the row's arrival.
    pub max_future_skew: Option<Duration>,
    /// Whether the watermark follows the arrival time when all splits are idle, while it is
    /// looked at.
    pub advance_in_silence: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(30)),
            max_future_skew: Some(Duration::from_hours(1)),
            advance_in_silence: false,
        }
    }
}

/// Where a step's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Port {
    /// A table: position in [`Graph::inputs`].
    Input(usize),
    /// A step: position in [`Graph::nodes`], lower than that of the step it feeds.
    Node(usize),
}

/// A step with its inputs.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub spec: Arc<dyn OperatorSpec>,
    /// What it reads, by port.
    pub inputs: Vec<Port>,
}

/// A table that rows go out by.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table as its DDL states it.
    pub stream: StreamSpec,
    /// What feeds it.
    pub from: Port,
    /// When its live stream shows rows.
    pub shown: Emit,
    /// How each column of the table follows from those of `from`. Nothing is computed here that a
    /// row could be rejected for: only columns as they stand, members of them, constants.
    pub columns: Vec<Arc<dyn Expression>>,
}

impl Target {
    /// A table that is written the first columns of a port.
    #[must_use]
    pub fn new(stream: StreamSpec, from: Port) -> Self {
        let fields = stream.schema.fields().iter().enumerate();
        let column = |(index, field): (usize, &FieldRef)| -> Arc<dyn Expression> {
            let (name, data_type) = (field.name().clone(), field.data_type().clone());
            Arc::new(Column {
                index,
                name,
                data_type,
            })
        };
        Self {
            columns: fields.map(column).collect(),
            stream,
            from,
            shown: Emit::Now,
        }
    }

    /// The rows of `from` as the table has them.
    pub fn visible(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(column.evaluate(batch)?);
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.stream.schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &rows)?)
    }

    /// Whether its columns are the first ones of `from`.
    fn is_plain(&self, from: &Schema) -> bool {
        let named = self.stream.schema.fields().iter().zip(from.fields());
        let mut columns = named.zip(&self.columns);
        columns.all(|((to, from), column)| {
            to.name() == from.name() && *from.name() == column.to_string()
        })
    }
}

/// Tables in, steps in topological order, tables out.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The tables that are read.
    pub inputs: Vec<Input>,
    /// The steps; each reads only tables and earlier steps.
    pub nodes: Vec<Node>,
    /// The tables that are written.
    pub targets: Vec<Target>,
    known: HashMap<(String, Vec<Port>), Port>,
}

impl Graph {
    /// The port of a table; the same table is added once.
    pub fn add_input(&mut self, input: Input) -> Port {
        let known = self
            .inputs
            .iter()
            .position(|i| i.stream.name == input.stream.name);
        Port::Input(known.unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        }))
    }

    /// The port of a step. A step that prints as one already there over the same inputs is that
    /// one: queries over one view share its steps.
    pub fn add(&mut self, spec: Arc<dyn OperatorSpec>, inputs: Vec<Port>) -> Port {
        let identity = (spec.to_string(), inputs.clone());
        if let Some(port) = self.known.get(&identity) {
            return *port;
        }
        let port = Port::Node(self.nodes.len());
        self.nodes.push(Node { spec, inputs });
        self.known.insert(identity, port);
        port
    }

    /// The columns of a port's batches.
    #[must_use]
    pub fn schema(&self, port: Port) -> SchemaRef {
        match port {
            Port::Input(i) => self.inputs[i].batch_schema(),
            Port::Node(n) => self.nodes[n].spec.schema(),
        }
    }

    /// The first table that a port's rows come from: rows rejected there go to its `$dead`.
    #[must_use]
    pub fn table_of(&self, mut port: Port) -> usize {
        loop {
            match port {
                Port::Input(i) => return i,
                Port::Node(n) => match self.nodes[n].inputs.first() {
                    Some(input) => port = *input,
                    None => return 0,
                },
            }
        }
    }

    fn explain(&self, f: &mut fmt::Formatter<'_>, port: Port, depth: usize) -> fmt::Result {
        let indent = depth * 2;
        match port {
            Port::Input(i) => {
                let Input {
                    stream,
                    event_time,
                    schema,
                    ..
                } = &self.inputs[i];
                write!(
                    f,
                    "{:indent$}Source: {} ({})",
                    "", stream.name, stream.connector
                )?;
                if let Some(EventTime { column, delay }) = event_time {
                    let name = schema.field(*column).name();
                    write!(f, ", watermark {name} - {delay:?}")?;
                }
                writeln!(f)
            }
            Port::Node(n) => {
                let Node { spec, inputs } = &self.nodes[n];
                writeln!(f, "{:indent$}{spec}", "")?;
                inputs
                    .iter()
                    .try_for_each(|input| self.explain(f, *input, depth + 1))
            }
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.targets.iter().try_for_each(|target| {
            let Target {
                stream,
                from,
                columns,
                ..
            } = target;
            writeln!(f, "Sink: {} ({})", stream.name, stream.connector)?;
            if target.is_plain(&self.schema(*from)) {
                return self.explain(f, *from, 1);
            }
            writeln!(f, "  Project: {}", SelectList(&stream.schema, columns))?;
            self.explain(f, *from, 2)
        })
    }
}
