//! The place of what DataFusion's planner names without a place: a function, or a condition.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, Spanned, Value, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Span;

/// Where the first thing that the message has in quotes stands in the query.
pub(super) fn locate(message: &str, query: &Query) -> Option<Span> {
    let quoted = message.split('\'').nth(1)?;
    let mut search = Search {
        literal: message.starts_with('\'').then_some(quoted),
        name: quoted.rsplit('.').next().unwrap_or(quoted),
        condition: message.starts_with("the condition"),
    };
    match query.visit(&mut search) {
        ControlFlow::Break(place) => Some(place),
        ControlFlow::Continue(()) => None,
    }
}

struct Search<'a> {
    /// The string that is compared, where it is a comparison.
    literal: Option<&'a str>,
    name: &'a str,
    /// Whether it is a condition, not a function.
    condition: bool,
}

impl Search<'_> {
    fn is_literal(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Value(value)
            if matches!(&value.value, Value::SingleQuotedString(text)
                if self.literal == Some(text)))
    }
}

impl Visitor for Search<'_> {
    type Break = Span;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Span> {
        let conditions = [&select.selection, &select.having, &select.qualify];
        for condition in conditions.into_iter().flatten().filter(|_| self.condition) {
            let text = condition.to_string().to_lowercase();
            let place = condition.span();
            if text.ends_with(&self.name.to_lowercase()) && place != Span::empty() {
                return ControlFlow::Break(place);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        match expr {
            Expr::BinaryOp { left, right, .. } if self.literal.is_some() => {
                let place = expr.span();
                let compared = self.is_literal(left) || self.is_literal(right);
                if compared && place != Span::empty() {
                    return ControlFlow::Break(place);
                }
                ControlFlow::Continue(())
            }
            Expr::Function(function) if !self.condition && self.literal.is_none() => {
                let place = expr.span();
                if function.name.to_string().eq_ignore_ascii_case(self.name)
                    && place != Span::empty()
                {
                    return ControlFlow::Break(place);
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
