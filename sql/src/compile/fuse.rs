//! Projections over projections become one: every step costs allocations per batch.
//!
//! This runs on the whole graph, when it is known who reads what. A projection takes the place
//! of the one below unless that would compute something twice, in this step or in another that
//! shares the one below. Columns that nobody reads are left out of projections that are there
//! anyway, a projection that changes nothing goes, and one that a table is written from and that
//! computes nothing is left to the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use engine::Graph;
use engine::graph::{Port, Target};
use engine::operator::project::Project;
use engine::stream::ARRIVED_AT;

use super::{Compiler, Step};
use crate::adapt;

impl Compiler<'_> {
    /// The graph with as few projections as there can be.
    pub(super) fn fused(mut self) -> Step<Graph> {
        let mut graph = Graph::default();
        for input in &self.graph.inputs {
            graph.add_input(input.clone());
        }
        let targets = std::mem::take(&mut self.graph.targets);
        let mut fuse = Fuse {
            readers: readers(&self.graph, &targets),
            compiler: &self,
            graph: &mut graph,
            done: BTreeMap::new(),
        };
        let mut fused = vec![];
        for target in targets {
            fused.push(fuse.target(target)?);
        }
        graph.targets = fused;
        Ok(graph)
    }
}

/// How many steps and targets read each node, those that lead to no target left out.
fn readers(graph: &Graph, targets: &[Target]) -> Vec<usize> {
    let mut readers = vec![0; graph.nodes.len()];
    let ports = targets.iter().map(|target| target.from);
    let mut open: Vec<Port> = ports.collect();
    while let Some(port) = open.pop() {
        if let Port::Node(node) = port {
            readers[node] += 1;
            if readers[node] == 1 {
                open.extend(&graph.nodes[node].inputs);
            }
        }
    }
    readers
}

/// A graph under construction from the compiler's.
struct Fuse<'a> {
    compiler: &'a Compiler<'a>,
    graph: &'a mut Graph,
    readers: Vec<usize>,
    /// The new port of every node that is there.
    done: BTreeMap<usize, Port>,
}

/// A projection in the compiler's graph.
struct Projection {
    fields: Vec<FieldRef>,
    /// Over the names of the input's columns.
    columns: Vec<Expr>,
    input: Port,
}

