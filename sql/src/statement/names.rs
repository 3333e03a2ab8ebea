//! Names for what an INSERT selects. The sink takes its columns by position, so `SELECT p, p` is no
//! mistake; the planner asks for distinct names all the same.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, SetExpr};

/// Gives what repeats in a SELECT a name of its own.
pub(super) fn make_distinct(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut seen = BTreeSet::new();
            for (position, item) in select.projection.iter_mut().enumerate() {
                if name(item).is_some_and(|name| !seen.insert(name)) {
                    rename(item, Ident::new(format!("_column_{}", position + 1)));
                }
            }
        }
        SetExpr::Query(query) => make_distinct(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            make_distinct(left);
            make_distinct(right);
            make_positional(right);
        }
        _ => {}
    }
}

/// The columns of UNION ALL have their names from its first branch; those of the others must not
/// get in their way.
fn make_positional(body: &mut SetExpr) {
    if let SetExpr::Select(select) = body {
        for (position, item) in select.projection.iter_mut().enumerate() {
            if matches!(item, SelectItem::UnnamedExpr(_)) {
                rename(item, Ident::new(format!("_column_{}", position + 1)));
            }
        }
    }
}

/// The name that a column of a SELECT has, as far as the text shows.
fn name(item: &SelectItem) -> Option<String> {
    let name = match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name))
        | SelectItem::ExprWithAlias { alias: name, .. } => name.value.clone(),
        SelectItem::UnnamedExpr(expr) => expr.to_string(),
        _ => return None,
    };
    Some(name.to_lowercase())
}

fn rename(item: &mut SelectItem, alias: Ident) {
    if let SelectItem::ExprWithAlias { alias: name, .. } = item {
        *name = alias;
    } else if let SelectItem::UnnamedExpr(expr) = item {
        let expr = expr.clone();
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}
