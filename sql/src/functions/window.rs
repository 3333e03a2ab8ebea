//! `TUMBLE(t, ts, INTERVAL …)` and `HOP(t, ts, slide, size)` as relations: a plan node for
//! streams, a projection (and for HOP an UNION ALL of them) for batch queries.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Field;
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, Diagnostic, ExprSchema, Result, ScalarValue,
    Span, TableReference, plan_datafusion_err,
};
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit,
};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned, TableAlias,
    TableFactor,
};
use datafusion::sql::sqlparser::tokenizer;
use engine::operator::tumble::{WINDOW_END, WINDOW_START};
use engine::time::TIMESTAMP;

/// What becomes of a window function over a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lowering {
    /// A [`Windowed`] node, which the compiler makes an operator of.
    Node,
    /// Projections that DataFusion executes.
    Projection,
}

/// Plans `TUMBLE` and `HOP` in `FROM`.
#[derive(Debug)]
pub(crate) struct Windows {
    pub(crate) lowering: Lowering,
}

/// The rows of `input` once per window they fall in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Windowed {
    pub(crate) input: Arc<LogicalPlan>,
    pub(crate) time: Column,
    pub(crate) size: Duration,
    /// `None`: TUMBLE.
    pub(crate) slide: Option<Duration>,
    pub(crate) offset: i64,
    schema: DFSchemaRef,
}

impl Windowed {
    fn new(
        input: LogicalPlan,
        time: Column,
        (size, slide, offset): (Duration, Option<Duration>, i64),
    ) -> Result<Self> {
        let schema = Arc::new(with_bounds(input.schema())?);
        Ok(Self {
            input: Arc::new(input),
            time,
            size,
            slide,
            offset,
            schema,
        })
    }
}

fn with_bounds(input: &DFSchema) -> Result<DFSchema> {
    let own = input
        .iter()
        .map(|(table, field)| (table.cloned(), Arc::clone(field)));
    let bounds = [WINDOW_START, WINDOW_END].map(|name| Field::new(name, TIMESTAMP, false));
    let bounds = bounds.map(|field| (None::<TableReference>, Arc::new(field)));
    DFSchema::new_with_metadata(own.chain(bounds).collect(), input.metadata().clone())
}

impl PartialOrd for Windowed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Windowed {
    fn name(&self) -> &'static str {
        if self.slide.is_some() {
            "Hop"
        } else {
            "Tumble"
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        [WINDOW_START, WINDOW_END].map(str::to_owned).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} {:?} {:?}",
            self.name(),
            self.time,
            self.slide,
            self.size
        )
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(Expr::Column(time)), Some(input)) = (exprs.pop(), inputs.pop()) else {
            return Err(plan_datafusion_err!(
                "{} takes a time column and a relation",
                self.name()
            ));
        };
        Self::new(input, time, (self.size, self.slide, self.offset))
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output.iter().copied().filter(|i| *i < width).collect();
        needed.push(self.input.schema().maybe_index_of_column(&self.time)?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// An error at a place in the text.
fn error_at(span: tokenizer::Span, message: &str) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(message, Span::try_from_sqlparser_span(span));
    plan_datafusion_err!("{message}").with_diagnostic(diagnostic)
}

const FORMS: &str = "write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) or \
     HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)";

