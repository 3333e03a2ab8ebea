//! What an INSERT takes without a CAST in the text.
//!
//! A number goes where all its values fit: never into fewer digits before the point, and never
//! from a fraction into an integer, while digits behind the point are rounded. This is Flink's
//! rule (BIGINT into INT and DOUBLE into FLOAT are refused), but for DECIMAL, into which Flink
//! takes every number and makes NULL of what does not fit; here such a row would be rejected, so
//! the CAST has to say that this is meant. What counts is the value, not the type that an
//! expression happens to have: a constant goes where it fits, and `quantity + 1` over an INT
//! goes into an INT, although it is computed as a BIGINT.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr, Spanned};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::{span_of, unaliased};
use crate::catalog::{Table, sql_type};
use crate::error::Error;

/// A column of the query as a column of the table.
pub(super) fn assign(
    query: &Query,
    plan: &LogicalPlan,
    position: usize,
    field: &FieldRef,
    table: &Table,
) -> Result<Expr, Error> {
    let (relation, given) = plan.schema().qualified_field(position);
    let column = Expr::Column(Column::from((relation, given)));
    let (from, to) = (given.data_type(), field.data_type());
    // Where the query computes the column, its text is in the plan's topmost projection.
    let source = match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(position).map(unaliased),
        _ => None,
    };
    let literal = match source {
        Some(Expr::Literal(value, _)) => Some(value),
        Some(Expr::Negative(inner)) => match inner.as_ref() {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        },
        _ => None,
    };
    if from == to {
        return Ok(column.alias(field.name()));
    }
    let fits = match (magnitude(from), magnitude(to)) {
        (Some(_), Some(most)) => {
            let whole = from.is_integer() || !to.is_integer();
            let exact = !from.is_floating() || !to.is_decimal() || literal.is_some();
            whole && exact && reach(plan, position) <= most
        }
        _ => assignable(from, to, literal.is_some()),
    };
    if fits {
        return Ok(cast(column, to.clone()).alias(field.name()));
    }
    let place = item(query, position).or_else(|| source.map(span_of));
    let (name, owner, wanted) = (field.name(), &table.stream.name, sql_type(to));
    let refused = |given: String, hint: String| {
        let message =
            format!("column '{name}' of {owner} is {wanted}, and the query gives {given}");
        Error::invalid(message, place.unwrap_or_else(Span::empty)).hint(hint)
    };
    let narrow = magnitude(from).is_some() && magnitude(to).is_some();
    Err(match literal {
        Some(value) if narrow => refused(
            format!("{value}, which does not fit"),
            "change the value, or the table".to_owned(),
        ),
        _ if narrow => refused(
            sql_type(from),
            format!(
                "write CAST(… AS {wanted}), which rejects rows that do not fit, or change the table"
            ),
        ),
        _ => refused(
            sql_type(from),
            format!("write CAST(… AS {wanted}), or change the table"),
        ),
    })
}

/// Where the text of a column of the query stands, as far as its SELECT shows.
pub(super) fn item(query: &Query, position: usize) -> Option<Span> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let items = select.projection.get(..=position)?;
    let plain = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    let place = items.iter().all(plain).then(|| items[position].span());
    place.filter(|place| *place != Span::empty())
}

/// Whether a value that is no number is taken: where nothing is lost, or what does not fit
/// fails, and rejects the row.
fn assignable(from: &DataType, to: &DataType, literal: bool) -> bool {
    use DataType::{Date32, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (Null, _) | (Timestamp(_, None) | Date32, Timestamp(_, None)) => true,
        (a, Timestamp(..)) if text(a) => literal,
        (a, b) => text(a) && text(b),
    }
}

/// The greatest value of a numeric type.
fn magnitude(data_type: &DataType) -> Option<f64> {
    Some(match data_type {
        DataType::Int8 => f64::from(i8::MAX),
        DataType::UInt8 => f64::from(u8::MAX),
        DataType::Int16 => f64::from(i16::MAX),
        DataType::UInt16 => f64::from(u16::MAX),
        DataType::Int32 => f64::from(i32::MAX),
        DataType::UInt32 => f64::from(u32::MAX),
        // Row numbers are unsigned, and never beyond a BIGINT.
        DataType::Int64 | DataType::UInt64 => 2_f64.powi(63),
        DataType::Float32 => f64::from(f32::MAX),
        DataType::Float64 => f64::MAX,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            10_f64.powi(i32::from(*precision) - i32::from(*scale)) - 1.0
        }
        _ => return None,
    })
}

/// How great the values of a numeric column of a plan can be.
fn reach(plan: &LogicalPlan, position: usize) -> f64 {
    let declared = || {
        let field = plan.schema().field(position);
        magnitude(field.data_type()).unwrap_or(f64::MAX)
    };
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(position) {
            Some(expr) => value(expr, &projection.input).min(declared()),
            None => declared(),
        },
        LogicalPlan::Filter(filter) => reach(&filter.input, position),
        LogicalPlan::SubqueryAlias(alias) => reach(&alias.input, position),
        LogicalPlan::Union(union) => {
            let branches = union.inputs.iter().map(|input| reach(input, position));
            branches.fold(0.0, f64::max)
        }
        _ => declared(),
    }
}

/// How great an expression over a plan can be: as its greatest part, where it computes with
/// numbers. An overflow beyond that rejects the row.
fn value(expr: &Expr, plan: &LogicalPlan) -> f64 {
    let declared = || match expr.get_type(plan.schema()) {
        Ok(data_type) => magnitude(&data_type).unwrap_or(f64::MAX),
        Err(_) => f64::MAX,
    };
    let greatest = |parts: &mut dyn Iterator<Item = &Expr>| {
        parts.map(|part| value(part, plan)).fold(0.0, f64::max)
    };
    match unaliased(expr) {
        Expr::Literal(literal, _) if literal.is_null() => 0.0,
        Expr::Literal(literal, _) => match literal.cast_to(&DataType::Float64) {
            Ok(datafusion::scalar::ScalarValue::Float64(Some(number))) => number.abs(),
            _ => declared(),
        },
        Expr::Column(column) => match plan.schema().maybe_index_of_column(column) {
            Some(position) => reach(plan, position),
            None => declared(),
        },
        Expr::Negative(inner) => value(inner, plan),
        Expr::Cast(cast) => match cast.expr.get_type(plan.schema()) {
            Ok(inner) if magnitude(&inner).is_some() => declared().min(value(&cast.expr, plan)),
            _ => declared(),
        },
        Expr::BinaryExpr(binary) if binary.op == Operator::Modulo => {
            value(&binary.left, plan).min(value(&binary.right, plan))
        }
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => {
            greatest(&mut [&*binary.left, &*binary.right].into_iter()).min(declared())
        }
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            greatest(&mut thens.chain(case.else_expr.as_deref()))
        }
        Expr::ScalarFunction(function)
            if matches!(
                function.name(),
                "abs" | "coalesce" | "greatest" | "least" | "nvl"
            ) =>
        {
            greatest(&mut function.args.iter())
        }
        _ => declared(),
    }
}

fn is_arithmetic(operator: Operator) -> bool {
    use Operator::{Divide, Minus, Multiply, Plus};
    matches!(operator, Plus | Minus | Multiply | Divide)
}
