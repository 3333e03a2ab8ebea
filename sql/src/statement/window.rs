//! Named windows: `WINDOW w AS (…)` is written out where it is used.
//!
//! DataFusion drops the PARTITION BY and ORDER BY of `w` in `OVER (w ROWS …)` without a word, so
//! it never sees a name. The rules are the standard's: who refers to a window in parentheses
//! may add an ORDER BY where it has none, and a frame where it has none; never a PARTITION BY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowExpr, Query, Select, VisitMut, VisitorMut, WindowSpec,
    WindowType,
};

use crate::error::Error;

/// Writes out every named window of the query; the errors say which could not be.
pub(super) fn resolve(query: &mut Query) -> Vec<Error> {
    let mut windows = Windows::default();
    let _ = query.visit(&mut windows);
    windows.errors
}

/// The windows of the SELECTs around the place that is visited, the innermost last.
#[derive(Default)]
struct Windows {
    scopes: Vec<Vec<(Ident, WindowSpec)>>,
    errors: Vec<Error>,
}

impl VisitorMut for Windows {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.scopes.push(vec![]);
        for definition in std::mem::take(&mut select.named_window) {
            let spec = match definition.1 {
                NamedWindowExpr::NamedWindow(name) => self.find(&name).cloned(),
                NamedWindowExpr::WindowSpec(spec) => self.inherit(spec),
            };
            self.define(definition.0, spec.unwrap_or_else(empty));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function {
            over: Some(over), ..
        }) = expr
        {
            let spec = match over {
                WindowType::NamedWindow(name) => self.find(name).cloned(),
                WindowType::WindowSpec(spec) if spec.window_name.is_some() => {
                    self.inherit(spec.clone())
                }
                WindowType::WindowSpec(_) => return ControlFlow::Continue(()),
            };
            *over = WindowType::WindowSpec(spec.unwrap_or_else(empty));
        }
        ControlFlow::Continue(())
    }
}

fn empty() -> WindowSpec {
    WindowSpec {
        window_name: None,
        partition_by: vec![],
        order_by: vec![],
        window_frame: None,
    }
}

fn same(a: &Ident, b: &Ident) -> bool {
    let normal = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    normal(a) == normal(b)
}

impl Windows {
    fn define(&mut self, name: Ident, spec: WindowSpec) {
        let Some(scope) = self.scopes.last_mut() else {
            return;
        };
        if scope.iter().any(|(known, _)| same(known, &name)) {
            let message = format!("window {} is defined twice", name.value);
            self.errors
                .push(Error::invalid(message, name.span).hint("give it another name"));
        } else {
            scope.push((name, spec));
        }
    }

    /// The window of that name in this SELECT; where there is none, that is noted.
    fn find(&mut self, name: &Ident) -> Option<&WindowSpec> {
        let scope = self.scopes.last().map_or(&[][..], Vec::as_slice);
        let known = scope.iter().map(|(known, _)| known.value.as_str());
        let found = scope.iter().find(|(known, _)| same(known, name));
        if found.is_none() {
            let error = Error::unknown("window", &name.value, name.span, known);
            self.errors.push(error);
        }
        found.map(|(_, spec)| spec)
    }

    /// A specification with what it inherits from the window it names.
    fn inherit(&mut self, spec: WindowSpec) -> Option<WindowSpec> {
        let Some(name) = spec.window_name.clone() else {
            return Some(spec);
        };
        let inherited = self.find(&name)?.clone();
        let refused = if !spec.partition_by.is_empty() {
            Some((
                "a window that names another takes its PARTITION BY from it",
                "leave it out",
            ))
        } else if !spec.order_by.is_empty() && !inherited.order_by.is_empty() {
            Some((
                "the window that is named here has an ORDER BY already",
                "leave it out",
            ))
        } else if inherited.window_frame.is_some() {
            Some((
                "the window that is named here has a frame, which nothing can inherit",
                "write OVER and its name without parentheses, or take the frame out of it",
            ))
        } else {
            None
        };
        if let Some((message, hint)) = refused {
            self.errors
                .push(Error::invalid(message, name.span).hint(hint));
            return None;
        }
        let order_by = if spec.order_by.is_empty() {
            inherited.order_by
        } else {
            spec.order_by
        };
        let window_frame = spec.window_frame;
        Some(WindowSpec {
            window_name: None,
            order_by,
            window_frame,
            ..inherited
        })
    }
}
