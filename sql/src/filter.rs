//! A condition over the rows of one table, as a reader of live rows writes it.
//!
//! It is compiled once, by the planner of scripts, and then evaluated a batch at a time. It sees
//! one row: no aggregates, no windows, no sub-selects; and nothing that differs from call to call.
//! It is kept as the conditions that AND connects, each by itself, so that they can be told apart by
//! the columns they look at.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{self, Spanned, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::{Expression, Result as Evaluated};

use crate::catalog::{Catalog, sql_type};
use crate::error::{Error, Result};
use crate::functions::LENGTHENING;
use crate::functions::time::NOW;
use crate::session::{Session, coerce};
use crate::{adapt, check, statement};

/// A text longer than this is refused.
const LONGEST: usize = 16 * 1024;

/// A boolean expression over the columns of a table.
#[derive(Debug, Clone)]
pub struct Filter {
    /// At least one; all of them are to hold.
    terms: Vec<Term>,
}

/// One of the conditions that AND connects.
#[derive(Debug, Clone)]
struct Term {
    expression: Arc<dyn Expression>,
    /// The columns it looks at.
    columns: Vec<usize>,
}

impl Filter {
    /// Compiles the text of a condition, as it would stand behind WHERE. The errors have the
    /// place in the text.
    pub fn compile(text: &str, schema: &SchemaRef) -> Result<Self> {
        if text.len() > LONGEST {
            let message = format!("the condition is longer than {LONGEST} bytes");
            return Err(vec![Error::of_whole(message)]);
        }
        let parsed = statement::expression(text).map_err(|error| vec![error])?;
        let catalog = Catalog::default();
        let (session, _) = Session::new(&catalog)?;
        let mut refused = Refused {
            session: &session,
            errors: vec![],
        };
        let _ = parsed.visit(&mut refused);
        let mut errors = refused.errors;
        if errors.is_empty() {
            let columns = schema.fields().iter().map(|field| field.name().as_str());
            errors = check::expression(&parsed).err().unwrap_or_default();
            errors.extend(check::names::expression(&parsed, columns, &session));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let terms = plan(&parsed, schema, &session)?;
        Ok(Self { terms })
    }

    /// What it says of these columns alone, if anything, and what else it says.
    #[must_use]
    pub fn split(self, columns: &[usize]) -> (Option<Self>, Option<Self>) {
        let of_those = |term: &Term| {
            let mut looked_at = term.columns.iter();
            !term.columns.is_empty() && looked_at.all(|column| columns.contains(column))
        };
        let (of_those, others) = self.terms.into_iter().partition(of_those);
        let filter = |terms: Vec<Term>| (!terms.is_empty()).then_some(Self { terms });
        (filter(of_those), filter(others))
    }

    /// For each row whether it fulfils the condition: NULL does not. A row for which it cannot be
    /// told (a failed cast, a division by zero) does not either.
    pub fn mask(&self, rows: &RecordBatch) -> Evaluated<BooleanArray> {
        let mut mask: Option<BooleanArray> = None;
        for term in &self.terms {
            if mask.as_ref().is_some_and(|mask| !mask.has_true()) {
                break;
            }
            let other = term.mask(rows)?;
            mask = Some(match mask {
                None => other,
                Some(mask) => and(&mask, &other)?,
            });
        }
        Ok(mask.unwrap_or_else(|| BooleanArray::from(vec![true; rows.num_rows()])))
    }
}

impl Term {
    fn mask(&self, rows: &RecordBatch) -> Evaluated<BooleanArray> {
        match self.evaluate(rows) {
            Err(error) if error.kind() == engine::ErrorKind::Invalid => {
                let row = |i| match self.evaluate(&rows.slice(i, 1)) {
                    Ok(mask) => Ok(mask.value(0)),
                    Err(error) if error.kind() == engine::ErrorKind::Invalid => Ok(false),
                    Err(error) => Err(error),
                };
                let each = (0..rows.num_rows()).map(row);
                Ok(each.collect::<Evaluated<Vec<bool>>>()?.into())
            }
            other => other,
        }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Evaluated<BooleanArray> {
        let value = self.expression.evaluate(rows)?;
        let mask = value.as_boolean_opt().ok_or_else(|| {
            engine::Error::internal(format!("the condition {} is not boolean", self.expression))
        })?;
        Ok(match mask.null_count() {
            0 => mask.clone(),
            _ => prep_null_mask_filter(mask),
        })
    }
}

fn plan(parsed: &ast::Expr, schema: &Schema, session: &Session<'_>) -> Result<Vec<Term>> {
    let span = parsed.span();
    let failed = |error| check::explain(&error, span, session);
    let columns = DFSchema::try_from(schema.clone()).map_err(failed)?;
    let to_plan = SqlToRel::new(session);
    let planned = to_plan.sql_to_expr(parsed.clone(), &columns, &mut PlannerContext::new());
    let planned = planned.and_then(|planned| check::arrival(planned, None));
    let planned = planned
        .and_then(|planned| coerce(planned, &columns))
        .map_err(failed)?;
    let data_type = planned.get_type(&columns).map_err(failed)?;
    if data_type != DataType::Boolean {
        let message = format!("the condition is of type {}", sql_type(&data_type));
        let error = Error::invalid(message, span);
        return Err(vec![error.hint("compare it with something: price > 10")]);
    }
    let term = |planned: &Expr| {
        let columns = planned.column_refs().into_iter();
        Ok(Term {
            expression: adapt::expression(&session.state, planned, schema)?,
            columns: columns
                .map(|column| schema.index_of(&column.name))
                .collect::<std::result::Result<_, _>>()?,
        })
    };
    let terms = split_conjunction(&planned).into_iter().map(term);
    terms
        .collect::<datafusion::common::Result<_>>()
        .map_err(failed)
}

/// What no condition over one row can have, with its place.
struct Refused<'a> {
    session: &'a Session<'a>,
    errors: Vec<Error>,
}

impl Refused<'_> {
    fn function(&mut self, function: &ast::Function) {
        let name = function.name.to_string().to_lowercase();
        let state = &self.session.state;
        let message = if function.over.is_some() || state.window_functions().contains_key(&name) {
            format!("{name} looks at other rows")
        } else if state.aggregate_functions().contains_key(&name) {
            format!("{name} is an aggregate, and a condition sees one row")
        } else if LENGTHENING.contains(&name.as_str()) {
            format!("{name} makes texts of any length, which every row would wait for")
        } else {
            let scalar = state.scalar_functions().get(&name);
            let volatile = |f: &Arc<datafusion::logical_expr::ScalarUDF>| {
                f.name() == NOW || f.signature().volatility != Volatility::Immutable
            };
            if !scalar.is_some_and(volatile) {
                return;
            }
            format!("{name} differs from call to call")
        };
        let hint = "compute it in the job's SELECT, and compare its column here";
        let error = Error::invalid(message, function.span());
        self.errors.push(error.hint(hint));
    }
}

impl Visitor for Refused<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Function(function) => self.function(function),
            ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => {
                let error = Error::invalid("a condition has no sub-select", expr.span());
                self.errors.push(error.hint("write the values out"));
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<()> {
        if let ast::Value::Placeholder(name) = &value.value {
            let error = Error::invalid(format!("nothing stands for '{name}'"), value.span);
            self.errors.push(error.hint("write the value itself"));
        }
        ControlFlow::Continue(())
    }
}

/// The place of an error as line and column, where it has one.
#[must_use]
pub fn place(error: &Error) -> Option<(u64, u64)> {
    let start = error.span.start;
    (error.span != Span::empty()).then_some((start.line, start.column))
}

#[cfg(test)]
mod tests;
