//! One planner per script: DataFusion's functions and a chosen list of its rules over the
//! tables and views of the catalog. Nothing is executed and nothing is read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{
    DFSchema, DataFusionError, Result as PlanResult, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource,
    WindowUDF,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::Spanned as _;
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::stream::ARRIVED_AT;

use crate::catalog::{Catalog, Origin, Table, normalised};
use crate::check;
use crate::error::{Error, Result};
use crate::functions::{self, Lowering, time};
use crate::script;

/// Plans the queries of one script.
pub(crate) struct Session<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) state: SessionState,
    tables: BTreeMap<&'a str, Resolved>,
    views: BTreeMap<&'a str, ast::Query>,
    under_way: RefCell<Vec<String>>,
}

/// A table whose computed columns are planned.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The table's columns.
    pub(crate) schema: SchemaRef,
    /// What the columns are computed from: the source's columns and the arrival time.
    pub(crate) source: SchemaRef,
    /// How each column follows from `source`.
    pub(crate) columns: Vec<Expr>,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

/// The rules that keep what a query means on a stream: they look at single rows, or move
/// projections and filters past steps that treat every key for itself.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The options that our SQL has in streams and in batch queries.
#[must_use]
pub fn config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let parser = &mut config.options_mut().sql_parser;
    parser.map_string_types_to_utf8view = false;
    parser.collect_spans = true;
    config
}

fn state() -> PlanResult<SessionState> {
    let builder = SessionStateBuilder::new()
        .with_config(config())
        .with_default_features();
    let mut state = builder.with_optimizer_rules(rules()).build();
    functions::register_in(&mut state, Lowering::Node)?;
    state.register_udf(Arc::new(time::now()))?;
    Ok(state)
}

impl<'a> Session<'a> {
    /// A planner over the catalog, and what is wrong with the computed columns and the views: what
    /// reads them cannot be planned.
    pub(crate) fn new(catalog: &'a Catalog) -> Result<(Self, Vec<Error>)> {
        let state = state().map_err(|error| vec![internal(&error)])?;
        let (tables, views) = (BTreeMap::new(), BTreeMap::new());
        let mut session = Self {
            catalog,
            state,
            tables,
            views,
            under_way: RefCell::default(),
        };
        let mut errors = vec![];
        for (name, table) in catalog.tables.iter().filter(|(_, table)| table.sound) {
            match session.resolve(table) {
                Ok(resolved) => {
                    session.tables.insert(name, resolved);
                }
                Err(mut wrong) => errors.append(&mut wrong),
            }
        }
        errors.extend(session.declare_views());
        Ok((session, errors))
    }

