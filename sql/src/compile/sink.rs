//! INSERT: the query's columns become the table's, by position or by name, cast as Flink does.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Ident, Spanned};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::graph::Target;
use engine::stream::ARRIVED_AT;

use super::{Columns, Compiler, Demand, Relation, span_of, unaliased};
use crate::catalog::{Origin, Table};
use crate::check;
use crate::error::{Error, Result};
use crate::statement::Insert;

fn normal(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

impl Compiler<'_> {
    /// Adds an INSERT to the graph.
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<()> {
        let catalog = self.session.catalog;
        let name = normal(&insert.table);
        let span = insert.table.span;
        let table = catalog.tables.get(&name).ok_or_else(|| {
            if catalog.views.contains_key(&name) {
                let error = Error::invalid(format!("'{name}' is a view"), span);
                return vec![error.hint("INSERT INTO takes a table")];
            }
            let known = catalog.tables.keys().map(String::as_str);
            vec![Error::unknown("table", &insert.table.value, span, known)]
        });
        let whole = insert.query.span();
        let plan = self.session.plan(&insert.query, whole);
        let (table, plan) = match (table, plan) {
            (Ok(table), Ok(plan)) => (table, plan),
            (table, plan) => {
                let wrong = [table.err(), plan.err()].into_iter().flatten().flatten();
                return Err(wrong.collect());
            }
        };
        let plan = self.assigned(insert, table, plan)?;
        let explained = |error| check::explain(&error, whole, self.session);
        let plan = self.session.optimize(plan).map_err(explained)?;
        // Where the plan has lost the place, the whole query is meant.
        let placed = |mut error: Error| {
            if error.span == Span::empty() {
                error.span = whole;
            }
            vec![error]
        };
        let relation = self.relation(&plan, Demand::Any).map_err(placed)?;
        let from = self.delivered(&relation, &written(table));
        self.graph.targets.push(Target {
            stream: table.stream.clone(),
            from,
        });
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
            let error = Error::invalid(message, insert.query.span());
            return Err(vec![error.hint(format!("it takes {}", names.join(", ")))]);
        }
        let (mut columns, mut errors) = (vec![], vec![]);
        for (at, field) in fields.iter().enumerate() {
            match places.iter().position(|place| *place == at) {
                Some(position) => match assign(&plan, position, field, table) {
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
        let name = normal(column);
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

/// A column of the query as a column of the table.
fn assign(
    plan: &LogicalPlan,
    position: usize,
    field: &FieldRef,
    table: &Table,
) -> std::result::Result<Expr, Error> {
    let (relation, given) = plan.schema().qualified_field(position);
    let column = Expr::Column(Column::from((relation, given)));
    let (from, to) = (given.data_type(), field.data_type());
    // Where the query computes the column, its text is in the plan's topmost projection.
    let source = match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(position).map(unaliased),
        _ => None,
    };
    let literal = matches!(source, Some(Expr::Literal(..)));
    if from == to {
        return Ok(column.alias(field.name()));
    }
    if !assignable(from, to, literal) {
        let name = field.name();
        let message = format!(
            "column '{name}' of {} is {}, and the query gives {}",
            table.stream.name,
            sql_name(to),
            sql_name(from)
        );
        let place = source.map_or_else(Span::empty, span_of);
        let hint = format!("write CAST(… AS {}), or change the table", sql_name(to));
        return Err(Error::invalid(message, place).hint(hint));
    }
    Ok(cast(column, to.clone()).alias(field.name()))
}

/// Whether a value is taken without a CAST in the text: where nothing is lost but digits, and
/// where what does not fit fails (and rejects the row).
fn assignable(from: &DataType, to: &DataType, literal: bool) -> bool {
    use DataType::{Boolean, Date32, Float32, Float64, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (Null, _)
        | (Float32 | Float64, Float32 | Float64)
        | (Timestamp(_, None) | Date32, Timestamp(_, None))
        | (Boolean, Boolean) => true,
        (Float64, b) if b.is_decimal() => literal,
        (a, Timestamp(..)) if text(a) => literal,
        (a, Float32 | Float64) if a.is_decimal() => true,
        (a, b) => {
            (text(a) && text(b))
                || (a.is_integer() && b.is_numeric())
                || (a.is_decimal() && b.is_decimal())
        }
    }
}

/// The name of a type in SQL.
fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".into(),
        DataType::Time64(_) => "TIME".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP(9)".into(),
        other => other.to_string(),
    }
}
