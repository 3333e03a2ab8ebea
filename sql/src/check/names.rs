//! Every name of a query that nothing is called, at once: DataFusion's planner stops at the first.
//!
//! What cannot be told from the text alone (the columns of a relation that is itself unknown, a
//! column that has the text of an expression for a name) is left to the planner: here only what
//! is certain is an error.

mod scope;

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::ControlFlow;

use datafusion::logical_expr::planner::ContextProvider;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, Expr, Ident, ObjectName, Query, Select, SetExpr, Spanned, Subscript,
    TableAlias, TableFactor, TableWithJoins, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::operator::tumble::{WINDOW_END, WINDOW_START};

use crate::catalog::normalised;
use crate::error::Error;
use crate::functions::{self, indicator};
use crate::session::Session;
use scope::{Columns, Relation, Scope};

/// What a query names that there is not.
pub(crate) fn query(query: &Query, session: &Session<'_>) -> Vec<Error> {
    let mut names = Names::new(session);
    names.query(query);
    names.errors
}

/// What a computed column names that there is not, among these columns of its table.
pub(crate) fn expression<'n>(
    expr: &Expr,
    columns: impl Iterator<Item = &'n str>,
    session: &Session<'_>,
) -> Vec<Error> {
    let mut names = Names::new(session);
    let columns = Columns::of(columns.map(str::to_owned));
    let scope = Scope::new(vec![Relation::new(None, columns)]);
    names.expression(expr, &scope);
    names.errors
}

struct Names<'a> {
    session: &'a Session<'a>,
    /// The WITH clauses around, the innermost last.
    ctes: Vec<BTreeMap<String, Columns>>,
    /// The views looked into; those under way count as unknown, since one may read itself.
    views: BTreeMap<String, Columns>,
    errors: Vec<Error>,
}

