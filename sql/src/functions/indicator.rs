//! The engine's indicators as window functions: one code path for streams and batch queries.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, Spanned, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::indicator::{Entry, catalog, find};

use crate::error::Error;

/// Every indicator, by its bare name where SQL leaves it that and as `ta_<name>`.
pub(crate) fn all() -> impl Iterator<Item = WindowUDF> {
    catalog().iter().map(|entry| {
        let long = format!("ta_{}", entry.name);
        let (name, aliases) = if entry.bare {
            (entry.name.to_owned(), vec![long])
        } else {
            (long, vec![])
        };
        let signature = Signature::user_defined(Volatility::Immutable);
        WindowUDF::from(Indicator {
            entry,
            name,
            aliases,
            signature,
        })
    })
}

/// The indicator that a function name stands for in SQL.
pub(crate) fn named(name: &str) -> Option<&'static Entry> {
    find(name).filter(|entry| entry.bare || name.starts_with("ta_"))
}

/// `rsi(close[, period])`.
fn form(entry: &Entry) -> String {
    let parameters = entry.parameters.iter().map(|parameter| parameter.name);
    let inputs = entry.inputs.join(", ");
    let parameters: Vec<_> = parameters.collect();
    match parameters.as_slice() {
        [] => format!("{}({inputs})", entry.name),
        names => format!("{}({inputs}[, {}])", entry.name, names.join(", ")),
    }
}

/// What is wrong with the arguments of a call, as far as the text shows.
pub(crate) fn check(name: &str, arguments: &[FunctionArg], span: Span) -> Vec<Error> {
    let Some(entry) = named(name) else {
        return vec![];
    };
    let inputs = entry.inputs.len();
    if arguments.len() < inputs || arguments.len() > inputs + entry.parameters.len() {
        let message = format!("{name} does not take {} arguments", arguments.len());
        return vec![Error::invalid(message, span).hint(format!("write {}", form(entry)))];
    }
    let mut values = vec![];
    for argument in &arguments[inputs..] {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
            let message = format!("{name} takes its arguments by position");
            return vec![Error::invalid(message, span).hint(format!("write {}", form(entry)))];
        };
        let Some(value) = number(expr) else {
            let parameter = entry.parameters[values.len()].name;
            let message = format!("{name}: parameter {parameter} must be a literal number");
            let error = Error::invalid(message, expr.span());
            return vec![error.hint(format!("write {}", form(entry)))];
        };
        values.push(value);
        if let Err(error) = entry.parameters(&values) {
            let usual = entry.parameters[values.len() - 1].default;
            let error = Error::invalid(error.to_string(), expr.span());
            return vec![error.hint(format!(
                "write {}; it is {usual} where left out",
                form(entry)
            ))];
        }
    }
    vec![]
}

fn number(expr: &ast::Expr) -> Option<f64> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        ast::Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => number(expr).map(|value| -value),
        ast::Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        }
        | ast::Expr::Nested(expr) => number(expr),
        _ => None,
    }
}

/// The literal parameters of a call, after its inputs.
pub(crate) fn parameters(entry: &Entry, arguments: &[Expr]) -> Result<Vec<f64>> {
    let literal = |expr: &Expr| match expr {
        Expr::Literal(value, _) => real(entry, value),
        other => plan_err!("{}: {other} must be a literal number", entry.name),
    };
    arguments
        .iter()
        .skip(entry.inputs.len())
        .map(literal)
        .collect()
}

fn real(entry: &Entry, value: &ScalarValue) -> Result<f64> {
    let ScalarValue::Float64(Some(value)) = value.cast_to(&DataType::Float64)? else {
        return plan_err!("{}: a parameter must be a literal number", entry.name);
    };
    Ok(value)
}

/// A window function of DataFusion around an indicator.
#[derive(Debug)]
pub(crate) struct Indicator {
    pub(crate) entry: &'static Entry,
    name: String,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Indicator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Indicator {}

impl Hash for Indicator {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for Indicator {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Nothing is cast: the kernel reads every number as it is.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (inputs, form) = (self.entry.inputs.len(), form(self.entry));
        if types.len() < inputs || types.len() > inputs + self.entry.parameters.len() {
            return plan_err!(
                "{} does not take {} arguments; write {form}",
                self.name,
                types.len()
            );
        }
        for (input, data_type) in self.entry.inputs.iter().zip(types) {
            if !data_type.is_numeric() && !data_type.is_null() {
                return plan_err!("{}: {input} is a number, not {data_type}", self.name);
            }
        }
        Ok(types.to_vec())
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(
            arguments.name(),
            self.entry.data_type(),
            true,
        )))
    }

    fn partition_evaluator(
        &self,
        arguments: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let entry = self.entry;
        let literals = arguments.input_exprs().iter().skip(entry.inputs.len());
        let parameters = literals.map(|expr| {
            let Some(literal) = expr.downcast_ref::<Literal>() else {
                return plan_err!("{}: a parameter must be a literal number", entry.name);
            };
            real(entry, literal.value())
        });
        let parameters = entry.parameters(&parameters.collect::<Result<Vec<_>>>()?);
        let parameters = parameters.map_err(|error| plan_datafusion_err!("{error}"))?;
        Ok(Box::new(Series { entry, parameters }))
    }
}

/// One partition of a batch query.
#[derive(Debug)]
struct Series {
    entry: &'static Entry,
    parameters: Vec<f64>,
}

impl PartitionEvaluator for Series {
    fn evaluate_all(&mut self, values: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let series = &values[..self.entry.inputs.len()];
        let values = self.entry.evaluate(&self.parameters, series);
        values.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
