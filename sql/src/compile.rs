//! From DataFusion's logical plans to a [`Graph`]: one arm, one file.
//!
//! A projection that only picks columns is no step: a [`Relation`] says where each column of
//! the plan lies in the batches, and only what is computed becomes a column of its own. Steps
//! that only compute and pick are joined in the end (`fuse`), when it is known who reads what.

mod aggregate;
mod assign;
mod bounds;
mod columns;
mod fuse;
mod keyed;
mod project;
mod scan;
mod sink;
mod time;
mod union;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::graph::Port;
use engine::operator::project::Project;
use engine::operator::ttl::Ttl;
use engine::stream::{ARRIVED_AT, LATE, SPLIT};
use engine::{Expression, Graph, OperatorSpec};

use columns::{Columns, unique};

use crate::adapt;
use crate::catalog::Catalog;
use crate::check;
use crate::error::{Error, Result};
use crate::functions::window::Windowed;
use crate::session::{Session, internal};
use crate::statement::Insert;

/// One step's result: an `INSERT` stops at its first error.
type Step<T> = std::result::Result<T, Error>;

/// The graph of all `INSERT`s of a script. The errors are those of all of them.
pub fn compile(catalog: &Catalog, inserts: &[Insert]) -> Result<Graph> {
    let (session, mut errors) = Session::new(catalog)?;
    let mut compiler = Compiler {
        session: &session,
        graph: Graph::default(),
        projected: BTreeMap::new(),
        by_split: BTreeSet::new(),
    };
    errors.extend(sink::written_twice(inserts));
    for insert in inserts {
        if let Err(wrong) = compiler.insert(insert) {
            errors.extend(wrong);
        }
    }
    if errors.is_empty() {
        compiler.fused().map_err(|error| vec![error])
    } else {
        Err(errors)
    }
}

/// Turns plans into steps of one graph.
struct Compiler<'a> {
    session: &'a Session<'a>,
    graph: Graph,
    /// The nodes that are projections: their columns, over the names of the input's.
    projected: BTreeMap<usize, Vec<Expr>>,
    /// The tables that this `INSERT` may put in order split by split.
    by_split: BTreeSet<String>,
}

/// The rows of a plan as a port of the graph.
#[derive(Debug, Clone)]
struct Relation {
    port: Port,
    /// Position in the port's batches of every column of the plan.
    columns: Vec<usize>,
    /// Whether the rows have passed `order`, or come from a step behind it.
    ordered: bool,
    /// The key numbers that are in the batches.
    keys: Vec<Keyed>,
    /// The bounds of the open window that each row stands for.
    bounds: Option<Bounds>,
}

/// A column with the number of a key.
#[derive(Debug, Clone)]
struct Keyed {
    columns: Vec<usize>,
    id: usize,
    /// By which column keys are forgotten there, and when.
    ttl: Option<(usize, Ttl)>,
}

/// Positions of a window's bounds.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: usize,
    end: usize,
}

/// Whether the steps above need rows in event-time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Any,
    EventTime,
}