impl Fuse<'_> {
    /// A table that is written. What only picks columns it does itself, unless rows are rejected
    /// by that.
    fn target(&mut self, target: Target) -> Step<Target> {
        let fields = target.stream.schema.fields();
        let reads = |at: usize, name: &str| at < fields.len() || name == ARRIVED_AT;
        let Some(over) = self.only(target.from, reads) else {
            let from = self.port(target.from)?;
            return Ok(Target { from, ..target });
        };
        let over = self.joined(over);
        let below = self.compiler.graph.schema(over.input);
        let picked = |(expr, field): (&Expr, &FieldRef)| {
            let rejects = || match expr {
                Expr::Column(column) => {
                    let from = below.field_with_name(&column.name);
                    from.is_ok_and(Field::is_nullable)
                }
                _ => true,
            };
            adapt::is_pick(expr) && (field.is_nullable() || !rejects())
        };
        if !over.columns.iter().zip(fields).all(picked) {
            let from = self.project(over)?;
            return Ok(Target { from, ..target });
        }
        let read = over.names();
        let from = self.read(over.input, |_, name| {
            name == ARRIVED_AT || read.iter().any(|read| read == name)
        })?;
        let below = self.graph.schema(from);
        let columns = over.columns.iter().take(fields.len());
        let columns = columns.map(|expr| self.compiler.adapt(expr, &below));
        Ok(Target {
            columns: columns.collect::<Step<_>>()?,
            from,
            ..target
        })
    }

    /// The new port for one reader of a port, who reads the columns that `reads` says, by
    /// position and name.
    fn read(&mut self, port: Port, reads: impl Fn(usize, &str) -> bool) -> Step<Port> {
        match self.only(port, reads) {
            Some(projection) => {
                let projection = self.joined(projection);
                self.project(projection)
            }
            None => self.port(port),
        }
    }

    /// The projection at a port that has one reader, with the columns that it reads.
    fn only(&self, port: Port, reads: impl Fn(usize, &str) -> bool) -> Option<Projection> {
        let Port::Node(node) = port else {
            return None;
        };
        let mut projection = self.projection(node).filter(|_| self.readers[node] == 1)?;
        let names = projection.fields.iter().enumerate();
        let read: Vec<bool> = names.map(|(at, field)| reads(at, field.name())).collect();
        let mut kept = read.iter();
        projection.fields.retain(|_| kept.next() == Some(&true));
        let mut kept = read.iter();
        projection.columns.retain(|_| kept.next() == Some(&true));
        Some(projection)
    }

    /// The new port for a reader who knows columns by their positions.
    fn port(&mut self, port: Port) -> Step<Port> {
        let Port::Node(node) = port else {
            return Ok(port);
        };
        if let Some(port) = self.done.get(&node) {
            return Ok(*port);
        }
        let made = match self.projection(node) {
            Some(projection) => {
                let projection = self.joined(projection);
                self.project(projection)?
            }
            None => {
                let step = self.compiler.graph.nodes[node].clone();
                let inputs = step.inputs.iter().map(|input| self.port(*input));
                let inputs = inputs.collect::<Step<Vec<_>>>()?;
                self.graph.add(step.spec, inputs)
            }
        };
        self.done.insert(node, made);
        Ok(made)
    }

    fn projection(&self, node: usize) -> Option<Projection> {
        let columns = self.compiler.projected.get(&node)?;
        let step = &self.compiler.graph.nodes[node];
        Some(Projection {
            fields: step.spec.schema().fields().to_vec(),
            columns: columns.clone(),
            input: *step.inputs.first()?,
        })
    }

    /// A projection, joined with those below it.
    fn joined(&self, mut over: Projection) -> Projection {
        while let Port::Node(node) = over.input
            && let Some(under) = self.projection(node)
            && under.can_join(&over, self.readers[node] > 1)
        {
            over = under.join(over);
        }
        over
    }

    /// The port of a projection that is joined with those below it.
    fn project(&mut self, over: Projection) -> Step<Port> {
        let read: Vec<String> = over.names();
        let input = self.read(over.input, |_, name| read.iter().any(|read| read == name))?;
        let below = self.graph.schema(input);
        let same = below.fields().iter().eq(&over.fields);
        if same && over.columns.iter().zip(&over.fields).all(is_column) {
            return Ok(input);
        }
        let columns = over.columns.iter();
        let columns = columns.map(|expr| self.compiler.adapt(expr, &below));
        let spec = Project {
            columns: columns.collect::<Step<Vec<_>>>()?,
            schema: Arc::new(Schema::new(over.fields)),
        };
        Ok(self.graph.add(Arc::new(spec), vec![input]))
    }
}

fn is_column((expr, field): (&Expr, &FieldRef)) -> bool {
    matches!(expr, Expr::Column(column) if column.name == *field.name())
}

impl Projection {
    /// The input's columns that it reads, as often as it does.
    fn names(&self) -> Vec<String> {
        let mut names = vec![];
        for expr in &self.columns {
            let _ = expr.apply(|expr| {
                if let Expr::Column(column) = expr {
                    names.push(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        names
    }

    /// Whether `over` can compute what this one does, without computing anything twice.
    fn can_join(&self, over: &Self, shared: bool) -> bool {
        let read = over.names();
        let once = |(expr, field): (&Expr, &FieldRef)| {
            let times = read.iter().filter(|name| *name == field.name()).count();
            matches!(expr, Expr::Column(_) | Expr::Literal(..))
                || times == 0
                || (times == 1 && !shared)
        };
        self.columns.iter().zip(&self.fields).all(once)
    }

    /// What `over` computes, from what this one reads.
    fn join(&self, mut over: Self) -> Self {
        for expr in &mut over.columns {
            let replaced = std::mem::take(expr).transform_up(|expr| {
                let Expr::Column(column) = &expr else {
                    return Ok(Transformed::no(expr));
                };
                let named = |field: &FieldRef| *field.name() == column.name;
                let at = self.fields.iter().position(named);
                Ok(match at.and_then(|at| self.columns.get(at)) {
                    Some(inner) => Transformed::yes(inner.clone()),
                    None => Transformed::no(expr),
                })
            });
            // The closure does not fail.
            *expr = replaced.map(|replaced| replaced.data).unwrap_or_default();
        }
        over.input = self.input;
        over
    }
}
