//! Which columns of a plan are time: what ORDER BY in OVER and DESCRIPTOR may name.
//!
//! A column keeps its time through aliases and plain picks, never through a computation. Steps
//! on event time put rows in its order, so behind them the arrival time is an ordinary column.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};
use engine::operator::aggregate::TimeDomain;

use super::unaliased;
use crate::catalog::Origin;
use crate::functions::window::Windowed;
use crate::session::Session;

/// What a column tells about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// Event time: rows come in its order (behind `order`), complete up to `delay` behind the
    /// watermark.
    Event { delay: i64 },
    /// The arrival time, another one for each row.
    Arrival,
    /// A bound of a closed window on arrival time: rows come in its order, several at one.
    ArrivalWindow {
        /// How far the bound is behind the window's end.
        lag: i64,
    },
    /// The start of the open window that the row stands for.
    Start { size: i64, domain: TimeDomain },
    /// The end of it.
    End { domain: TimeDomain },
}

impl Time {
    fn of_closed(self) -> Option<Self> {
        let (lag, domain) = match self {
            Self::Start { size, domain } => (size, domain),
            Self::End { domain } => (0, domain),
            _ => return None,
        };
        Some(match domain {
            TimeDomain::Event { delay } => Self::Event {
                delay: delay.saturating_add(lag),
            },
            TimeDomain::Arrival => Self::ArrivalWindow { lag },
        })
    }

    /// What says how far the column is complete, and how far it is behind that.
    pub(super) fn domain(self) -> Option<(TimeDomain, i64)> {
        match self {
            Self::Event { delay } => Some((TimeDomain::Event { delay }, 0)),
            Self::Arrival => Some((TimeDomain::Arrival, 0)),
            Self::ArrivalWindow { lag } => Some((TimeDomain::Arrival, lag)),
            Self::Start { .. } | Self::End { .. } => None,
        }
    }

    pub(super) fn is_event(self) -> bool {
        matches!(self, Self::Event { .. })
    }
}

/// The time of every column of a plan.
pub(super) fn times(plan: &LogicalPlan, session: &Session<'_>) -> Vec<Option<Time>> {
    let width = plan.schema().fields().len();
    match plan {
        LogicalPlan::TableScan(scan) => {
            let all = table(scan.table_name.table(), session);
            match &scan.projection {
                Some(columns) => columns
                    .iter()
                    .map(|at| all.get(*at).copied().flatten())
                    .collect(),
                None => all,
            }
        }
        LogicalPlan::Projection(projection) => {
            let below = times(&projection.input, session);
            let time = |expr| column_time(expr, &projection.input, &below);
            projection.expr.iter().map(time).collect()
        }
        LogicalPlan::Filter(filter) => times(&filter.input, session),
        LogicalPlan::SubqueryAlias(alias) => times(&alias.input, session),
        LogicalPlan::Window(window) => {
            let mut below = times(&window.input, session);
            if window
                .window_expr
                .iter()
                .any(|expr| orders_by_event(expr, &window.input, &below))
            {
                forget_arrival(&mut below);
            }
            below.resize(width, None);
            below
        }
        LogicalPlan::Extension(extension) => windowed(extension.node.as_ref(), session, width),
        LogicalPlan::Aggregate(aggregate) => {
            let below = times(&aggregate.input, session);
            let time = |expr| column_time(expr, &aggregate.input, &below)?.of_closed();
            let mut times: Vec<_> = aggregate.group_expr.iter().map(time).collect();
            times.resize(width, None);
            times
        }
        LogicalPlan::Union(union) => {
            let mut branches = union.inputs.iter().map(|input| times(input, session));
            let first = branches.next().unwrap_or_default();
            branches.fold(first, |all, branch| {
                all.into_iter()
                    .zip(branch)
                    .map(|(a, b)| both(a?, b?))
                    .collect()
            })
        }
        _ => vec![None; width],
    }
}

fn table(name: &str, session: &Session<'_>) -> Vec<Option<Time>> {
    let Some((table, _)) = session.table(name) else {
        return vec![];
    };
    let watermark = table
        .watermark
        .as_ref()
        .map(|watermark| watermark.column.as_str());
    let time = |column: &crate::catalog::Column| match column.origin {
        Origin::ProcTime => Some(Time::Arrival),
        _ if Some(column.field.name().as_str()) == watermark => Some(Time::Event { delay: 0 }),
        _ => None,
    };
    table.columns.iter().map(time).collect()
}

fn windowed(
    node: &dyn datafusion::logical_expr::UserDefinedLogicalNode,
    session: &Session<'_>,
    width: usize,
) -> Vec<Option<Time>> {
    let Some(windowed) = node.as_any().downcast_ref::<Windowed>() else {
        return vec![None; width];
    };
    let mut below = times(&windowed.input, session);
    let time = position(&windowed.time, &windowed.input).and_then(|at| below[at]);
    let domain = match time {
        Some(Time::Event { delay }) => TimeDomain::Event { delay },
        Some(Time::Arrival) => TimeDomain::Arrival,
        _ => return vec![None; width],
    };
    if time.is_some_and(Time::is_event) {
        forget_arrival(&mut below);
    }
    let size = i64::try_from(windowed.size.as_nanos()).unwrap_or(i64::MAX);
    below.extend([
        Some(Time::Start { size, domain }),
        Some(Time::End { domain }),
    ]);
    below
}

fn forget_arrival(times: &mut [Option<Time>]) {
    for time in times {
        if matches!(time, Some(Time::Arrival | Time::ArrivalWindow { .. })) {
            *time = None;
        }
    }
}

fn both(a: Time, b: Time) -> Option<Time> {
    match (a, b) {
        (Time::Event { delay: a }, Time::Event { delay: b }) => {
            Some(Time::Event { delay: a.max(b) })
        }
        (Time::Arrival, Time::Arrival) => Some(Time::Arrival),
        _ => None,
    }
}

/// Position of a column in a plan.
pub(super) fn position(column: &Column, plan: &LogicalPlan) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}

/// The time of an expression over a plan: that of a plain column.
pub(super) fn column_time(expr: &Expr, plan: &LogicalPlan, times: &[Option<Time>]) -> Option<Time> {
    match unaliased(expr) {
        Expr::Column(column) => times.get(position(column, plan)?).copied().flatten(),
        _ => None,
    }
}

/// Whether a window function runs in event time.
fn orders_by_event(expr: &Expr, plan: &LogicalPlan, times: &[Option<Time>]) -> bool {
    let Expr::WindowFunction(function) = unaliased(expr) else {
        return false;
    };
    let mut by = function.params.order_by.iter();
    by.any(|sort| column_time(&sort.expr, plan, times).is_some_and(Time::is_event))
}