impl Compiler<'_> {
    fn relation(&mut self, plan: &LogicalPlan, demand: Demand) -> Step<Relation> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection, demand),
            LogicalPlan::Filter(filter) => self.filter(filter, demand),
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input, demand),
            LogicalPlan::Window(window) => self.window(window, demand),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(union) => self.union(union, demand),
            LogicalPlan::Extension(extension) => {
                match extension.node.as_any().downcast_ref::<Windowed>() {
                    Some(windowed) => self.windowed(windowed, demand),
                    None => Err(refused(plan)),
                }
            }
            other => Err(refused(other)),
        }
    }

    /// The columns of a port's batches.
    fn schema(&self, relation: &Relation) -> SchemaRef {
        self.graph.schema(relation.port)
    }

    /// The expression over the names of the batches' columns, which are unique.
    fn bind(&self, relation: &Relation, plan: &DFSchema, expr: &Expr) -> Step<Expr> {
        let batch = self.schema(relation);
        let arrived = batch.index_of(ARRIVED_AT).is_ok().then_some(ARRIVED_AT);
        let place = span_of(expr);
        let failed = |error| self.failed(&error, place);
        // The columns first: the arrival time is already a column of the batch.
        let bound = expr.clone().transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let index = plan.index_of_column(column)?;
                let name = batch.field(relation.columns[index]).name();
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                    name,
                ))))
            }
            _ => Ok(Transformed::no(expr)),
        });
        check::arrival(bound.map_err(failed)?.data, arrived).map_err(failed)
    }

    /// Columns that hold these bound expressions, by position; what is no column yet is added
    /// in one step, which rejects the rows it cannot compute and passes on the `kept` columns.
    fn materialise(
        &mut self,
        relation: &mut Relation,
        exprs: &[(Expr, String)],
        kept: &[usize],
    ) -> Step<Vec<usize>> {
        let schema = self.schema(relation);
        let known = |expr: &Expr| match expr {
            Expr::Column(column) => schema.index_of(&column.name).ok(),
            _ => None,
        };
        if let Some(positions) = exprs.iter().map(|(expr, _)| known(expr)).collect() {
            return Ok(positions);
        }
        let mut columns = Columns::keeping(&schema, kept);
        let mut added: Vec<(&Expr, usize)> = vec![];
        let mut positions = vec![];
        for (expr, name) in exprs {
            let known = known(expr).map(|index| columns.moved(index));
            let before = || {
                added
                    .iter()
                    .find(|(other, _)| *other == expr)
                    .map(|(_, at)| *at)
            };
            let position = match known.or_else(before) {
                Some(position) => position,
                None => columns.add(expr, self.adapt(expr, &schema)?, name),
            };
            added.push((expr, position));
            positions.push(position);
        }
        *relation = self.project(relation, columns);
        Ok(positions)
    }

    /// The columns of a relation that anything above can ask for, and those of `exprs`.
    fn needed(&self, relation: &Relation, exprs: &[(Expr, String)]) -> Vec<usize> {
        let schema = self.schema(relation);
        let system = [ARRIVED_AT, SPLIT, LATE];
        let system = system.iter().filter_map(|name| schema.index_of(name).ok());
        self.kept(
            relation,
            relation.columns.iter().copied().chain(system),
            exprs,
        )
    }

    /// These columns of a relation, those of `exprs`, and what belongs to them: the bounds of
    /// the window, and the numbers of keys that are there.
    fn kept(
        &self,
        relation: &Relation,
        columns: impl IntoIterator<Item = usize>,
        exprs: &[(Expr, String)],
    ) -> Vec<usize> {
        let schema = self.schema(relation);
        let mut kept: Vec<usize> = columns.into_iter().collect();
        let bounds = relation.bounds.iter();
        kept.extend(bounds.flat_map(|bounds| [bounds.start, bounds.end]));
        kept.extend(exprs.iter().filter_map(|(expr, _)| match expr {
            Expr::Column(column) => schema.index_of(&column.name).ok(),
            _ => None,
        }));
        for keyed in &relation.keys {
            if keyed.columns.iter().all(|column| kept.contains(column)) {
                kept.push(keyed.id);
            }
        }
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    /// A step that makes the batches these columns; the relation follows its columns there.
    fn project(&mut self, relation: &Relation, columns: Columns) -> Relation {
        let moved = |index: &usize| columns.moves.iter().position(|kept| *kept == Some(*index));
        let keys = relation.keys.iter().filter_map(|keyed| {
            let columns = keyed
                .columns
                .iter()
                .map(moved)
                .collect::<Option<Vec<_>>>()?;
            let ttl = match keyed.ttl {
                Some((time, ttl)) => Some((moved(&time)?, ttl)),
                None => None,
            };
            Some(Keyed {
                columns,
                id: moved(&keyed.id)?,
                ttl,
            })
        });
        let keys = keys.collect();
        let bounds = relation.bounds.and_then(|bounds| {
            Some(Bounds {
                start: moved(&bounds.start)?,
                end: moved(&bounds.end)?,
            })
        });
        let at = relation.columns.iter().filter_map(moved).collect();
        let schema = Arc::new(Schema::new(columns.fields));
        let spec = Project {
            schema,
            columns: columns.expressions,
        };
        let port = self.add(spec, relation.port);
        if let Port::Node(node) = port {
            self.projected.insert(node, columns.bound);
        }
        Relation {
            port,
            columns: at,
            ordered: relation.ordered,
            keys,
            bounds,
        }
    }

    fn adapt(&self, expr: &Expr, schema: &Schema) -> Step<Arc<dyn Expression>> {
        let adapted = adapt::expression(&self.session.state, expr, schema);
        adapted.map_err(|error| self.failed(&error, span_of(expr)))
    }

    fn add(&mut self, spec: impl OperatorSpec + 'static, input: Port) -> Port {
        self.graph.add(Arc::new(spec), vec![input])
    }

    fn failed(&self, error: &DataFusionError, place: Span) -> Error {
        let mut errors = check::explain(error, place, self.session).into_iter();
        errors.next().unwrap_or_else(|| internal(error))
    }
}

/// Where an expression stands: the place of its first column.
fn span_of(expr: &Expr) -> Span {
    let mut place = Span::empty();
    let _ = expr.apply(|expr| {
        if let Expr::Column(column) = expr
            && let Some(span) = column.spans().first()
        {
            place = check::tokenizer_span(&span);
            return Ok(datafusion::common::tree_node::TreeNodeRecursion::Stop);
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    place
}

/// The inside of nested aliases.
fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn refused(plan: &LogicalPlan) -> Error {
    let (what, hint) = match plan {
        LogicalPlan::Sort(_) => ("ORDER BY waits for the end of the stream", "leave it out"),
        LogicalPlan::Limit(_) => ("LIMIT has no meaning on a stream", "leave it out"),
        LogicalPlan::Join(_) => (
            "JOIN is not built yet",
            "use UNION ALL for rows of one shape",
        ),
        LogicalPlan::Distinct(_) => (
            "DISTINCT remembers every row for ever",
            "group by the columns in a window of TUMBLE",
        ),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => (
            "this query reads no stream",
            "read from a table, with a condition that can be true",
        ),
        _ => (
            "this query does not run on a stream",
            "use SELECT, WHERE, OVER, TUMBLE or HOP",
        ),
    };
    Error::invalid(what, Span::empty()).hint(hint)
}

#[cfg(test)]
mod tests;