impl RelationPlanner for Windows {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some((name, arguments, alias)) = call(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let span = relation.span();
        let hop = match name.as_str() {
            "tumble" => false,
            "hop" => true,
            "session" | "cumulate" => {
                let upper = name.to_uppercase();
                let message = format!("{upper} is not built yet; use TUMBLE or HOP");
                return Err(error_at(span, &message));
            }
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let least = if hop { 4 } else { 3 };
        if arguments.len() < least || arguments.len() > least + 1 {
            let upper = name.to_uppercase();
            let message = format!("{upper} has {} arguments; {FORMS}", arguments.len());
            return Err(error_at(span, &message));
        }
        let input = context.plan(table(&arguments[0])?)?;
        let time = time(&arguments[1], input.schema(), context)?;
        let mut lengths = vec![];
        for expr in &arguments[2..least] {
            let nanos = u64::try_from(nanos(expr, context)?)
                .ok()
                .filter(|nanos| *nanos > 0);
            let message = || format!("{expr} is not a length of time above zero");
            let nanos = nanos.ok_or_else(|| error_at(expr.span(), &message()))?;
            lengths.push(Duration::from_nanos(nanos));
        }
        let offset = arguments
            .get(least)
            .map_or(Ok(0), |expr| nanos(expr, context))?;
        let size = lengths.pop().unwrap_or_default();
        let slide = lengths.pop();
        let count = slide.map_or(1, |slide| size.as_nanos().div_ceil(slide.as_nanos()));
        if count > MOST_WINDOWS {
            let message = format!(
                "a row would fall in {count} windows, at most {MOST_WINDOWS} are allowed; \
                 make the slide longer or the size shorter"
            );
            return Err(error_at(span, &message));
        }
        let plan = match self.lowering {
            Lowering::Node => {
                let node = Windowed::new(input, time, (size, slide, offset))?;
                LogicalPlan::Extension(Extension {
                    node: Arc::new(node),
                })
            }
            Lowering::Projection => project(&input, &time, (size, slide, offset))?,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// Windows a row may fall in.
const MOST_WINDOWS: u128 = 10_000;

/// Name, arguments and alias of `f(…)` or `TABLE(f(…))`.
fn call(relation: &TableFactor) -> Option<(String, Vec<ast::Expr>, Option<TableAlias>)> {
    let (name, arguments, alias) = match relation {
        TableFactor::Table {
            name,
            args: Some(arguments),
            alias,
            ..
        } => (name, &arguments.args, alias),
        TableFactor::Function {
            name, args, alias, ..
        } => (name, args, alias),
        TableFactor::TableFunction {
            expr: ast::Expr::Function(function),
            alias,
        } => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            (&function.name, &list.args, alias)
        }
        _ => return None,
    };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named {
            arg: FunctionArgExpr::Expr(expr),
            ..
        } => Some(expr.clone()),
        _ => None,
    };
    let arguments = arguments.iter().map(argument).collect::<Option<Vec<_>>>()?;
    Some((name.to_string().to_lowercase(), arguments, alias.clone()))
}

/// The relation that the first argument names.
fn table(argument: &ast::Expr) -> Result<TableFactor> {
    let parts = match argument {
        ast::Expr::Identifier(part) => vec![part.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        ast::Expr::Subquery(query) => {
            let subquery = query.clone();
            let (lateral, alias, sample) = (false, None, None);
            return Ok(TableFactor::Derived {
                lateral,
                subquery,
                alias,
                sample,
            });
        }
        other => {
            let message = format!("the first argument is a table, not {other}; {FORMS}");
            return Err(error_at(other.span(), &message));
        }
    };
    Ok(TableFactor::Table {
        name: ObjectName::from(parts),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    })
}

/// The column that `ts` or `DESCRIPTOR(ts)` names.
fn time(
    argument: &ast::Expr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Column> {
    let mut named = argument.clone();
    if let ast::Expr::Function(function) = argument
        && function.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] = list.args.as_slice()
    {
        named = expr.clone();
    }
    match context.sql_to_expr(named, schema)? {
        Expr::Column(column) if schema.field_from_column(&column)?.data_type() == &TIMESTAMP => {
            Ok(column)
        }
        other => {
            let message = format!("the second argument is a time column, not {other}; {FORMS}");
            Err(error_at(argument.span(), &message))
        }
    }
}

/// The length of an interval, in nanoseconds.
fn nanos(argument: &ast::Expr, context: &mut dyn RelationPlannerContext) -> Result<i64> {
    let value = context.sql_to_expr(argument.clone(), &DFSchema::empty())?;
    let nanos = match value {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)
            if interval.months == 0 =>
        {
            let days = i64::from(interval.days).checked_mul(86_400_000_000_000);
            days.and_then(|days| days.checked_add(interval.nanoseconds))
        }
        _ => None,
    };
    let message = || format!("{argument} is not an interval of days or less; {FORMS}");
    nanos.ok_or_else(|| error_at(argument.span(), &message()))
}

/// The same rows as DataFusion computes them.
fn project(
    input: &LogicalPlan,
    time: &Column,
    (size, slide, offset): (Duration, Option<Duration>, i64),
) -> Result<LogicalPlan> {
    let interval = |nanos: i64| lit(ScalarValue::new_interval_mdn(0, 0, nanos));
    let [size, slide] = [size, slide.unwrap_or(size)].map(|length| length.as_nanos() as i64);
    let origin = lit(ScalarValue::TimestampNanosecond(Some(offset), None));
    let last = date_bin(interval(slide), Expr::Column(time.clone()), origin);
    let mut union: Option<LogicalPlanBuilder> = None;
    for n in (0..(size / slide) + i64::from(size % slide != 0)).rev() {
        let start = last.clone() - interval(n * slide);
        let end = start.clone() + interval(size);
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let bounds = [start.alias(WINDOW_START), end.clone().alias(WINDOW_END)];
        let rows = LogicalPlanBuilder::from(input.clone())
            .filter(end.gt(Expr::Column(time.clone())))?
            .project(columns.chain(bounds))?;
        union = Some(match union {
            None => rows,
            Some(before) => before.union(rows.build()?)?,
        });
    }
    union.map_or_else(
        || Err(plan_datafusion_err!("a window has no length")),
        LogicalPlanBuilder::build,
    )
}
