//! What the catalogue says about an indicator, and how parameters become a [`KernelSpec`].

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::kernel::data_type;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, KernelSpec, Rows};

/// TA-Lib's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Drawn over the price: averages and bands.
    Overlap,
    /// How fast the price moves.
    Momentum,
    /// How far the price swings.
    Volatility,
    /// What the traded size says.
    Volume,
    /// Statistics of one series.
    Statistic,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlap",
            Self::Momentum => "momentum",
            Self::Volatility => "volatility",
            Self::Volume => "volume",
            Self::Statistic => "statistic",
        })
    }
}

/// A literal that shapes an indicator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Its name in documentation and errors.
    pub name: &'static str,
    /// Its value where the call leaves it out.
    pub default: f64,
    /// The least allowed value.
    pub min: f64,
    /// The greatest allowed value.
    pub max: f64,
    /// Whether it must be a whole number.
    pub integer: bool,
}

impl Parameter {
    /// A number of rows, at most TA-Lib's 100,000.
    pub(super) const fn period(name: &'static str, default: f64, min: f64) -> Self {
        Self {
            name,
            default,
            min,
            max: 100_000.0,
            integer: true,
        }
    }

    /// A factor, in TA-Lib's range.
    pub(super) const fn factor(name: &'static str, default: f64) -> Self {
        Self {
            name,
            default,
            min: -3e37,
            max: 3e37,
            integer: false,
        }
    }

    fn check(&self, indicator: &str, value: f64) -> Result<()> {
        let whole = !self.integer || value.fract() == 0.0;
        if value >= self.min && value <= self.max && whole {
            return Ok(());
        }
        let Self { name, min, max, .. } = self;
        let kind = if self.integer {
            "a whole number"
        } else {
            "a number"
        };
        Err(Error::invalid(format!(
            "{indicator}: parameter {name} must be {kind} from {min} to {max}, not {value}"
        )))
    }
}

/// One indicator of the catalogue.
#[derive(Debug)]
pub struct Entry {
    /// Lower-case name; `ta_` before it always works in SQL.
    pub name: &'static str,
    /// Its name in TA-Lib; `None` where TA-Lib has none.
    pub talib: Option<&'static str>,
    /// Where it is filed.
    pub group: Group,
    /// One line on what it says.
    pub description: &'static str,
    /// What its arguments are, in order.
    pub inputs: &'static [&'static str],
    /// The literals after the arguments, in order; trailing ones may be left out.
    pub parameters: &'static [Parameter],
    /// Names of its outputs. One is a DOUBLE; several are a STRUCT of DOUBLE.
    pub outputs: &'static [&'static str],
    /// Whether SQL leaves the bare name to it.
    pub bare: bool,
    /// How many rows come before the first value, for a full list of parameters.
    pub lookback: fn(&[f64]) -> usize,
    /// The kernel for a full list of valid parameters.
    pub(super) kernel: fn(&[f64]) -> Box<dyn Kernel>,
}

impl Entry {
    /// The name that SQL knows it by.
    #[must_use]
    pub fn function(&self) -> String {
        if self.bare {
            self.name.to_owned()
        } else {
            format!("ta_{}", self.name)
        }
    }

    /// A call with the defaults as parameters: `rsi(close, 14)`.
    #[must_use]
    pub fn call(&self) -> String {
        let inputs = self.inputs.iter().map(ToString::to_string);
        let parameters = self.parameters.iter();
        let parameters = parameters.map(|parameter| parameter.default.to_string());
        let arguments: Vec<String> = inputs.chain(parameters).collect();
        format!("{}({})", self.function(), arguments.join(", "))
    }

    /// The full list of parameters, defaults filled in; an error names the indicator, the
    /// parameter and its range.
    pub fn parameters(&self, given: &[f64]) -> Result<Vec<f64>> {
        if given.len() > self.parameters.len() {
            let names: Vec<_> = self
                .parameters
                .iter()
                .map(|parameter| parameter.name)
                .collect();
            let (name, given) = (self.name, given.len());
            return Err(Error::invalid(match names.as_slice() {
                [] => format!("{name}: takes no parameters, {given} given"),
                _ => format!(
                    "{name}: takes the parameters {}, {given} given",
                    names.join(", ")
                ),
            }));
        }
        let values = self.parameters.iter().enumerate().map(|(i, parameter)| {
            let value = given.get(i).copied().unwrap_or(parameter.default);
            parameter.check(self.name, value).map(|()| value)
        });
        values.collect()
    }

    /// How many rows come before the first value.
    pub fn lookback(&self, parameters: &[f64]) -> Result<usize> {
        Ok((self.lookback)(&self.parameters(parameters)?))
    }

    /// The type of its value.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        data_type(self.outputs)
    }

    /// The indicator with these parameters as a window function.
    pub fn spec(&'static self, parameters: &[f64]) -> Result<Arc<dyn KernelSpec>> {
        Ok(Arc::new(Spec {
            entry: self,
            parameters: self.parameters(parameters)?,
        }))
    }

    /// All values of one series: what a batch query runs, with the code that a stream runs.
    pub fn evaluate(&'static self, parameters: &[f64], series: &[ArrayRef]) -> Result<ArrayRef> {
        let count = series.first().map_or(0, |column| column.len());
        let (keys, times) = (vec![0; count], vec![0; count]);
        let mut kernel = (self.kernel)(&self.parameters(parameters)?);
        kernel.evaluate(
            Rows {
                keys: &keys,
                key_count: 1,
                times: &times,
            },
            series,
        )
    }
}

#[derive(Debug)]
struct Spec {
    entry: &'static Entry,
    parameters: Vec<f64>,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        if self.parameters.is_empty() {
            return Ok(());
        }
        let parameters: Vec<_> = self.parameters.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", parameters.join(", "))
    }
}

impl KernelSpec for Spec {
    fn data_type(&self) -> DataType {
        self.entry.data_type()
    }

    fn build(&self) -> Result<Box<dyn Kernel>> {
        Ok((self.entry.kernel)(&self.parameters))
    }
}