impl<'a> Names<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            ctes: vec![],
            views: BTreeMap::new(),
            errors: vec![],
        }
    }

    fn tell(&mut self, error: Error) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// The columns of a query, its WITH clauses in scope.
    fn query(&mut self, query: &Query) -> Columns {
        self.ctes.push(BTreeMap::new());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = self.query(&cte.query).renamed(&cte.alias);
            let name = normalised(&cte.alias.name);
            if let Some(scope) = self.ctes.last_mut() {
                scope.insert(name, columns);
            }
        }
        let columns = self.body(&query.body);
        self.ctes.pop();
        columns
    }

    fn body(&mut self, body: &SetExpr) -> Columns {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let columns = self.body(left);
                self.body(right);
                columns
            }
            _ => Columns::Unknown,
        }
    }

    fn select(&mut self, select: &Select) -> Columns {
        let mut relations = vec![];
        for from in &select.from {
            self.joined(from, &mut relations);
        }
        let mut scope = Scope::new(relations);
        for item in &select.projection {
            for expr in scope::expressions(item) {
                self.expression(expr, &scope);
            }
        }
        if let Some(condition) = &select.selection {
            self.expression(condition, &scope);
        }
        let columns = scope.selected(&select.projection);
        scope.name(&select.projection);
        if let ast::GroupByExpr::Expressions(exprs, _) = &select.group_by {
            for expr in exprs {
                self.expression(expr, &scope);
            }
        }
        for condition in [&select.having, &select.qualify].into_iter().flatten() {
            self.expression(condition, &scope);
        }
        columns
    }

    fn joined(&mut self, from: &TableWithJoins, relations: &mut Vec<Relation>) {
        let joins = from.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&from.relation).chain(joins) {
            if let TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } = factor
            {
                self.joined(table_with_joins, relations);
            } else {
                let relation = self.factor(factor);
                relations.push(relation);
            }
        }
    }

    fn factor(&mut self, factor: &TableFactor) -> Relation {
        match factor {
            TableFactor::Table {
                name,
                args: None,
                alias,
                ..
            } => self.table(name).aliased(alias.as_ref()),
            TableFactor::Derived {
                subquery, alias, ..
            } => Relation::new(None, self.query(subquery)).aliased(alias.as_ref()),
            TableFactor::Table {
                name,
                args: Some(arguments),
                alias,
                ..
            } => self.windowed(name, &arguments.args, alias.as_ref()),
            TableFactor::Function {
                name, args, alias, ..
            } => self.windowed(name, args, alias.as_ref()),
            _ => Relation::unknown(),
        }
    }

    /// `TUMBLE(t, ts, …)` and `HOP(t, ts, …)`; the others are the planner's to refuse.
    fn windowed(
        &mut self,
        name: &ObjectName,
        arguments: &[ast::FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Relation {
        let name = name.to_string().to_lowercase();
        let mut arguments = arguments.iter().map(scope::argument);
        let first = arguments.next().flatten();
        let (true, Some(first)) = (name == "tumble" || name == "hop", first) else {
            return Relation::unknown();
        };
        let input = match first {
            Expr::Identifier(ident) => self.table(&ObjectName::from(vec![ident.clone()])),
            Expr::Subquery(query) => Relation::new(None, self.query(query)),
            _ => return Relation::unknown(),
        };
        if let Some(time @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) =
            arguments.next().flatten()
        {
            self.expression(time, &Scope::new(vec![input.clone()]));
        }
        input.with([WINDOW_START, WINDOW_END]).aliased(alias)
    }

    /// A table, a view or a WITH clause.
    fn table(&mut self, name: &ObjectName) -> Relation {
        let [part] = name.0.as_slice() else {
            return Relation::unknown();
        };
        let Some(ident) = part.as_ident() else {
            return Relation::unknown();
        };
        let normal = normalised(ident);
        let cte = self.ctes.iter().rev().find_map(|scope| scope.get(&normal));
        let columns = match cte {
            Some(columns) => columns.clone(),
            None => match self.declared(&normal) {
                Some(columns) => columns,
                None if self.session.catalog.incomplete => Columns::Unknown,
                None => {
                    let known = self.session.catalog.names();
                    let error = Error::unknown("table", &ident.value, ident.span, known);
                    self.tell(error);
                    Columns::Unknown
                }
            },
        };
        Relation::new(Some(normal), columns)
    }

    /// The columns of a table or view of the catalog.
    fn declared(&mut self, name: &str) -> Option<Columns> {
        let catalog = self.session.catalog;
        if let Some(table) = catalog.tables.get(name) {
            let names = table.columns.iter().map(|column| column.field.name());
            return Some(Columns::of(names.cloned()));
        }
        if let Some(columns) = self.views.get(name) {
            return Some(columns.clone());
        }
        if let Some(query) = catalog.views.get(name) {
            self.views.insert(name.to_owned(), Columns::Unknown);
            // What is wrong with a view is told at the view, and it has a scope of its own.
            let around = (take(&mut self.ctes), take(&mut self.errors));
            let columns = self.query(query);
            (self.ctes, self.errors) = around;
            self.views.insert(name.to_owned(), columns.clone());
            return Some(columns);
        }
        catalog.broken.contains(name).then_some(Columns::Unknown)
    }

    fn expression(&mut self, expr: &Expr, scope: &Scope) {
        let mut walk = Walk {
            names: self,
            scope,
            depth: 0,
            fields: vec![],
        };
        let _ = expr.visit(&mut walk);
    }
}

/// Looks the names of one expression up.
struct Walk<'w, 'a> {
    names: &'w mut Names<'a>,
    scope: &'w Scope,
    /// How many sub-selects are around: they are refused, and have a scope of their own.
    depth: usize,
    /// What follows a dot and names a field.
    fields: Vec<Span>,
}

impl Walk<'_, '_> {
    fn column(&mut self, ident: &Ident) {
        if self.fields.contains(&ident.span) || self.scope.has(ident) {
            return;
        }
        let known = self.scope.known();
        let known = known.iter().map(String::as_str);
        self.names
            .tell(Error::unknown("column", &ident.value, ident.span, known));
    }

    /// `t.column`, or `column.field`.
    fn qualified(&mut self, parts: &[Ident]) {
        let [first, second, ..] = parts else { return };
        let Some(columns) = self.scope.relation(first) else {
            if !self.scope.has(first) && !self.scope.has_unnamed() {
                let known = self.scope.named();
                let error = Error::unknown("table", &first.value, first.span, known);
                self.names.tell(error);
            }
            return;
        };
        if !columns.has(second) && !self.scope.has(first) {
            let known = columns.names();
            let error = Error::unknown("column", &second.value, second.span, known);
            self.names.tell(error);
        }
    }

    fn function(&mut self, function: &ast::Function) {
        let [part] = function.name.0.as_slice() else {
            return;
        };
        let Some(ident) = part.as_ident() else { return };
        let (name, session) = (normalised(ident), self.names.session);
        let there = session.get_function_meta(&name).is_some()
            || session.get_aggregate_meta(&name).is_some()
            || session.get_window_meta(&name).is_some()
            || BUILT_IN.contains(&name.as_str());
        if !there {
            let known = functions::names(&session.state);
            let known = known.iter().map(String::as_str);
            let error = Error::unknown("function", &name, ident.span, known);
            self.names.tell(error);
        }
    }

    /// `macd(…)['hist']`: the field.
    fn field(&mut self, root: &Expr, access: &[AccessExpr]) {
        let function = match root {
            Expr::Function(function) => function,
            Expr::Nested(inner) => return self.field(inner, access),
            _ => return,
        };
        let name = function.name.to_string().to_lowercase();
        let Some(entry) = indicator::named(&name) else {
            return;
        };
        if let (arrow::datatypes::DataType::Struct(fields), Some(AccessExpr::Subscript(by))) =
            (entry.data_type(), access.first())
            && let Subscript::Index { index } = by
            && let Expr::Value(value) = index
            && let ast::Value::SingleQuotedString(field) = &value.value
            && !fields.iter().any(|known| known.name() == field)
        {
            let known = fields.iter().map(|known| known.name().as_str());
            let what = format!("field of {name}");
            self.names
                .tell(Error::unknown(&what, field, index.span(), known));
        }
    }
}

/// What the planner calls by itself.
const BUILT_IN: [&str; 3] = ["unnest", "descriptor", "proctime"];

impl Visitor for Walk<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => self.qualified(parts),
            Expr::Function(function) => self.function(function),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let dots = access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Dot(field) => Some(field.span()),
                    AccessExpr::Subscript(_) => None,
                });
                self.fields.extend(dots);
                self.field(root, access_chain);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
