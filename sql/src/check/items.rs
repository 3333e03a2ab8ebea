//! The items of a SELECT one by one, so that each can tell what is wrong with it.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Value};

/// The query once for each item of its SELECT that is computed, with NULL in the place of all
/// others of them. None where the query is `sound` with none of them: what is wrong then is not
/// with the items.
pub(crate) fn items(query: &Query, sound: impl Fn(&Query) -> bool) -> Vec<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return vec![];
    };
    let computed: Vec<usize> = select
        .projection
        .iter()
        .enumerate()
        .filter(|(_, item)| is_computed(item))
        .map(|(at, _)| at)
        .collect();
    if computed.len() < 2 || !sound(&only(query, &computed, None)) {
        return vec![];
    }
    let each = computed.iter();
    each.map(|at| only(query, &computed, Some(*at))).collect()
}

fn is_computed(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    }
}

/// The query with NULL for the computed items but one.
fn only(query: &Query, computed: &[usize], kept: Option<usize>) -> Query {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return query;
    };
    for at in computed.iter().filter(|at| Some(**at) != kept) {
        let item = &mut select.projection[*at];
        let alias = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            // No two columns of a query may be called alike, and all would be called NULL.
            _ => Ident::new(format!("item {at}")),
        };
        let expr = Expr::Value(Value::Null.into());
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
    query
}
