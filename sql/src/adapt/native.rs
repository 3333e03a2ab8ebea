//! Aggregates of our own: those whose DataFusion state does not come back bit for bit.
//!
//! Variance is Welford's recurrence (Knuth, The Art of Computer Programming 2, 4.2.2), its
//! state the three numbers of it. `first_value` and `last_value` take rows in the order of the
//! stream, which is what their `ORDER BY` must say.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Float64Type, UInt64Type};
use datafusion::common::ScalarValue;
use engine::{Accumulator, Aggregate, Error, Result};

use super::aggregate::Inputs;
use super::evaluation_error;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Variance or its root, over n or n - 1.
    Spread { root: bool, sample: bool },
    /// The first or the last value.
    Edge { last: bool, ignore_nulls: bool },
}

impl Rule {
    /// The rule of a DataFusion function, if it has one here.
    pub(super) fn of(name: &str, ignore_nulls: bool) -> Option<Self> {
        Some(match name {
            "stddev" => Self::Spread {
                root: true,
                sample: true,
            },
            "stddev_pop" => Self::Spread {
                root: true,
                sample: false,
            },
            "var" | "var_samp" => Self::Spread {
                root: false,
                sample: true,
            },
            "var_pop" => Self::Spread {
                root: false,
                sample: false,
            },
            "first_value" => Self::Edge {
                last: false,
                ignore_nulls,
            },
            "last_value" => Self::Edge {
                last: true,
                ignore_nulls,
            },
            _ => return None,
        })
    }

    /// The type of the result for an argument of that type.
    pub(super) fn data_type(self, argument: &DataType) -> DataType {
        match self {
            Self::Spread { .. } => DataType::Float64,
            Self::Edge { .. } => argument.clone(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Native {
    pub(super) rule: Rule,
    pub(super) inputs: Inputs,
    pub(super) data_type: DataType,
    pub(super) text: String,
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Aggregate for Native {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn build(&self) -> Result<Box<dyn Accumulator>> {
        let inputs = self.inputs.clone();
        let data_type = self.data_type.clone();
        Ok(match self.rule {
            Rule::Spread { root, sample } => Box::new(Spread {
                inputs,
                root,
                sample,
                groups: Moments::default(),
            }),
            Rule::Edge { last, ignore_nulls } => Box::new(Edge {
                inputs,
                data_type,
                last,
                ignore_nulls,
                values: vec![],
            }),
        })
    }
}

/// Rows that count: all, or those the filter lets pass.
fn counts(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

#[derive(Default)]
struct Moments {
    counts: Vec<u64>,
    means: Vec<f64>,
    squares: Vec<f64>,
}

struct Spread {
    inputs: Inputs,
    root: bool,
    sample: bool,
    groups: Moments,
}

impl Spread {
    fn result(&self, group: usize) -> Option<f64> {
        let count = self.groups.counts[group];
        let divisor = count
            .checked_sub(u64::from(self.sample))
            .filter(|d| *d > 0)?;
        let variance = self.groups.squares[group] / divisor as f64;
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

impl Accumulator for Spread {
    fn update(&mut self, batch: &RecordBatch, group: &[usize], groups: usize) -> Result<()> {
        let (values, filter) = self.inputs.evaluate(batch)?;
        let values = values[0].as_primitive_opt::<Float64Type>();
        let values = values.ok_or_else(|| Error::internal("a spread is of Float64"))?;
        let Moments {
            counts: n,
            means,
            squares,
        } = &mut self.groups;
        n.resize(groups, 0);
        means.resize(groups, 0.0);
        squares.resize(groups, 0.0);
        for (row, group) in group.iter().copied().enumerate() {
            if values.is_valid(row) && counts(filter.as_ref(), row) {
                let value = values.value(row);
                n[group] += 1;
                let before = value - means[group];
                means[group] += before / n[group] as f64;
                squares[group] += before * (value - means[group]);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let results: Float64Array = (0..self.groups.counts.len())
            .map(|group| self.result(group))
            .collect();
        self.groups = Moments::default();
        Ok(Arc::new(results))
    }

    fn snapshot(&mut self) -> Result<Vec<ArrayRef>> {
        let Moments {
            counts,
            means,
            squares,
        } = &self.groups;
        Ok(vec![
            Arc::new(UInt64Array::from(counts.clone())),
            Arc::new(Float64Array::from(means.clone())),
            Arc::new(Float64Array::from(squares.clone())),
        ])
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<()> {
        let damaged = || Error::corrupt("the state of a spread cannot be read");
        let [counts, means, squares] = state else {
            return Err(damaged());
        };
        let floats = |column: &ArrayRef| {
            let column = column
                .as_primitive_opt::<Float64Type>()
                .ok_or_else(damaged)?;
            Ok::<_, Error>(column.values().to_vec())
        };
        let counts = counts
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(damaged)?;
        self.groups = Moments {
            counts: counts.values().to_vec(),
            means: floats(means)?,
            squares: floats(squares)?,
        };
        Ok(())
    }
}

struct Edge {
    inputs: Inputs,
    data_type: DataType,
    last: bool,
    ignore_nulls: bool,
    /// Per group the value, once there is one.
    values: Vec<Option<ScalarValue>>,
}

impl Edge {
    fn column(&self) -> Result<ArrayRef> {
        if self.values.is_empty() {
            return Ok(new_null_array(&self.data_type, 0));
        }
        let null = ScalarValue::try_from(&self.data_type).map_err(|e| evaluation_error(&e))?;
        let values = self
            .values
            .iter()
            .map(|value| value.clone().unwrap_or_else(|| null.clone()));
        ScalarValue::iter_to_array(values).map_err(|error| evaluation_error(&error))
    }
}

impl Accumulator for Edge {
    fn update(&mut self, batch: &RecordBatch, group: &[usize], groups: usize) -> Result<()> {
        let (values, filter) = self.inputs.evaluate(batch)?;
        self.values.resize(groups, None);
        // Only the row that stays is read out of the array.
        let mut rows = vec![None; groups];
        for (row, group) in group.iter().copied().enumerate() {
            let counted = counts(filter.as_ref(), row);
            if counted
                && !(self.ignore_nulls && values[0].is_null(row))
                && (self.last || (self.values[group].is_none() && rows[group].is_none()))
            {
                rows[group] = Some(row);
            }
        }
        for (value, row) in self.values.iter_mut().zip(rows) {
            let Some(row) = row else { continue };
            let read = ScalarValue::try_from_array(&values[0], row);
            *value = Some(read.map_err(|error| evaluation_error(&error))?);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let column = self.column()?;
        self.values.clear();
        Ok(column)
    }

    fn snapshot(&mut self) -> Result<Vec<ArrayRef>> {
        let seen: BooleanArray = self
            .values
            .iter()
            .map(|value| Some(value.is_some()))
            .collect();
        Ok(vec![self.column()?, Arc::new(seen)])
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<()> {
        let damaged = || Error::corrupt("the state of an edge value cannot be read");
        let [values, seen] = state else {
            return Err(damaged());
        };
        let seen = seen.as_boolean_opt().ok_or_else(damaged)?;
        let read = |row| {
            if seen.value(row) {
                ScalarValue::try_from_array(values, row).map(Some)
            } else {
                Ok(None)
            }
        };
        let values = (0..seen.len())
            .map(read)
            .collect::<datafusion::common::Result<_>>();
        self.values = values.map_err(|error| evaluation_error(&error))?;
        Ok(())
    }
}
