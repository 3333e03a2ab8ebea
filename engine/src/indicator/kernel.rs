//! Any indicator as a [`Kernel`]: states in one `Vec` by key number, one virtual call a batch,
//! the loop over the rows monomorphic.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use super::Indicator;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Rows, Valid, as_double};
use crate::operator::ttl::truncate;
use crate::operator::{decode_states, encode_states};

/// The type of a value with these outputs: DOUBLE for one, a STRUCT of DOUBLE for several.
pub(super) fn data_type(outputs: &[&str]) -> DataType {
    match outputs {
        [_] => DataType::Float64,
        names => DataType::Struct(fields(names)),
    }
}

fn fields(names: &[&str]) -> Fields {
    names
        .iter()
        .map(|name| Field::new(*name, DataType::Float64, true))
        .collect()
}

/// The kernel of an indicator; every key starts from a clone of `fresh`.
pub(super) fn erase<const I: usize, const O: usize, K: Indicator<I, O> + 'static>(
    fresh: K,
    outputs: &[&str],
) -> Box<dyn Kernel> {
    Box::new(Keyed {
        fresh,
        states: vec![],
        fields: fields(outputs),
        valid: Valid::default(),
    })
}

struct Keyed<K, const I: usize, const O: usize> {
    fresh: K,
    states: Vec<K>,
    fields: Fields,
    valid: Valid,
}

impl<const I: usize, const O: usize, K: Indicator<I, O>> Keyed<K, I, O> {
    fn array(&self, values: [Vec<f64>; O]) -> Result<ArrayRef> {
        let nulls = self.valid.nulls();
        let mut columns = values.into_iter().map(|values| -> ArrayRef {
            Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls.clone()))
        });
        match columns.next() {
            Some(only) if O == 1 => Ok(only),
            first => {
                let columns = first.into_iter().chain(columns).collect();
                Ok(Arc::new(StructArray::try_new(
                    self.fields.clone(),
                    columns,
                    nulls,
                )?))
            }
        }
    }
}

impl<const I: usize, const O: usize, K: Indicator<I, O>> Kernel for Keyed<K, I, O> {
    fn evaluate(&mut self, rows: Rows<'_>, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        if self.states.len() < rows.key_count {
            self.states.resize(rows.key_count, self.fresh.clone());
        }
        let count = rows.keys.len();
        let casts = casts::<I>(arguments, count)?;
        let columns: [&Float64Array; I] =
            std::array::from_fn(|i| casts[i].as_ref().unwrap_or(&arguments[i]).as_primitive());
        let inputs: [&[f64]; I] = columns.map(|column| &column.values()[..count]);
        let mut values: [Vec<f64>; O] = std::array::from_fn(|_| vec![0.0; count]);
        let mut outputs = values.each_mut().map(Vec::as_mut_slice);
        let valid = self.valid.reset(count);
        for nulls in columns.iter().filter_map(|column| column.nulls()) {
            let present = valid.iter_mut().zip(nulls);
            present.for_each(|(valid, present)| *valid &= present);
        }
        let states = self.states.as_mut_slice();
        for (row, (key, valid)) in rows.keys.iter().zip(valid).enumerate() {
            let input: [f64; I] = std::array::from_fn(|i| inputs[i][row]);
            if !*valid || !input.iter().all(|value| value.is_finite()) {
                *valid = false;
                continue;
            }
            match states[*key as usize].update(input) {
                Some(output) if output.iter().all(|value| value.is_finite()) => {
                    for (column, value) in outputs.iter_mut().zip(output) {
                        column[row] = value;
                    }
                }
                _ => *valid = false,
            }
        }
        self.array(values)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        Ok(vec![encode_states(&self.states)?])
    }

    fn restore(&mut self, state: &[RecordBatch]) -> Result<()> {
        let [states] = state else {
            return Err(Error::corrupt(
                "the snapshot of an indicator is not one table",
            ));
        };
        self.states = decode_states(states)?;
        Ok(())
    }

    fn forget(&mut self, keys: &[u32], key_count: usize) {
        for key in keys {
            if let Some(state) = self.states.get_mut(*key as usize) {
                *state = self.fresh.clone();
            }
        }
        truncate(&mut self.states, key_count);
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.states.swap(from as usize, to as usize);
    }
}

/// The arguments that are not DOUBLE already, as DOUBLE.
fn casts<const I: usize>(arguments: &[ArrayRef], count: usize) -> Result<[Option<ArrayRef>; I]> {
    if arguments.len() != I || arguments.iter().any(|column| column.len() != count) {
        return Err(Error::internal(format!(
            "an indicator of {I} inputs was given {} of another length than its keys",
            arguments.len()
        )));
    }
    let mut casts = [const { None }; I];
    for (cast_to, argument) in casts.iter_mut().zip(arguments) {
        if argument.data_type() != &DataType::Float64 {
            *cast_to = Some(as_double(argument)?);
        }
    }
    Ok(casts)
}
