//! INSERT: the query's columns become the table's, by position or by name. A table is written by
//! one INSERT: two outputs of one name would be one file, and one position in the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::graph::Target;
use engine::stream::ARRIVED_AT;

use super::assign::{assign, item};
use super::{Columns, Compiler, Demand, Relation, keyed};
use crate::catalog::{Origin, Table, normalised};
use crate::check;
use crate::error::{Error, Result};
use crate::statement::Insert;

/// An error for every INSERT into a table that one before it writes.
pub(super) fn written_twice(inserts: &[Insert]) -> Vec<Error> {
    let mut written = BTreeSet::new();
    let again = inserts
        .iter()
        .filter(|insert| !written.insert(normalised(&insert.table)));
    let again = again.map(|insert| {
        let message = format!(
            "a second INSERT writes table '{}'",
            normalised(&insert.table)
        );
        let error = Error::invalid(message, insert.table.span);
        error.hint("write one INSERT over both queries, joined by UNION ALL")
    });
    again.collect()
}

impl Compiler<'_> {
    /// Adds an INSERT to the graph.
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<()> {
        let catalog = self.session.catalog;
        let name = normalised(&insert.table);
        let span = insert.table.span;
        let table = catalog.tables.get(&name).ok_or_else(|| {
            if catalog.views.contains_key(&name) {
                let error = Error::invalid(format!("'{name}' is a view"), span);
                return vec![error.hint("INSERT INTO takes a table")];
            }
            if catalog.incomplete || catalog.broken.contains(&name) {
                return vec![];
            }
            let known = catalog.tables.keys().map(String::as_str);
            vec![Error::unknown("table", &insert.table.value, span, known)]
        });
        let whole = insert.query.span();
        let plan = self.session.plan(&insert.query, whole);
        let (table, plan) = match (table, plan) {
            // What is wrong with the table is told there.
            (Ok(table), Ok(_)) if !table.sound => return Err(vec![]),
            (Ok(table), Ok(plan)) => (table, plan),
            (table, plan) => {
                let wrong = [table.err(), plan.err()].into_iter().flatten().flatten();
                return Err(wrong.collect());
            }
        };
        let plan = self.assigned(insert, table, plan)?;
        let explained = |error| check::explain_query(&error, whole, &insert.query, self.session);
        let plan = self.session.optimize(plan).map_err(explained)?;
        self.by_split = keyed::tables(&plan, self.session);
        // Where the plan has lost the place, the whole query is meant.
        let placed = |mut error: Error| {
            if error.span == Span::empty() {
                error.span = whole;
            }
            vec![error]
        };
        let relation = self.relation(&plan, Demand::Any).map_err(placed)?;
        let from = self.delivered(&relation, &written(table));
        let target = Target {
            shown: table.emit,
            ..Target::new(table.stream.clone(), from)
        };
        self.graph.targets.push(target);
        Ok(())
    }

    /// The plan with exactly the columns of the table.
    fn assigned(&self, insert: &Insert, table: &Table, plan: LogicalPlan) -> Result<LogicalPlan> {
        let fields = written(table);
        let places = places(insert, table, &fields)?;
        let given = plan.schema().fields().len();
        if given != places.len() {
            let names: Vec<_> = places
                .iter()
                .map(|at| fields[*at].name().as_str())
                .collect();
            let message = format!(
                "the query has {given} columns and {} takes {}",
                table.stream.name,
                places.len()
            );
            // The first that has no place, or all where some are missing.
            let place = item(&insert.query, places.len());
            let place = place.unwrap_or_else(|| insert.query.span());
            let error = Error::invalid(message, place);
            return Err(vec![error.hint(format!("it takes {}", names.join(", ")))]);
        }
        let (mut columns, mut errors) = (vec![], vec![]);
        for (at, field) in fields.iter().enumerate() {
            match places.iter().position(|place| *place == at) {
                Some(position) => match assign(&insert.query, &plan, position, field, table) {
                    Ok(expr) => columns.push(expr),
                    Err(error) => errors.push(error),
                },
                None if field.is_nullable() => match ScalarValue::try_from(field.data_type()) {
                    Ok(null) => columns.push(lit(null).alias(field.name())),
                    Err(error) => errors.push(crate::session::internal(&error)),
                },
                None => {
                    let message = format!("column '{}' is NOT NULL and not written", field.name());
                    let error = Error::invalid(message, insert.table.span);
                    errors.push(error.hint("name it in the column list and give it a value"));
                }
            }
        }
        for error in &mut errors {
            if error.span == Span::empty() {
                error.span = insert.query.span();
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let projected = LogicalPlanBuilder::from(plan).project(columns);
        let built = projected.and_then(LogicalPlanBuilder::build);
        built.map_err(|error| check::explain(&error, insert.query.span(), self.session))
    }

    /// The port whose batches begin with the columns of the table.
    fn delivered(&mut self, relation: &Relation, fields: &[FieldRef]) -> engine::graph::Port {
        let batch = self.schema(relation);
        let in_place = relation
            .columns
            .iter()
            .enumerate()
            .all(|(at, column)| at == *column);
        let fits = fields.iter().zip(batch.fields()).all(|(wanted, field)| {
            wanted.name() == field.name() && (wanted.is_nullable() || !field.is_nullable())
        });
        if in_place && fits {
            return relation.port;
        }
        let mut wanted = fields.to_vec();
        let mut from = relation.columns.clone();
        if let Ok(index) = batch.index_of(ARRIVED_AT) {
            wanted.push(Arc::clone(&batch.fields()[index]));
            from.push(index);
        }
        let mut columns = Columns::keeping(&batch, &from);
        columns.fields = wanted;
        self.project(relation, columns).port
    }
}

/// The columns of a table that an INSERT writes: those its format encodes.
fn written(table: &Table) -> Vec<FieldRef> {
    table.stream.schema.fields().iter().cloned().collect()
}

/// For every column of the query the position of the column it is written to.
fn places(insert: &Insert, table: &Table, fields: &[FieldRef]) -> Result<Vec<usize>> {
    if insert.columns.is_empty() {
        return Ok((0..fields.len()).collect());
    }
    let (mut places, mut errors) = (vec![], vec![]);
    for column in &insert.columns {
        let name = normalised(column);
        let declared = table
            .columns
            .iter()
            .find(|other| *other.field.name() == name);
        match (
            fields.iter().position(|field| *field.name() == name),
            declared,
        ) {
            (Some(at), _) if places.contains(&at) => {
                let message = format!("column '{name}' is written twice");
                errors.push(Error::invalid(message, column.span).hint("name it once"));
            }
            (Some(at), _) => places.push(at),
            (None, Some(other)) => {
                let kind = match other.origin {
                    Origin::Metadata => "read from the message's envelope",
                    Origin::ProcTime => "the arrival time",
                    _ => "computed",
                };
                let message = format!("column '{name}' is {kind} and cannot be written");
                errors.push(Error::invalid(message, column.span).hint("leave it out"));
            }
            (None, None) => {
                let known = fields.iter().map(|field| field.name().as_str());
                errors.push(Error::unknown("column", &name, column.span, known));
            }
        }
    }
    if errors.is_empty() {
        Ok(places)
    } else {
        Err(errors)
    }
}
