//! Which kernel runs a function: the arenas where the frame is short and ends at the current row,
//! the windows of marks elsewhere.

use arrow::datatypes::DataType;

use super::block::{Folded, Sliding, Spreading};
use super::fold::{Count, Extremum, Fold, IntegerSum, LongSum, Moments, Sum};
use super::folding::Folding;
use super::lag::{Lag, RowNumber};
use super::peers::Grouped;
use super::place::{Place, Placed};
use super::words::{Reading, Texts, Values, Words};
use super::{Frame, Function, Literal, Spec, Units};
use crate::error::{Error, Result};
use crate::kernel::Kernel;

/// The longest frame whose slots are laid out in advance for every key.
const LONGEST_BLOCK: u64 = 1_024;

pub(super) fn build(spec: &Spec) -> Result<Box<dyn Kernel>> {
    let real = spec.argument == Some(DataType::Float64);
    Ok(match &spec.function {
        Function::Count => folded::<Count, Count>(spec, Reading::Presence),
        Function::Sum if real => folded::<Sum<false>, LongSum<false>>(spec, Reading::Value),
        Function::Sum => folded::<IntegerSum, IntegerSum>(spec, Reading::Value),
        Function::Avg => folded::<Sum<true>, LongSum<true>>(spec, Reading::Real),
        Function::Min if real => extremum::<false, true>(spec),
        Function::Min => extremum::<false, false>(spec),
        Function::Max if real => extremum::<true, true>(spec),
        Function::Max => extremum::<true, false>(spec),
        Function::Moments {
            sample: true,
            root: true,
        } => moments::<true, true>(spec),
        Function::Moments {
            sample: true,
            root: false,
        } => moments::<true, false>(spec),
        Function::Moments {
            sample: false,
            root: true,
        } => moments::<false, true>(spec),
        Function::Moments {
            sample: false,
            root: false,
        } => moments::<false, false>(spec),
        Function::RowNumber => Box::new(RowNumber::default()),
        Function::Lag { offset, default } => lag(spec, *offset, default)?,
        Function::First => placed(spec, &Place::Nth(1)),
        Function::Last => placed(spec, &Place::Last),
        Function::Nth(place) => placed(spec, &Place::Nth(*place)),
    })
}

/// How many slots a window takes, where it is short and ends at the current row.
fn block(frame: Frame) -> Option<usize> {
    match frame {
        Frame {
            units: Units::Rows,
            start: Some(start),
            end: 0,
        } if start < LONGEST_BLOCK => Some(start as usize + 1),
        _ => None,
    }
}

fn folded<Short: Fold, Long: Fold>(spec: &Spec, reading: Reading) -> Box<dyn Kernel> {
    let data_type = spec.data_type.clone();
    match block(spec.frame) {
        Some(window) => Sliding::<Folded<Short>>::boxed(window, reading, data_type),
        None => Grouped::boxed(spec.frame, reading, data_type, Folding::<Long>::new()),
    }
}

fn extremum<const GREATEST: bool, const REAL: bool>(spec: &Spec) -> Box<dyn Kernel> {
    folded::<Extremum<GREATEST, REAL>, Extremum<GREATEST, REAL>>(spec, Reading::Value)
}

fn moments<const SAMPLE: bool, const ROOT: bool>(spec: &Spec) -> Box<dyn Kernel> {
    let (data_type, reading) = (spec.data_type.clone(), Reading::Real);
    let fresh = Folding::<Moments<SAMPLE, ROOT>>::new();
    match block(spec.frame) {
        Some(window) => Sliding::<Spreading<SAMPLE, ROOT>>::boxed(window, reading, data_type),
        None => Grouped::boxed(spec.frame, reading, data_type, fresh),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn placed(spec: &Spec, place: &Place<()>) -> Box<dyn Kernel> {
    if is_text(&spec.data_type) {
        pick::<Texts>(spec, place)
    } else {
        pick::<Words>(spec, place)
    }
}

fn pick<V: Values>(spec: &Spec, place: &Place<()>) -> Box<dyn Kernel> {
    let place = match place {
        Place::Nth(n) => Place::Nth(*n),
        Place::Last | Place::Only(_) => Place::Last,
    };
    let fresh = Placed::<V>::new(place);
    Grouped::boxed(spec.frame, Reading::Value, spec.data_type.clone(), fresh)
}

fn lag(spec: &Spec, offset: u64, default: &Literal) -> Result<Box<dyn Kernel>> {
    let data_type = spec.data_type.clone();
    let wrong = || {
        Error::invalid(format!(
            "lag: the default {default} is not of the argument's type {data_type}"
        ))
    };
    let frame = Frame {
        units: Units::Rows,
        start: Some(offset),
        end: offset,
    };
    if is_text(&data_type) {
        let default = match default {
            Literal::Null => None,
            Literal::Text(text) => Some(text.as_str().into()),
            _ => return Err(wrong()),
        };
        let fresh = Placed::<Texts>::new(Place::Only(default));
        return Ok(Grouped::boxed(frame, Reading::Value, data_type, fresh));
    }
    let default = match (default, &data_type) {
        (Literal::Null, _) => None,
        (Literal::Boolean(value), DataType::Boolean) => Some(u64::from(*value)),
        (Literal::Real(value), DataType::Float64) => Some(value.to_bits()),
        (Literal::Integer(value), DataType::Float64) => Some((*value as f64).to_bits()),
        (Literal::Integer(value), DataType::Int64 | DataType::Timestamp(..)) => Some(*value as u64),
        _ => return Err(wrong()),
    };
    if offset < LONGEST_BLOCK {
        return Ok(Lag::boxed(offset, default, data_type));
    }
    let fresh = Placed::<Words>::new(Place::Only(default));
    Ok(Grouped::boxed(frame, Reading::Value, data_type, fresh))
}