    /// Plans every view, used or not, those that others read first.
    fn declare_views(&mut self) -> Vec<Error> {
        let mut errors = vec![];
        let mut left = BTreeMap::new();
        for (name, query) in &self.catalog.views {
            let wrong = self.named(query);
            if wrong.is_empty() {
                left.insert(name.as_str(), query.as_ref());
            }
            errors.extend(wrong);
        }
        loop {
            let ready: Vec<&str> = left
                .iter()
                .filter(|(_, query)| self.is_sound(query))
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                return errors;
            }
            for name in ready {
                let Some(query) = left.remove(name) else {
                    continue;
                };
                match self.planned(query, query.span()) {
                    Ok(_) => {
                        self.views.insert(name, query.clone());
                    }
                    Err(wrong) => errors.extend(wrong),
                }
            }
        }
    }

    /// Whether every relation that the query reads is well.
    fn is_sound(&self, query: &ast::Query) -> bool {
        script::relations(query).iter().all(|name| {
            let name = normalised(name);
            self.tables.contains_key(name.as_str()) || self.views.contains_key(name.as_str())
        })
    }

    /// What the text alone shows to be wrong with a query: what cannot stream, unknown names.
    fn named(&self, query: &ast::Query) -> Vec<Error> {
        let mut errors = check::query(query).err().unwrap_or_default();
        errors.extend(check::names::query(query, self));
        errors
    }

    /// The table's columns and how they are computed.
    pub(crate) fn table(&self, name: &str) -> Option<(&'a Table, &Resolved)> {
        Some((self.catalog.tables.get(name)?, self.tables.get(name)?))
    }

    fn resolve(&self, table: &Table) -> Result<Resolved> {
        let source = table.stream.source_schema();
        let arrival = Field::new(ARRIVED_AT, engine::time::TIMESTAMP, false);
        let fields = source.fields().iter().cloned().chain([Arc::new(arrival)]);
        let source = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let named = |error| vec![internal(&error)];
        let schema = DFSchema::try_from(Schema::clone(&source)).map_err(named)?;
        let (mut fields, mut columns, mut errors) = (vec![], vec![], vec![]);
        for column in &table.columns {
            let name = column.field.name();
            let (field, expr) = match &column.origin {
                Origin::Stored | Origin::Metadata => (
                    column.field.as_ref().clone(),
                    datafusion::logical_expr::ident(name),
                ),
                Origin::ProcTime => (
                    Field::new(name, engine::time::TIMESTAMP, false),
                    datafusion::logical_expr::ident(ARRIVED_AT),
                ),
                Origin::Computed(expr) => match self.computed(expr, &schema) {
                    Ok((data_type, expr)) => (Field::new(name, data_type, true), expr),
                    Err(wrong) => {
                        errors.extend(wrong);
                        continue;
                    }
                },
            };
            fields.push(field);
            columns.push(expr);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Resolved {
            schema: Arc::new(Schema::new(fields)),
            source,
            columns,
        })
    }

    fn computed(&self, expr: &ast::Expr, schema: &DFSchema) -> Result<(DataType, Expr)> {
        let span = expr.span();
        let mut errors = check::expression(expr).err().unwrap_or_default();
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        errors.extend(check::names::expression(expr, columns, self));
        if !errors.is_empty() {
            return Err(errors);
        }
        let failed = |error| check::explain(&error, span, self);
        let to_plan = SqlToRel::new(self);
        let planned = to_plan.sql_to_expr(expr.clone(), schema, &mut PlannerContext::new());
        let planned = planned.and_then(|planned| check::arrival(planned, Some(ARRIVED_AT)));
        let planned = planned
            .and_then(|planned| coerce(planned, schema))
            .map_err(failed)?;
        let data_type = planned.get_type(schema).map_err(failed)?;
        Ok((data_type, planned))
    }

    /// The plan of an INSERT's query, typed; `span` is where the query stands. No error at all
    /// means that a relation is wrong, which is told there.
    pub(crate) fn plan(&self, query: &ast::Query, span: Span) -> Result<LogicalPlan> {
        let errors = self.named(query);
        if errors.is_empty() && self.is_sound(query) {
            self.planned(query, span)
        } else {
            Err(errors)
        }
    }

    fn planned(&self, query: &ast::Query, span: Span) -> Result<LogicalPlan> {
        let error = match self.typed(query) {
            Ok(plan) => return Ok(plan),
            Err(error) => error,
        };
        let mut errors = check::explain_query(&error, span, query, self);
        // DataFusion stops at the first; each item of the SELECT alone tells its own.
        for alone in check::items(query, |query| self.typed(query).is_ok()) {
            if let Err(error) = self.typed(&alone) {
                let others = check::explain_query(&error, span, &alone, self);
                errors.extend(others);
            }
        }
        let mut told = vec![];
        errors.retain(|error| {
            let new = !told.contains(error);
            told.push(error.clone());
            new
        });
        Err(errors)
    }

    fn typed(&self, query: &ast::Query) -> PlanResult<LogicalPlan> {
        let plan = self.plan_query(query.clone())?;
        let options = self.state.config_options();
        let analyzer = self.state.analyzer();
        analyzer.execute_and_check(plan, options, |_, _| {})
    }

    fn plan_query(&self, query: ast::Query) -> PlanResult<LogicalPlan> {
        let statement = ast::Statement::Query(Box::new(query));
        SqlToRel::new(self).sql_statement_to_plan(statement)
    }

    /// The same plan with fewer columns, filters further down and simpler expressions.
    pub(crate) fn optimize(&self, plan: LogicalPlan) -> PlanResult<LogicalPlan> {
        self.state
            .optimizer()
            .optimize(plan, &self.state, |_, _| {})
    }

    /// The names of all tables and views.
    pub(crate) fn relations(&self) -> Vec<&str> {
        self.tables
            .keys()
            .chain(self.views.keys())
            .copied()
            .collect()
    }
}

/// The expression with its casts, folded.
pub(crate) fn coerce(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone()));
    let simplifier = ExprSimplifier::new(context.build());
    simplifier
        .coerce(expr, schema)
        .and_then(|expr| simplifier.simplify(expr))
}

pub(crate) fn internal(error: &DataFusionError) -> Error {
    let message = error.strip_backtrace();
    Error {
        kind: engine::ErrorKind::Internal,
        ..Error::invalid(message, Span::empty())
    }
}

/// A table or view, as DataFusion's planner sees it.
struct Source {
    schema: SchemaRef,
    plan: Option<LogicalPlan>,
}

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        self.plan.as_ref().map(std::borrow::Cow::Borrowed)
    }
}

impl ContextProvider for Session<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        let known = || plan_datafusion_err!("no table is called '{name}'");
        let TableReference::Bare { table } = &name else {
            return Err(known());
        };
        if let Some(resolved) = self.tables.get(table.as_ref()) {
            return Ok(Arc::new(Source {
                schema: Arc::clone(&resolved.schema),
                plan: None,
            }));
        }
        let query = self.views.get(table.as_ref()).ok_or_else(known)?;
        if self
            .under_way
            .borrow()
            .iter()
            .any(|view| view == table.as_ref())
        {
            return plan_err!("view '{table}' reads itself");
        }
        self.under_way.borrow_mut().push(table.to_string());
        let plan = self.plan_query(query.clone());
        self.under_way.borrow_mut().pop();
        let plan = plan?;
        let schema = Arc::clone(plan.schema().inner());
        Ok(Arc::new(Source {
            schema,
            plan: Some(plan),
        }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        sorted(self.state.scalar_functions().keys())
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        sorted(self.state.aggregate_functions().keys())
    }

    fn udwf_names(&self) -> Vec<String> {
        sorted(self.state.window_functions().keys())
    }
}

fn sorted<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    let mut names: Vec<_> = names.cloned().collect();
    names.sort_unstable();
    names
}
