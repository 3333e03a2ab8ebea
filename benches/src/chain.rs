//! What `over` and the monolith are compared on: rows of many symbols, and the same twelve
//! columns as graph nodes.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::Float64Array;
use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::expression::{Column, Expression};
use engine::frame::{self, Frame, Literal, Units};
use engine::operator::key::Key;
use engine::operator::over::{Function, Over, Release};
use engine::{Operator, OperatorSpec, Output, indicator};

/// The columns of the rows.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("volume", DataType::Int64, true),
        Field::new("ts", engine::time::TIMESTAMP, true),
    ]))
}

/// `count` rows over `symbols` symbols in no order, in batches of `size`: the same in every run.
pub fn rows(symbols: u64, count: usize, size: usize) -> Result<Vec<RecordBatch>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut prices: Vec<f64> = (0..symbols)
        .map(|symbol| 20.0 + (symbol % 400) as f64)
        .collect();
    let mut batches = vec![];
    let mut time = 0;
    while (time as usize) < count {
        let (mut names, mut traded, mut volumes, mut times) = (vec![], vec![], vec![], vec![]);
        for _ in 0..size.min(count - time as usize) {
            let symbol = (next() % symbols) as usize;
            prices[symbol] *= 1.0 + ((next() % 2_001) as f64 - 1_000.0) * 1e-6;
            names.push(format!("SYM{symbol:05}"));
            traded.push(prices[symbol]);
            volumes.push((next() % 10_000) as i64);
            times.push(time);
            time += 1;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(names)),
            Arc::new(Float64Array::from(traded)),
            Arc::new(Int64Array::from(volumes)),
            Arc::new(TimestampNanosecondArray::from(times)),
        ];
        batches.push(RecordBatch::try_new(schema(), columns)?);
    }
    Ok(batches)
}

fn column(name: &str) -> Result<Arc<dyn Expression>> {
    let index = schema().index_of(name)?;
    let data_type = schema().field(index).data_type().clone();
    Ok(Arc::new(Column {
        index,
        name: name.to_owned(),
        data_type,
    }))
}

fn framed(name: &str, input: &str, literals: &[Literal], rows: u64) -> Result<Function> {
    let frame = Frame {
        units: Units::Rows,
        start: Some(rows),
        end: 0,
    };
    let arguments = vec![column(input)?];
    let kernel = frame::spec(name, &[arguments[0].data_type()], literals, frame)?;
    Ok(Function {
        name: format!("{name}_{input}_{rows}"),
        arguments,
        kernel,
    })
}

fn indicated(name: &str, parameters: &[f64]) -> Result<Function> {
    let kernel = indicator::find(name)
        .context("no such indicator")?
        .spec(parameters)?;
    let name = parameters
        .iter()
        .fold(name.to_owned(), |name, value| format!("{name}_{value}"));
    Ok(Function {
        name,
        arguments: vec![column("price")?],
        kernel,
    })
}

/// `key` and `over` with the monolith's twelve columns (three of them in the struct of `macd`).
pub struct Chain {
    key: Box<dyn Operator>,
    over: Box<dyn Operator>,
    out: Output,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

impl Chain {
    /// A fresh pair.
    pub fn new() -> Result<Self> {
        let lag = |rows| framed("lag", "price", &[Literal::Integer(rows)], rows as u64);
        let functions = vec![
            lag(1)?,
            lag(5)?,
            lag(15)?,
            framed("avg", "volume", &[], 59)?,
            framed("stddev", "price", &[], 59)?,
            framed("avg", "price", &[], 19)?,
            indicated("ema", &[12.0])?,
            indicated("ema", &[26.0])?,
            indicated("macd", &[12.0, 26.0, 9.0])?,
            indicated("rsi", &[14.0])?,
        ];
        let key = Key::new(schema(), vec![0], "_key")?;
        let over = Over::new(key.schema(), 4, 3, Release::AtOnce, functions)?;
        Ok(Self {
            key: key.build()?,
            over: over.build()?,
            out: Output::default(),
        })
    }

    /// The rows with what follows from them.
    pub fn evaluate(&mut self, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        self.key.on_batch(0, rows, &mut self.out)?;
        for keyed in self.out.take() {
            self.over.on_batch(0, keyed, &mut self.out)?;
        }
        Ok(self.out.take())
    }
}

/// The twelve columns of a batch of [`Chain`], in the monolith's order.
#[must_use]
pub fn columns(batch: &RecordBatch) -> Vec<ArrayRef> {
    let functions = &batch.columns()[5..];
    let flat = functions
        .iter()
        .flat_map(|column| match column.data_type() {
            DataType::Struct(_) => column.as_struct().columns().to_vec(),
            _ => vec![Arc::clone(column)],
        });
    flat.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monolith::{COLUMNS, Monolith};

    #[test]
    fn the_monolith_and_over_agree_bit_for_bit() -> Result<()> {
        for (symbols, size) in [(7, 512), (100, 1)] {
            let (mut monolith, mut chain) = (Monolith::default(), Chain::new()?);
            for batch in rows(symbols, 4_000, size)? {
                let expected = monolith.evaluate(&batch.project(&[0, 1, 2])?)?;
                let result = chain.evaluate(batch)?.remove(0);
                for ((name, ours), theirs) in COLUMNS
                    .iter()
                    .zip(columns(&result))
                    .zip(&expected.columns()[3..])
                {
                    assert_eq!(&ours, theirs, "{name}");
                }
            }
        }
        Ok(())
    }
}
