//! The columns of a projection under construction.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::{Expr, ident};
use engine::{Expression, expression};

/// The columns of a projection under construction; names stay unique.
pub(super) struct Columns {
    pub(super) fields: Vec<Arc<Field>>,
    pub(super) expressions: Vec<Arc<dyn Expression>>,
    /// The same, over the names of the input's columns.
    pub(super) bound: Vec<Expr>,
    /// The input's position of every column that is only passed on.
    pub(super) moves: Vec<Option<usize>>,
}

impl Columns {
    pub(super) fn new() -> Self {
        Self {
            fields: vec![],
            expressions: vec![],
            bound: vec![],
            moves: vec![],
        }
    }

    pub(super) fn keeping(schema: &Schema, kept: &[usize]) -> Self {
        let mut columns = Self::new();
        for index in kept {
            columns.pass(schema, *index);
        }
        columns
    }

    /// Passes a column on.
    pub(super) fn pass(&mut self, schema: &Schema, index: usize) -> usize {
        let field = &schema.fields()[index];
        let (name, data_type) = (field.name().clone(), field.data_type().clone());
        self.fields.push(Arc::clone(field));
        self.bound.push(ident(&name));
        self.expressions.push(Arc::new(expression::Column {
            index,
            name,
            data_type,
        }));
        self.moves.push(Some(index));
        self.moves.len() - 1
    }

    /// Where a kept column is now.
    pub(super) fn moved(&self, index: usize) -> usize {
        self.moves
            .iter()
            .position(|kept| *kept == Some(index))
            .unwrap_or(index)
    }

    /// Passes a column on under a name of its own.
    pub(super) fn pass_as(&mut self, schema: &Schema, index: usize, name: &str) -> usize {
        let at = self.pass(schema, index);
        let name = unique(
            name,
            schema.fields().iter().map(|field| field.name().as_str()),
        );
        self.fields[at] = Arc::new(schema.field(index).clone().with_name(name));
        at
    }

    /// Passes a column on, unless it is there already. A computed column that took its name
    /// would be found in its place, so it is moved on under the next free name.
    pub(super) fn pass_once(&mut self, schema: &Schema, index: usize) -> usize {
        if let Some(at) = self.moves.iter().position(|kept| *kept == Some(index)) {
            return at;
        }
        let name = schema.field(index).name();
        if let Some(taken) = self.fields.iter().position(|field| field.name() == name) {
            let own = self
                .fields
                .iter()
                .chain(schema.fields())
                .map(|field| field.name().as_str());
            let other = unique(name, own);
            let field = self.fields[taken].as_ref().clone().with_name(other);
            self.fields[taken] = Arc::new(field);
        }
        self.pass(schema, index)
    }

    /// Adds a computed column.
    pub(super) fn add(
        &mut self,
        expr: &Expr,
        expression: Arc<dyn Expression>,
        name: &str,
    ) -> usize {
        let name = unique(name, self.fields.iter().map(|field| field.name().as_str()));
        self.fields
            .push(Arc::new(Field::new(name, expression.data_type(), true)));
        self.expressions.push(expression);
        self.bound.push(expr.clone());
        self.moves.push(None);
        self.moves.len() - 1
    }
}

/// The name, or with a number where it is taken.
pub(super) fn unique<'n>(name: &str, taken: impl Iterator<Item = &'n str>) -> String {
    let taken: Vec<&str> = taken.collect();
    let free = |name: &str| !taken.contains(&name);
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| free(name))
        .unwrap_or_default()
}
