//! OVER: one step per PARTITION BY and ORDER BY, with all its functions; equal ones run once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    self, Expr, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, lit, when,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::KernelSpec;
use engine::frame::{self, Frame, Literal, Units};
use engine::operator::over::{Function, Over, Release};

use super::bounds::not_time;
use super::time::{Time, position, times};
use super::{Compiler, Demand, Relation, Step, span_of, unaliased};
use crate::error::Error;
use crate::functions::indicator::{self, Indicator};

/// Functions that skip NULLs, so a FILTER can make NULLs of the rows it leaves out.
const SKIP_NULLS: &[&str] = &[
    "avg",
    "count",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
    "var_samp",
];

/// Functions whose kernels read a BIGINT as it is, where DataFusion would cast it.
const READ_INTEGERS: &[&str] = &["avg", "stddev", "stddev_pop", "var", "var_pop", "var_samp"];

impl Compiler<'_> {
    pub(super) fn window(&mut self, node: &logical_expr::Window, _: Demand) -> Step<Relation> {
        let mut calls = vec![];
        for expr in &node.window_expr {
            let Expr::WindowFunction(call) = unaliased(expr) else {
                let message = format!("{expr} is no window function");
                return Err(Error::invalid(message, span_of(expr)));
            };
            calls.push(call.as_ref());
        }
        // Event time first: behind it rows are in its order, whatever ran below.
        let known = times(&node.input, self.session);
        let mut orders = vec![];
        for call in &calls {
            orders.push(order_of(call, &node.input, &known)?);
        }
        let event = orders
            .iter()
            .any(|(_, time)| matches!(time, Time::Event { .. }));
        let arrival = orders
            .iter()
            .find(|(_, time)| matches!(time, Time::Arrival));
        if let (true, Some((at, _))) = (event, arrival) {
            let name = node.input.schema().field(*at).name();
            let message = format!("OVER is ordered by '{name}' and by event time in one SELECT");
            let hint = "compute one of them in a sub-select, PROCTIME in the inner one";
            return Err(Error::invalid(message, span_of(&node.window_expr[0])).hint(hint));
        }
        let demand = if event {
            Demand::EventTime
        } else {
            Demand::Any
        };
        let mut relation = self.relation(&node.input, demand)?;
        if event {
            self.order(&mut relation, orders[0].0)?;
        }
        let mut results: Vec<Option<usize>> = vec![None; calls.len()];
        while let Some(first) = results.iter().position(Option::is_none) {
            let alike: Vec<usize> = (first..calls.len())
                .filter(|i| {
                    orders[*i] == orders[first]
                        && calls[*i].params.partition_by == calls[first].params.partition_by
                })
                .collect();
            let these: Vec<_> = alike.iter().map(|i| calls[*i]).collect();
            let added = self.over(&mut relation, &node.input, &these, orders[first])?;
            for (i, column) in alike.into_iter().zip(added) {
                results[i] = Some(column);
            }
        }
        relation.columns.extend(results.into_iter().flatten());
        Ok(relation)
    }

    /// One step for functions with the same PARTITION BY and ORDER BY; gives their columns.
    fn over(
        &mut self,
        relation: &mut Relation,
        plan: &LogicalPlan,
        calls: &[&WindowFunction],
        (at, time): (usize, Time),
    ) -> Step<Vec<usize>> {
        let partition = calls
            .first()
            .map(|call| call.params.partition_by.as_slice());
        let mut keys = vec![];
        for expr in partition.unwrap_or_default() {
            let bound = self.bind(relation, plan.schema(), expr)?;
            keys.push((bound, expr.schema_name().to_string()));
        }
        let kept = self.needed(relation, &keys);
        let keys = self.materialise(relation, &keys, &kept)?;
        let ttl = time
            .domain()
            .and_then(|(domain, lag)| self.ttl(domain, lag));
        let key = self.key(relation, &keys, ttl.map(|ttl| (relation.columns[at], ttl)))?;
        let input = self.schema(relation);
        let mut functions: Vec<Function> = vec![];
        let mut columns = vec![];
        let mut release = Release::AtOnce;
        for call in calls {
            if waits(call, time)? {
                release = Release::OnWatermark;
            }
            let mut function = self.call(relation, plan, call, &input)?;
            let known = functions.iter().position(|other| same(other, &function));
            columns.push(input.fields().len() + known.unwrap_or(functions.len()));
            if known.is_none() {
                let taken = input.fields().iter().map(|field| field.name().as_str());
                let taken = taken.chain(functions.iter().map(|function| function.name.as_str()));
                function.name = super::unique(&function.name, taken);
                functions.push(function);
            }
        }
        let spec = Over::new(input, key, relation.columns[at], release, functions);
        let spec = spec.map_err(|error| invalid(&error, Span::empty()))?;
        relation.port = self.add(spec.forgetting(ttl), relation.port);
        Ok(columns)
    }

    /// A call as a function of `over`.
    fn call(
        &self,
        relation: &Relation,
        plan: &LogicalPlan,
        call: &WindowFunction,
        input: &Schema,
    ) -> Step<Function> {
        let place = call.params.args.first().map_or_else(Span::empty, span_of);
        let name = call.fun.name();
        let refuse = |message: String, hint: &str| Error::invalid(message, place).hint(hint);
        if call.params.distinct {
            let hint = "count distinct values in a window of TUMBLE or HOP";
            return Err(refuse(
                format!("{name}(DISTINCT …) does not run in OVER"),
                hint,
            ));
        }
        if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return Err(refuse(
                "IGNORE NULLS is not built yet in OVER".into(),
                "leave it out",
            ));
        }
        let mut arguments = vec![];
        for expr in &call.params.args {
            arguments.push(self.bind(relation, plan.schema(), expr)?);
        }
        if let Some(indicator) = as_indicator(call) {
            let entry = indicator.entry;
            let failed = |error| self.failed(&error, place);
            if call.params.filter.is_some() {
                let hint = "filter with WHERE in a sub-select";
                return Err(refuse(format!("{name} takes no FILTER"), hint));
            }
            let parameters = indicator::parameters(entry, &arguments).map_err(failed)?;
            let kernel = entry
                .spec(&parameters)
                .map_err(|error| invalid(&error, place))?;
            arguments.truncate(entry.inputs.len());
            return self.function(entry.name, &arguments, kernel, input);
        }
        let literals = literals(name, &mut arguments).map_err(|text| {
            refuse(
                format!("{name}: {text} must be a literal"),
                "write the number itself",
            )
        })?;
        if let Some(filter) = &call.params.filter {
            if !SKIP_NULLS.contains(&name) {
                let hint = "write CASE WHEN … THEN … END as the argument";
                return Err(refuse(format!("{name} takes no FILTER in OVER"), hint));
            }
            let condition = self.bind(relation, plan.schema(), filter)?;
            let value = arguments.pop().unwrap_or_else(|| lit(1_i64));
            let kept = when(condition, value)
                .end()
                .map_err(|error| self.failed(&error, place))?;
            arguments.push(kept);
        }
        if READ_INTEGERS.contains(&name) {
            arguments = arguments
                .into_iter()
                .map(|expr| uncast(expr, input))
                .collect();
        }
        let mut types = vec![];
        for expr in &arguments {
            types.push(self.adapt(expr, input)?.data_type());
        }
        let back = |offset: &Literal| matches!(offset, Literal::Integer(0..));
        if name == "lag" && literals.first().is_some_and(|offset| !back(offset)) {
            let hint = "write lag(x, 5) for the value five rows before; a stream does not know the \
                        rows to come, so read what lies ahead so many rows later";
            let message = "lag: the offset must be a whole number from 0".to_owned();
            return Err(refuse(message, hint));
        }
        let frame = frame_of(&call.params.window_frame, name, place)?;
        let kernel = frame::spec(name, &types, &literals, frame);
        let kernel = kernel.map_err(|error| invalid(&error, place))?;
        self.function(name, &arguments, kernel, input)
    }

    fn function(
        &self,
        name: &str,
        arguments: &[Expr],
        kernel: Arc<dyn KernelSpec>,
        input: &Schema,
    ) -> Step<Function> {
        let arguments = arguments.iter().map(|expr| self.adapt(expr, input));
        Ok(Function {
            name: name.to_owned(),
            arguments: arguments.collect::<Step<_>>()?,
            kernel,
        })
    }
}

