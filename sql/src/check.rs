//! Streamable or not: what is refused, where it stands, why, and what to write instead.
//!
//! What the text alone shows is refused before DataFusion sees it, since its plans keep the
//! places of columns only; what needs types or the meaning of a column is refused by `compile`.

mod clause;
mod explain;
mod items;
mod locate;
pub(crate) mod names;

use std::ops::ControlFlow;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result as PlanResult, plan_datafusion_err};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArguments, JoinOperator, Query, Select, Spanned, TableFactor, Visit, Visitor,
    WindowFrameUnits, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, Result};
use crate::functions::{indicator, time::NOW};
use crate::session::Session;

pub(crate) use explain::{explain, tokenizer_span, unknown_function};
pub(crate) use items::items;

/// Refuses what no stream can do; all errors of the query at once.
pub(crate) fn query(query: &Query) -> Result<()> {
    check(query)
}

/// Refuses what no computed column can be.
pub(crate) fn expression(expr: &ast::Expr) -> Result<()> {
    check(expr)
}

fn check(part: &impl Visit) -> Result<()> {
    let mut check = Check::default();
    let _ = part.visit(&mut check);
    if check.errors.is_empty() {
        Ok(())
    } else {
        Err(check.errors)
    }
}

/// DataFusion's error about a query: at what it names, or else at `whole`.
pub(crate) fn explain_query(
    error: &DataFusionError,
    whole: Span,
    query: &Query,
    session: &Session<'_>,
) -> Vec<Error> {
    let mut errors = explain(error, whole, session);
    for error in errors.iter_mut().filter(|error| error.span == whole) {
        error.span = locate::locate(&error.message, query).unwrap_or(whole);
    }
    errors
}

/// Puts the arrival time's column where `now()` and its like are called; refuses functions that
/// do not follow from the row.
pub(crate) fn arrival(expr: Expr, column: Option<&str>) -> PlanResult<Expr> {
    let replaced = expr.transform_up(|expr| {
        let Expr::ScalarFunction(function) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let name = function.func.name();
        if name == NOW {
            let column = column.ok_or_else(|| {
                plan_datafusion_err!(
                    "now() is a row's arrival time, and a row of an aggregate did not arrive; \
                     use window_end"
                )
            })?;
            return Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                column,
            ))));
        }
        if function.func.signature().volatility == Volatility::Volatile {
            return Err(volatile(name));
        }
        Ok(Transformed::no(expr))
    });
    replaced.map(|replaced| replaced.data)
}

fn volatile(name: &str) -> DataFusionError {
    plan_datafusion_err!(
        "{name}() differs from call to call, so a replay would not repeat it; \
         compute it before the row enters"
    )
}

#[derive(Default)]
struct Check {
    errors: Vec<Error>,
}

impl Check {
    fn refuse(&mut self, span: Span, message: impl Into<String>, hint: &str) {
        self.errors.push(Error::invalid(message, span).hint(hint));
    }

    fn joins(&mut self, select: &Select) {
        let hint = "joins of streams are not built yet; UNION ALL joins rows of one shape";
        if let Some(second) = select.from.get(1) {
            self.refuse(second.span(), "a join without a bound never ends", hint);
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            let what = match &join.join_operator {
                JoinOperator::AsOf { .. } => "ASOF JOIN",
                _ => "JOIN",
            };
            self.refuse(
                join.relation.span(),
                format!("{what} is not built yet"),
                hint,
            );
        }
    }

