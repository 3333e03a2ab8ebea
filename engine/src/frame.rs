//! SQL's own window functions over frames: `avg(x) OVER (… ROWS 59 PRECEDING)`, `lag`, and so on.
//!
//! Aggregates ignore NULLs and are NULL over nothing; what picks a row (`first_value`, `lag`)
//! takes NULL as a value. No fold ever subtracts, so a bad tick leaves no trace once it has left
//! the frame, and values do not depend on how rows were cut into batches.

mod block;
mod build;
mod fold;
mod folding;
mod lag;
mod peers;
mod place;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result};
use crate::kernel::{Kernel, KernelSpec};

/// What a frame is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Rows of the key.
    Rows,
    /// Nanoseconds of the column the rows are ordered by; peers are in the frame together.
    Range,
}

/// `BETWEEN start PRECEDING AND end PRECEDING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Rows or time.
    pub units: Units,
    /// How many rows or nanoseconds back the frame begins; `None` is `UNBOUNDED PRECEDING`.
    pub start: Option<u64>,
    /// How many rows or nanoseconds back it ends; zero is `CURRENT ROW`.
    pub end: u64,
}

impl Frame {
    /// What SQL means by `ORDER BY` without a frame: everything up to the row and its peers.
    pub const DEFAULT: Self = Self {
        units: Units::Range,
        start: None,
        end: 0,
    };
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let distance = |distance| match self.units {
            Units::Rows => format!("{distance}"),
            Units::Range => format!("{:?}", Duration::from_nanos(distance)),
        };
        f.write_str(match self.units {
            Units::Rows => "rows ",
            Units::Range => "range ",
        })?;
        match self.start {
            None => f.write_str("unbounded preceding")?,
            Some(0) => f.write_str("current row")?,
            Some(start) => write!(f, "{} preceding", distance(start))?,
        }
        match self.end {
            0 => Ok(()),
            end => write!(f, " to {} preceding", distance(end)),
        }
    }
}

/// A constant after the argument: an offset, a default, a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// NULL.
    Null,
    /// A whole number; an instant in nanoseconds.
    Integer(i64),
    /// A number.
    Real(f64),
    /// TRUE or FALSE.
    Boolean(bool),
    /// A text.
    Text(String),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Moments { sample: bool, root: bool },
    First,
    Last,
    Nth(u64),
    Lag { offset: u64, default: Literal },
    RowNumber,
}

/// Every name that [`spec`] knows.
pub const NAMES: &[&str] = &[
    "avg",
    "count",
    "first_value",
    "lag",
    "last_value",
    "max",
    "mean",
    "min",
    "nth_value",
    "row_number",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var",
    "var_pop",
    "var_samp",
];

/// The window function of this SQL name, over arguments of these types; `literals` are the
/// constants after them (`lag(x, 5, 0)` has the argument `x` and the literals 5 and 0).
///
/// `count` without an argument is `count(*)`. `lag` and `row_number` pay no heed to the frame.
/// An unknown name, argument, type or frame is an error that says what is possible.
pub fn spec(
    name: &str,
    arguments: &[DataType],
    literals: &[Literal],
    frame: Frame,
) -> Result<Arc<dyn KernelSpec>> {
    if frame.start.is_some_and(|start| start < frame.end) {
        return Err(Error::invalid(format!(
            "{name}: the frame starts after its end"
        )));
    }
    let function = function(name, literals)?;
    let argument = match (&function, arguments) {
        (Function::Count | Function::RowNumber, []) => None,
        (Function::RowNumber, _) => return Err(Error::invalid("row_number: takes no argument")),
        (_, [only]) => Some(only),
        (_, given) => {
            let given = given.len();
            return Err(Error::invalid(format!(
                "{name}: takes one argument, {given} given"
            )));
        }
    };
    let data_type = data_type(name, &function, argument)?;
    let spec = Spec {
        name: name.to_owned(),
        function,
        argument: argument.cloned(),
        data_type,
        frame,
    };
    spec.build()?;
    Ok(Arc::new(spec))
}