/// The time column that a call is ordered by, and what time it is.
fn order_of(
    call: &WindowFunction,
    plan: &LogicalPlan,
    known: &[Option<Time>],
) -> Step<(usize, Time)> {
    let [sort] = call.params.order_by.as_slice() else {
        let place = call.params.args.first().map_or_else(Span::empty, span_of);
        let message = format!("{} OVER is not ordered by one time column", call.fun.name());
        let hint = "write ORDER BY and the watermark column or PROCTIME in OVER (…)";
        return Err(Error::invalid(message, place).hint(hint));
    };
    let place = span_of(&sort.expr);
    let Expr::Column(column) = unaliased(&sort.expr) else {
        return Err(not_time("ORDER BY", &sort.expr.to_string(), place));
    };
    if !sort.asc {
        let error = Error::invalid("OVER runs forward in time, not DESC", place);
        return Err(error.hint("order by time ascending"));
    }
    let at = position(column, plan);
    match at.and_then(|at| Some((at, known.get(at).copied().flatten()?))) {
        Some((at, time @ (Time::Event { .. } | Time::Arrival | Time::ArrivalWindow { .. }))) => {
            Ok((at, time))
        }
        _ => Err(not_time("ORDER BY", &column.name, place)),
    }
}

/// Whether a call's rows wait for their peers.
pub(super) fn waits(call: &WindowFunction, time: Time) -> Step<bool> {
    let heedless = matches!(call.fun.name(), "lag" | "row_number") || as_indicator(call).is_some();
    if heedless || call.params.window_frame.units != WindowFrameUnits::Range {
        return Ok(false);
    }
    match time {
        Time::Event { .. } => Ok(true),
        Time::Arrival => Ok(false),
        _ => {
            let place = call.params.args.first().map_or_else(Span::empty, span_of);
            let message = "a RANGE frame over windows of arrival time has no end";
            Err(Error::invalid(message, place).hint("write a ROWS frame"))
        }
    }
}