    fn over(&mut self, function: &ast::Function, spec: &WindowSpec) {
        let span = function.span();
        if function.null_treatment == Some(ast::NullTreatment::IgnoreNulls) {
            let hint = "leave it out, or filter with WHERE … IS NOT NULL";
            self.refuse(span, "IGNORE NULLS is not built yet in OVER", hint);
        }
        if let FunctionArguments::List(list) = &function.args
            && (list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct))
        {
            let hint = "count distinct values in a window of TUMBLE or HOP";
            self.refuse(span, "DISTINCT does not run in OVER", hint);
        }
        match spec.order_by.as_slice() {
            [] => {
                let hint = "write ORDER BY and the watermark column or PROCTIME in OVER (…)";
                self.refuse(
                    span,
                    "OVER without ORDER BY waits for the end of the stream",
                    hint,
                );
            }
            [by] => {
                if by.options.asc == Some(false) {
                    let hint = "order by time ascending";
                    self.refuse(by.span(), "OVER runs forward in time, not DESC", hint);
                }
                if by.options.nulls_first == Some(true) || by.with_fill.is_some() {
                    let hint = "leave it out: the time of a row is never NULL";
                    self.refuse(by.span(), "NULLS FIRST has no meaning on a stream", hint);
                }
            }
            [_, more, ..] => {
                let hint = "order by the time column alone; ties go by partition and offset";
                self.refuse(more.span(), "OVER orders by one time column", hint);
            }
        }
        let Some(frame) = &spec.window_frame else {
            return;
        };
        let name = function.name.to_string().to_lowercase();
        if indicator::named(&name).is_some() {
            let hint = "leave the frame out: the indicator's parameters say how far it looks back";
            self.refuse(span, format!("{name} takes no frame"), hint);
        }
        if frame.units == WindowFrameUnits::Groups {
            self.refuse(span, "GROUPS frames are not built yet", "use ROWS or RANGE");
        }
        self.bound(frame.units, &frame.start_bound, span);
        if let Some(end) = &frame.end_bound {
            self.bound(frame.units, end, span);
        }
    }

    /// `DISTINCT` in an aggregate.
    fn distinct(&mut self, function: &ast::Function, name: &str) {
        let distinct = Some(ast::DuplicateTreatment::Distinct);
        let of_values = matches!(
            &function.args,
            FunctionArguments::List(list) if list.duplicate_treatment == distinct
        );
        if !of_values || name == "count" {
            return;
        }
        let hint = match name {
            "max" | "min" | "bool_and" | "bool_or" | "bit_and" | "bit_or" => {
                "leave DISTINCT out: the result is the same"
            }
            _ => "leave DISTINCT out, or GROUP BY the value in an inner query first",
        };
        let message = format!("{name}(DISTINCT …) does not run on a stream");
        self.refuse(function.span(), message, hint);
    }

    fn function(&mut self, function: &ast::Function) {
        let name = function.name.to_string().to_lowercase();
        match &function.over {
            Some(WindowType::WindowSpec(spec)) => self.over(function, spec),
            Some(WindowType::NamedWindow(window)) => {
                let message = format!("no window is called '{window}'");
                self.refuse(window.span, message, "define it with WINDOW … AS (…)");
            }
            None if indicator::named(&name).is_some() => {
                let message = format!("{name} is a window function");
                let hint = format!("write {name}(…) OVER (PARTITION BY … ORDER BY time)");
                self.refuse(function.span(), message, &hint);
            }
            None => self.distinct(function, &name),
        }
        if function.over.is_some()
            && let FunctionArguments::List(list) = &function.args
        {
            self.errors
                .extend(indicator::check(&name, &list.args, function.span()));
        }
        if !function.within_group.is_empty() {
            let hint = "use avg, min, max, stddev or an indicator";
            self.refuse(
                function.span(),
                format!("{name} WITHIN GROUP is not built yet"),
                hint,
            );
        }
        let instead = match name.as_str() {
            "current_date" | "today" => "write CAST(now() AS DATE)",
            "current_time" | "localtime" => "write CAST(now() AS TIME)",
            "localtimestamp" => "write now(): all instants are UTC",
            _ => return,
        };
        let message = format!("{name} is not the arrival time of a row");
        self.refuse(function.span(), message, instead);
    }
}

impl Visitor for Check {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.tail(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.select(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let span = factor.span();
        match factor {
            TableFactor::Table {
                version: Some(_), ..
            } => {
                let hint = "leave it out: a stream is read as it comes";
                self.refuse(span, "a version of a table is not available", hint);
            }
            TableFactor::Table {
                sample: Some(_), ..
            } => {
                self.refuse(span, "a sample would differ in a replay", "leave it out");
            }
            TableFactor::Derived { lateral: true, .. } => {
                self.refuse(
                    span,
                    "LATERAL does not run on a stream",
                    "write a sub-select",
                );
            }
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::Function { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::NestedJoin { .. } => {}
            TableFactor::MatchRecognize { .. } => {
                let hint = "compare with LAG(…) OVER (…) meanwhile";
                self.refuse(span, "MATCH_RECOGNIZE is not built yet", hint);
            }
            _ => self.refuse(
                span,
                "this relation does not run on a stream",
                "read a table",
            ),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Function(function) => self.function(function),
            ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => {
                let hint = "joins of streams are not built yet; write the values out";
                self.refuse(expr.span(), "a sub-select in an expression is a join", hint);
            }
            ast::Expr::IsDistinctFrom(_, right) | ast::Expr::IsNotDistinctFrom(_, right)
                if matches!(
                    right.as_ref(),
                    ast::Expr::BinaryOp {
                        op: ast::BinaryOperator::And | ast::BinaryOperator::Or,
                        ..
                    }
                ) =>
            {
                // The parser takes all that follows for the right side.
                let hint = "write (a IS DISTINCT FROM b) AND …, with the parentheses";
                self.refuse(
                    right.span(),
                    "IS DISTINCT FROM ends where is not clear",
                    hint,
                );
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
