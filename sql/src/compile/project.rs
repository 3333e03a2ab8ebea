//! `SELECT` and `WHERE`: columns picked cost nothing, columns computed are one step.

use datafusion::logical_expr::{Expr, Filter, Projection};
use engine::operator;
use engine::stream::{ARRIVED_AT, LATE, SPLIT};

use super::{Columns, Compiler, Demand, Relation, Step, unaliased};

impl Compiler<'_> {
    pub(super) fn filter(&mut self, filter: &Filter, demand: Demand) -> Step<Relation> {
        let relation = self.relation(&filter.input, demand)?;
        let bound = self.bind(&relation, filter.input.schema(), &filter.predicate)?;
        let schema = self.schema(&relation);
        let predicate = self.adapt(&bound, &schema)?;
        let port = self.add(
            operator::filter::Filter { schema, predicate },
            relation.port,
        );
        Ok(Relation { port, ..relation })
    }

    pub(super) fn projection(&mut self, node: &Projection, demand: Demand) -> Step<Relation> {
        let below = self.relation(&node.input, demand)?;
        let schema = self.schema(&below);
        let mut bound = vec![];
        for expr in &node.expr {
            let inner = self.bind(&below, node.input.schema(), unaliased(expr))?;
            bound.push(inner);
        }
        let picked = |expr: &Expr| match expr {
            Expr::Column(column) => schema.index_of(&column.name).ok(),
            _ => None,
        };
        if let Some(columns) = bound.iter().map(picked).collect() {
            return Ok(Relation { columns, ..below });
        }
        let mut columns = Columns::new();
        let mut at = vec![];
        for (expr, field) in bound.iter().zip(node.schema.fields()) {
            at.push(match picked(expr) {
                Some(index) => columns.pass_once(&schema, index),
                None => columns.add(expr, self.adapt(expr, &schema)?, field.name()),
            });
        }
        // What no column of the query names but a step above may need.
        let mut hidden: Vec<usize> = vec![];
        hidden.extend(
            below
                .bounds
                .iter()
                .flat_map(|bounds| [bounds.start, bounds.end]),
        );
        hidden.extend(
            [ARRIVED_AT, SPLIT, LATE]
                .iter()
                .filter_map(|name| schema.index_of(name).ok()),
        );
        for index in hidden {
            columns.pass_once(&schema, index);
        }
        for keyed in &below.keys {
            let passed = |index: &usize| columns.moves.contains(&Some(*index));
            if keyed.columns.iter().all(passed) {
                columns.pass_once(&schema, keyed.id);
            }
        }
        let projected = self.project(
            &Relation {
                columns: vec![],
                ..below
            },
            columns,
        );
        Ok(Relation {
            columns: at,
            ..projected
        })
    }

    /// Gives the relation's columns other names where these are taken.
    pub(super) fn free_names(&mut self, relation: &mut Relation, names: &[&str]) {
        let schema = self.schema(relation);
        if names.iter().all(|name| schema.index_of(name).is_err()) {
            return;
        }
        let mut columns = Columns::new();
        for index in self.needed(relation, &[]) {
            let name = schema.field(index).name();
            if names.contains(&name.as_str()) {
                columns.pass_as(&schema, index, &format!("{name}_before"));
            } else {
                columns.pass(&schema, index);
            }
        }
        *relation = self.project(relation, columns);
    }

    /// Drops the columns that nothing above can ask for.
    pub(super) fn prune(&mut self, relation: &mut Relation) {
        let schema = self.schema(relation);
        let needed = self.needed(relation, &[]);
        if needed.len() < schema.fields().len() {
            *relation = self.project(relation, Columns::keeping(&schema, &needed));
        }
    }
}