fn function(name: &str, literals: &[Literal]) -> Result<Function> {
    let moments = |sample, root| Function::Moments { sample, root };
    let function = match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "avg" | "mean" => Function::Avg,
        "min" => Function::Min,
        "max" => Function::Max,
        "stddev" | "stddev_samp" => moments(true, true),
        "stddev_pop" => moments(false, true),
        "var" | "var_samp" => moments(true, false),
        "var_pop" => moments(false, false),
        "first_value" => Function::First,
        "last_value" => Function::Last,
        "row_number" => Function::RowNumber,
        "nth_value" => return nth(literals),
        "lag" => return lag(literals),
        "lead" => {
            return Err(Error::invalid(
                "lead: a stream does not know the rows to come; use lag and read it one row later",
            ));
        }
        _ => {
            let known = NAMES.join(", ");
            return Err(Error::not_found(format!(
                "no window function {name}; there are {known}"
            )));
        }
    };
    match literals {
        [] => Ok(function),
        [first, ..] => Err(Error::invalid(format!(
            "{name}: takes no constant, {first} given"
        ))),
    }
}

fn nth(literals: &[Literal]) -> Result<Function> {
    match literals {
        [Literal::Integer(place)] if *place >= 1 => Ok(Function::Nth(*place as u64)),
        _ => Err(Error::invalid(
            "nth_value: the position must be one whole number from 1, as in nth_value(x, 3)",
        )),
    }
}

fn lag(literals: &[Literal]) -> Result<Function> {
    let wrong = "lag: the offset must be a whole number from 0, as in lag(x, 5) or lag(x, 5, 0)";
    let (offset, default) = match literals {
        [] => (1, &Literal::Null),
        [Literal::Integer(offset)] => (*offset, &Literal::Null),
        [Literal::Integer(offset), default] => (*offset, default),
        _ => return Err(Error::invalid(wrong)),
    };
    let offset = u64::try_from(offset).map_err(|_| Error::invalid(wrong))?;
    Ok(Function::Lag {
        offset,
        default: default.clone(),
    })
}

fn data_type(name: &str, function: &Function, argument: Option<&DataType>) -> Result<DataType> {
    use DataType::{Boolean, Float64, Int64, LargeUtf8, Timestamp, UInt64, Utf8, Utf8View};
    let Some(argument) = argument else {
        return Ok(if *function == Function::RowNumber {
            UInt64
        } else {
            Int64
        });
    };
    let instant = matches!(argument, Timestamp(TimeUnit::Nanosecond, _));
    let number = matches!(argument, Int64 | Float64);
    let other = matches!(argument, Boolean | Utf8 | LargeUtf8 | Utf8View);
    let result = match (function, argument) {
        (Function::Count, _) => Some(Int64),
        (Function::Avg | Function::Moments { .. }, Int64 | Float64) => Some(Float64),
        (Function::Sum, Int64 | Float64) => Some(argument.clone()),
        (Function::Min | Function::Max, _) => (instant || number).then(|| argument.clone()),
        (Function::First | Function::Last | Function::Nth(_) | Function::Lag { .. }, _) => {
            (instant || number || other).then(|| argument.clone())
        }
        _ => None,
    };
    result.ok_or_else(|| {
        let takes = match function {
            Function::Sum | Function::Avg | Function::Moments { .. } => "DOUBLE or BIGINT",
            Function::Min | Function::Max => "DOUBLE, BIGINT or TIMESTAMP",
            _ => "DOUBLE, BIGINT, TIMESTAMP, BOOLEAN or STRING",
        };
        Error::invalid(format!(
            "{name}: takes {takes}, not {argument}; cast the argument"
        ))
    })
}

#[derive(Debug)]
struct Spec {
    name: String,
    function: Function,
    argument: Option<DataType>,
    data_type: DataType,
    frame: Frame,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, frame, .. } = self;
        match &self.function {
            Function::RowNumber => f.write_str(name),
            Function::Lag {
                offset,
                default: Literal::Null,
            } => write!(f, "{name}[{offset}]"),
            Function::Lag { offset, default } => write!(f, "{name}[{offset}, default {default}]"),
            Function::Nth(place) => write!(f, "{name}[{place}, {frame}]"),
            _ => write!(f, "{name}[{frame}]"),
        }
    }
}

impl KernelSpec for Spec {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn build(&self) -> Result<Box<dyn Kernel>> {
        build::build(self)
    }
}
