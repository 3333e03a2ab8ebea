//! What the names of one SELECT can mean.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, SelectItem, SelectItemQualifiedWildcardKind,
    TableAlias, WildcardAdditionalOptions,
};

use crate::catalog::normalised;

/// The columns of a relation, as far as the text tells.
#[derive(Debug, Clone)]
pub(super) enum Columns {
    /// Any name may be one of them.
    Unknown,
    /// These.
    Known {
        /// Those with a name of their own, in order.
        names: Vec<String>,
        /// Whether there are others, which have the text of an expression for a name.
        others: bool,
    },
}

impl Columns {
    pub(super) fn of(names: impl Iterator<Item = String>) -> Self {
        Self::Known {
            names: names.collect(),
            others: false,
        }
    }

    pub(super) fn has(&self, ident: &Ident) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known { names, others } => {
                names.contains(&normalised(ident)) || (*others && ident.quote_style.is_some())
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::Unknown => &[][..],
            Self::Known { names, .. } => names,
        };
        names.iter().map(String::as_str)
    }

    /// The columns under the names that an alias lists.
    pub(super) fn renamed(self, alias: &TableAlias) -> Self {
        if alias.columns.is_empty() {
            return self;
        }
        match self {
            Self::Known {
                names,
                others: false,
            } if names.len() == alias.columns.len() => {
                Self::of(alias.columns.iter().map(|column| normalised(&column.name)))
            }
            _ => Self::Unknown,
        }
    }

    fn push(&mut self, name: Option<String>) {
        if let Self::Known { names, others } = self {
            *others |= name.is_none();
            names.extend(name);
        }
    }

    fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (
                Self::Known { names, others },
                Self::Known {
                    names: more,
                    others: unnamed,
                },
            ) => {
                names.extend(more.iter().cloned());
                *others |= unnamed;
            }
            _ => *self = Self::Unknown,
        }
    }
}

/// A relation in FROM.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    name: Option<String>,
    columns: Columns,
}

impl Relation {
    pub(super) fn new(name: Option<String>, columns: Columns) -> Self {
        Self { name, columns }
    }

    pub(super) fn unknown() -> Self {
        Self::new(None, Columns::Unknown)
    }

    pub(super) fn aliased(self, alias: Option<&TableAlias>) -> Self {
        match alias {
            Some(alias) => Self {
                name: Some(normalised(&alias.name)),
                columns: self.columns.renamed(alias),
            },
            None => self,
        }
    }

    pub(super) fn with(mut self, names: [&str; 2]) -> Self {
        for name in names {
            self.columns.push(Some(name.to_owned()));
        }
        self
    }
}

/// The relations of a SELECT, and the names that it gives itself.
#[derive(Debug)]
pub(super) struct Scope {
    relations: Vec<Relation>,
    own: Vec<String>,
}

impl Scope {
    pub(super) fn new(relations: Vec<Relation>) -> Self {
        Self {
            relations,
            own: vec![],
        }
    }

    pub(super) fn has(&self, ident: &Ident) -> bool {
        self.relations
            .iter()
            .any(|relation| relation.columns.has(ident))
            || self.own.contains(&normalised(ident))
    }

    /// The columns of the relation of that name.
    pub(super) fn relation(&self, name: &Ident) -> Option<&Columns> {
        let name = normalised(name);
        let mut relations = self.relations.iter();
        let found = relations.find(|relation| relation.name.as_ref() == Some(&name));
        found.map(|relation| &relation.columns)
    }

    /// Whether a relation has no name that the text tells.
    pub(super) fn has_unnamed(&self) -> bool {
        self.relations
            .iter()
            .any(|relation| relation.name.is_none())
    }

    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.relations
            .iter()
            .filter_map(|relation| relation.name.as_deref())
    }

    /// All names, each once.
    pub(super) fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = vec![];
        let columns = self.relations.iter().flat_map(|r| r.columns.names());
        for name in columns.chain(self.own.iter().map(String::as_str)) {
            if !known.iter().any(|before| before == name) {
                known.push(name.to_owned());
            }
        }
        known
    }

    /// Adds the names that the SELECT gives: GROUP BY and HAVING know them.
    pub(super) fn name(&mut self, items: &[SelectItem]) {
        let aliases = items.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(normalised(alias)),
            _ => None,
        });
        self.own.extend(aliases);
    }

    /// The columns that the SELECT has.
    pub(super) fn selected(&self, items: &[SelectItem]) -> Columns {
        let mut columns = Columns::of(std::iter::empty());
        for item in items {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => columns.push(Some(normalised(alias))),
                SelectItem::UnnamedExpr(expr) => columns.push(name_of(expr)),
                SelectItem::Wildcard(options) if plain(options) => {
                    for relation in &self.relations {
                        columns.extend(&relation.columns);
                    }
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if plain(options) => {
                    let name = name.0.first().and_then(|part| part.as_ident());
                    let relation = name.and_then(|name| self.relation(name));
                    columns.extend(relation.unwrap_or(&Columns::Unknown));
                }
                _ => columns = Columns::Unknown,
            }
        }
        columns
    }
}

fn plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

/// The name that a column without an alias has, unless it is the text of an expression.
fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(normalised(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalised),
        Expr::Nested(inner) => name_of(inner),
        _ => None,
    }
}

/// The expressions of an item.
pub(super) fn expressions(item: &SelectItem) -> impl Iterator<Item = &Expr> {
    let expr = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    };
    expr.into_iter()
}

/// An argument that is an expression.
pub(super) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named {
            arg: FunctionArgExpr::Expr(expr),
            ..
        } => Some(expr),
        _ => None,
    }
}
