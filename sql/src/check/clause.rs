//! Clauses that have no meaning on a stream, each at its own place.
//!
//! sqlparser keeps the places of expressions and of SELECT; a clause without an expression is
//! shown at the SELECT it belongs to, not at all of the query's text.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, LimitClause, Query, Select, SetExpr,
    SetOperator, SetQuantifier, Spanned, WindowFrameBound, WindowFrameUnits,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::Check;

/// The place of a clause, or of the SELECT where it has none.
fn or(place: Span, select: Span) -> Span {
    if place == Span::empty() {
        select
    } else {
        place
    }
}

/// The word SELECT that a query begins with, or its whole text.
fn beginning(query: &Query) -> Span {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.select_token.0.span,
        _ => query.span(),
    }
}

impl Check {
    /// What stands behind the SELECTs of a query.
    pub(super) fn tail(&mut self, query: &Query) {
        let start = beginning(query);
        if let Some(order) = &query.order_by {
            let hint = "rows come in the order of time; leave it out, or sort what `query` reads";
            let message = "ORDER BY waits for the end of the stream";
            self.refuse(or(order.span(), start), message, hint);
        }
        let place = |expr: &Expr| or(expr.span(), start);
        let mut cut = vec![];
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                cut.extend(limit.as_ref().map(|limit| ("LIMIT", place(limit))));
                cut.extend(offset.iter().map(|by| ("OFFSET", place(&by.value))));
            }
            Some(LimitClause::OffsetCommaLimit { limit, .. }) => cut.push(("LIMIT", place(limit))),
            None => {}
        }
        if let Some(fetch) = &query.fetch {
            cut.push(("FETCH", or(fetch.span(), start)));
        }
        for (clause, place) in cut {
            let message = format!("{clause} has no meaning on a stream that does not end");
            self.refuse(place, message, "leave it out, or filter with WHERE");
        }
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            let message = "WITH RECURSIVE does not run on a stream";
            self.refuse(with.with_token.0.span, message, "write WITH");
        }
        if !query.locks.is_empty() {
            self.refuse(start, "FOR UPDATE locks nothing here", "leave it out");
        }
        if !query.pipe_operators.is_empty() {
            self.refuse(start, "|> does not run on a stream", "write a sub-select");
        }
        self.set_expression(&query.body);
    }

    /// What stands within a SELECT.
    pub(super) fn select(&mut self, select: &Select) {
        let start = select.select_token.0.span;
        if matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            let hint = "group by the columns in a window of TUMBLE or HOP";
            self.refuse(start, "DISTINCT remembers every row for ever", hint);
        }
        self.grouping(select, start);
        let first = |exprs: &[Expr]| exprs.first().map_or(start, |expr| or(expr.span(), start));
        let sorted = select.sort_by.first();
        let sorted = sorted.map_or(start, |by| or(by.span(), start));
        let clauses = [
            (select.top.is_some(), "TOP", start),
            (select.into.is_some(), "SELECT … INTO", start),
            (select.prewhere.is_some(), "PREWHERE", start),
            (!select.lateral_views.is_empty(), "LATERAL VIEW", start),
            (!select.connect_by.is_empty(), "CONNECT BY", start),
            (
                !select.cluster_by.is_empty(),
                "CLUSTER BY",
                first(&select.cluster_by),
            ),
            (
                !select.distribute_by.is_empty(),
                "DISTRIBUTE BY",
                first(&select.distribute_by),
            ),
            (!select.sort_by.is_empty(), "SORT BY", sorted),
        ];
        for (_, clause, place) in clauses.into_iter().filter(|(there, ..)| *there) {
            let message = format!("{clause} does not run on a stream");
            self.refuse(place, message, "leave it out");
        }
        if select.from.is_empty() {
            self.refuse(
                start,
                "a SELECT without FROM is no stream",
                "read from a table",
            );
        }
        self.joins(select);
    }

    fn grouping(&mut self, select: &Select, start: Span) {
        let (exprs, modifiers) = match &select.group_by {
            GroupByExpr::All(_) => {
                let hint = "name the columns to group by";
                self.refuse(start, "GROUP BY ALL is not available", hint);
                return;
            }
            GroupByExpr::Expressions(exprs, modifiers) => (exprs, modifiers),
        };
        let sets = exprs.iter().filter_map(|expr| {
            let name = match expr {
                Expr::Rollup(_) => "ROLLUP",
                Expr::Cube(_) => "CUBE",
                Expr::GroupingSets(_) => "GROUPING SETS",
                _ => return None,
            };
            Some((name, or(expr.span(), start)))
        });
        // `WITH …` stands behind the last expression.
        let last = exprs.last().map_or(start, |expr| or(expr.span(), start));
        let modifiers = modifiers.iter().map(|modifier| match modifier {
            GroupByWithModifier::Rollup => ("WITH ROLLUP", last),
            GroupByWithModifier::Cube => ("WITH CUBE", last),
            GroupByWithModifier::Totals => ("WITH TOTALS", last),
            GroupByWithModifier::GroupingSets(sets) => ("GROUPING SETS", or(sets.span(), start)),
        });
        for (name, place) in sets.chain(modifiers).collect::<Vec<_>>() {
            let hint = "write one SELECT for each set of columns, joined by UNION ALL";
            self.refuse(place, format!("GROUP BY {name} is not available"), hint);
        }
    }

    /// A bound of a frame: rows are counted, a range is a time.
    pub(super) fn bound(&mut self, units: WindowFrameUnits, bound: &WindowFrameBound, call: Span) {
        let length = match bound {
            WindowFrameBound::Following(_) => {
                let hint = "end the frame with CURRENT ROW";
                self.refuse(call, "a frame of FOLLOWING rows waits for the future", hint);
                return;
            }
            WindowFrameBound::Preceding(Some(length)) => length.as_ref(),
            WindowFrameBound::Preceding(None) | WindowFrameBound::CurrentRow => return,
        };
        let place = or(length.span(), call);
        let number = |expr: &Expr| expr.to_string().parse::<u64>().is_ok();
        match (units, length) {
            (WindowFrameUnits::Rows, length) if !number(length) => {
                let message = format!("a frame of ROWS counts them, and {length} is no count");
                self.refuse(place, message, "write ROWS 19 PRECEDING");
            }
            (WindowFrameUnits::Range, Expr::Interval(_)) if is_steady(length) => {}
            (WindowFrameUnits::Range, Expr::Interval(_)) => {
                let message = format!("{length} is no length of time that is always the same");
                let hint = "write zero or more of a fixed unit, as INTERVAL '30' DAY";
                self.refuse(place, message, hint);
            }
            (WindowFrameUnits::Range, length) => {
                let message = format!("a frame of RANGE reaches back in time, not by {length}");
                let hint = "write RANGE INTERVAL '1' MINUTE PRECEDING, or count ROWS";
                self.refuse(place, message, hint);
            }
            _ => {}
        }
    }

    fn set_expression(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(_) | SetExpr::Query(_) => {}
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                if *op != SetOperator::Union {
                    let message = format!("{op} remembers every row for ever");
                    self.refuse(start_of(right), message, "use UNION ALL");
                } else if *set_quantifier != SetQuantifier::All {
                    let message = "UNION remembers every row for ever";
                    self.refuse(start_of(right), message, "write UNION ALL");
                }
                self.set_expression(left);
                self.set_expression(right);
            }
            other => {
                let hint = "read from a table; a bounded one is a Parquet file";
                self.refuse(other.span(), "this is no stream", hint);
            }
        }
    }
}

/// Whether an interval reaches back, and is as long in every month.
fn is_steady(interval: &Expr) -> bool {
    let text = interval.to_string().to_lowercase();
    let unsteady = ["-", "month", "quarter", "year", "decade", "century"];
    !unsteady.iter().any(|part| text.contains(part))
}

fn start_of(body: &SetExpr) -> Span {
    match body {
        SetExpr::Select(select) => select.select_token.0.span,
        other => other.span(),
    }
}