fn as_indicator(call: &WindowFunction) -> Option<&Indicator> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => function.inner().downcast_ref(),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

fn same(a: &Function, b: &Function) -> bool {
    let arguments = |function: &Function| -> Vec<String> {
        function.arguments.iter().map(ToString::to_string).collect()
    };
    a.kernel.to_string() == b.kernel.to_string() && arguments(a) == arguments(b)
}

/// The same expression without a cast from BIGINT to DOUBLE around it.
fn uncast(expr: Expr, input: &Schema) -> Expr {
    let integer = |expr: &Expr| match expr {
        Expr::Column(column) => input
            .field_with_name(&column.name)
            .is_ok_and(|f| *f.data_type() == DataType::Int64),
        _ => false,
    };
    match expr {
        Expr::Cast(cast) if integer(&cast.expr) => *cast.expr,
        other => other,
    }
}

/// Takes the constants from behind the argument; `count(*)` has no argument at all.
fn literals(name: &str, arguments: &mut Vec<Expr>) -> std::result::Result<Vec<Literal>, String> {
    let first = match name {
        "count" if matches!(arguments.as_slice(), [Expr::Literal(value, _)] if !value.is_null()) => {
            arguments.clear();
            0
        }
        "ntile" => 0,
        _ => 1,
    };
    let rest = arguments.split_off(first.min(arguments.len()));
    let literal = |expr: Expr| match &expr {
        Expr::Literal(value, _) => constant(value).ok_or_else(|| expr.to_string()),
        _ => Err(expr.to_string()),
    };
    rest.into_iter().map(literal).collect()
}

fn constant(value: &ScalarValue) -> Option<Literal> {
    if value.is_null() {
        return Some(Literal::Null);
    }
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Literal::Boolean(*value),
        ScalarValue::Float32(_) | ScalarValue::Float64(_) | ScalarValue::Decimal128(..) => {
            match value.cast_to(&DataType::Float64).ok()? {
                ScalarValue::Float64(Some(value)) => Literal::Real(value),
                _ => return None,
            }
        }
        ScalarValue::TimestampNanosecond(Some(value), _) => Literal::Integer(*value),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Literal::Text(text.clone()),
        other if other.data_type().is_integer() => match other.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(value)) => Literal::Integer(value),
            _ => return None,
        },
        _ => return None,
    })
}

/// DataFusion's frame as the engine's.
fn frame_of(frame: &WindowFrame, name: &str, place: Span) -> Step<Frame> {
    let refuse = |message: String, hint: &str| Error::invalid(message, place).hint(hint);
    let units = match frame.units {
        WindowFrameUnits::Rows => Units::Rows,
        WindowFrameUnits::Range => Units::Range,
        WindowFrameUnits::Groups => {
            return Err(refuse(
                "GROUPS frames are not built yet".into(),
                "use ROWS or RANGE",
            ));
        }
    };
    let distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => Ok(Some(0)),
        WindowFrameBound::Preceding(value) if value.is_null() => Ok(None),
        WindowFrameBound::Preceding(value) => length(value, units).map(Some).ok_or_else(|| {
            let message = format!("{name}: the frame has no fixed length of zero or more");
            refuse(
                message,
                "write ROWS 19 PRECEDING or RANGE INTERVAL '1' MINUTE PRECEDING",
            )
        }),
        WindowFrameBound::Following(_) => {
            let message = format!("{name}: a frame of FOLLOWING rows waits for the future");
            Err(refuse(message, "end the frame with CURRENT ROW"))
        }
    };
    let start = distance(&frame.start_bound)?;
    let end = distance(&frame.end_bound)?.ok_or_else(|| {
        let message = format!("{name}: a frame that ends UNBOUNDED PRECEDING is empty");
        refuse(message, "end the frame with CURRENT ROW")
    })?;
    Ok(Frame { units, start, end })
}

fn length(value: &ScalarValue, units: Units) -> Option<u64> {
    let nanos = |nanos: i64| u64::try_from(nanos).ok();
    match (value, units) {
        (ScalarValue::IntervalMonthDayNano(Some(interval)), Units::Range)
            if interval.months == 0 =>
        {
            let days = i64::from(interval.days).checked_mul(86_400_000_000_000)?;
            nanos(days.checked_add(interval.nanoseconds)?)
        }
        (ScalarValue::IntervalDayTime(Some(interval)), Units::Range) => {
            let days = i64::from(interval.days).checked_mul(86_400_000)?;
            nanos(
                days.checked_add(i64::from(interval.milliseconds))?
                    .checked_mul(1_000_000)?,
            )
        }
        (ScalarValue::DurationNanosecond(Some(duration)), Units::Range) => nanos(*duration),
        (value, Units::Rows) => match value.cast_to(&DataType::UInt64).ok()? {
            ScalarValue::UInt64(rows) => rows,
            _ => None,
        },
        _ => None,
    }
}

fn invalid(error: &engine::Error, place: Span) -> Error {
    Error {
        kind: error.kind(),
        ..Error::invalid(error.to_string(), place)
    }
}
