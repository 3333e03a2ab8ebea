//! Which keyed tables may be put in order split by split: those of which every step in event time
//! looks at one key alone.
//!
//! A key's rows are on one split, so split by split they are in order; rows of several keys are
//! not. A step that needs those in order, or waits for the table's watermark anyway (RANGE frames,
//! UNION ALL), is better served by rows in one order. What a window of TUMBLE or HOP gives out at
//! its end is in order again.

use std::collections::BTreeSet;

use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::time::{Time, column_time, position, times};
use super::unaliased;
use super::window::waits;
use crate::functions::window::Windowed;
use crate::session::Session;

/// The rows of a plan: what keyed table they are of, until a step orders them anew, and what
/// columns of it they have.
#[derive(Debug, Default)]
struct Rows {
    table: Option<String>,
    columns: Vec<Option<String>>,
}

/// The tables of a plan that may be released split by split.
pub(super) fn tables(plan: &LogicalPlan, session: &Session<'_>) -> BTreeSet<String> {
    let mut look = Look {
        session,
        keyed: BTreeSet::new(),
        unfit: BTreeSet::new(),
    };
    look.rows(plan);
    look.keyed.retain(|table| !look.unfit.contains(table));
    look.keyed
}

struct Look<'a> {
    session: &'a Session<'a>,
    keyed: BTreeSet<String>,
    unfit: BTreeSet<String>,
}

impl Look<'_> {
    fn rows(&mut self, plan: &LogicalPlan) -> Rows {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan.table_name.table(), plan),
            LogicalPlan::SubqueryAlias(alias) => self.rows(&alias.input),
            LogicalPlan::Filter(filter) => self.rows(&filter.input),
            LogicalPlan::Projection(projection) => {
                let below = self.rows(&projection.input);
                let exprs = projection.expr.iter();
                let columns = exprs.map(|expr| below.column(expr, &projection.input));
                Rows {
                    columns: columns.collect(),
                    table: below.table,
                }
            }
            LogicalPlan::Window(window) => {
                let below = self.rows(&window.input);
                let known = times(&window.input, self.session);
                for expr in &window.window_expr {
                    if let Expr::WindowFunction(call) = unaliased(expr) {
                        let time = event_time(call, &window.input, &known);
                        let alone = |time| {
                            let keys = &call.params.partition_by;
                            self.alone(&below, keys, &window.input)
                                && waits(call, time).is_ok_and(|waits| !waits)
                        };
                        if time.is_some_and(|time| !alone(time)) {
                            self.unfit.extend(below.table.clone());
                        }
                    }
                }
                below.wide(plan)
            }
            LogicalPlan::Extension(extension) => {
                match extension.node.as_any().downcast_ref::<Windowed>() {
                    Some(windowed) => self.rows(&windowed.input).wide(plan),
                    None => self.mixed(plan),
                }
            }
            LogicalPlan::Aggregate(aggregate) => {
                let below = self.rows(&aggregate.input);
                if !self.alone(&below, &aggregate.group_expr, &aggregate.input) {
                    self.unfit.extend(below.table);
                }
                Rows::default().wide(plan)
            }
            other => self.mixed(other),
        }
    }

    fn scan(&mut self, name: &str, plan: &LogicalPlan) -> Rows {
        let table = self.session.table(name).map(|(table, _)| table);
        let keyed = table.filter(|table| !table.stream.key.is_empty());
        let table = keyed.map(|table| table.stream.name.clone());
        self.keyed.extend(table.clone());
        let fields = plan.schema().fields().iter();
        Rows {
            table,
            columns: fields.map(|field| Some(field.name().clone())).collect(),
        }
    }

    /// A plan that needs the rows of all its inputs in one order.
    fn mixed(&mut self, plan: &LogicalPlan) -> Rows {
        for input in plan.inputs() {
            let below = self.rows(input);
            self.unfit.extend(below.table);
        }
        Rows::default().wide(plan)
    }

    /// Whether rows that are alike in these expressions are of one key.
    fn alone(&self, rows: &Rows, by: &[Expr], plan: &LogicalPlan) -> bool {
        let table = rows
            .table
            .as_ref()
            .and_then(|name| self.session.table(name));
        let Some((table, _)) = table else {
            return true;
        };
        let by: BTreeSet<String> = by
            .iter()
            .filter_map(|expr| rows.column(expr, plan))
            .collect();
        table.stream.key.iter().all(|column| by.contains(column))
    }
}

impl Rows {
    /// The table's column that an expression is, unchanged.
    fn column(&self, expr: &Expr, plan: &LogicalPlan) -> Option<String> {
        match unaliased(expr) {
            Expr::Column(column) => self.columns.get(position(column, plan)?)?.clone(),
            _ => None,
        }
    }

    /// With further columns, which are none of the table.
    fn wide(mut self, plan: &LogicalPlan) -> Self {
        self.columns.resize(plan.schema().fields().len(), None);
        self
    }
}

/// The event time that a window function is ordered by.
fn event_time(call: &WindowFunction, plan: &LogicalPlan, known: &[Option<Time>]) -> Option<Time> {
    let mut order = call.params.order_by.iter();
    let time = order.find_map(|sort| column_time(&sort.expr, plan, known));
    time.filter(|time| time.is_event())
}
