//! The ceiling: twelve columns of a market data job, in one loop written by hand.
//!
//! One struct per symbol holds everything; symbols are looked up by the loop itself. The same
//! formulas as the engine's kernels, so the columns are equal bit for bit, but nothing general:
//! no NULLs, no other frames, no snapshot. `over` is measured against it.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// The columns it computes, in order.
pub const COLUMNS: [&str; 12] = [
    "lag_1",
    "lag_5",
    "lag_15",
    "volume_avg",
    "price_stddev",
    "price_avg",
    "ema_12",
    "ema_26",
    "macd",
    "signal",
    "hist",
    "rsi_14",
];

/// Rows before the first value of each column.
const WARM_UP: [u32; 12] = [1, 5, 15, 0, 1, 0, 11, 25, 33, 33, 33, 14];

/// The state of all symbols.
#[derive(Debug)]
pub struct Monolith {
    schema: SchemaRef,
    hasher: FixedState,
    table: HashTable<u32>,
    names: Vec<Box<str>>,
    hashes: Vec<u64>,
    states: Vec<State>,
    inverse: [f64; 61],
}

impl Default for Monolith {
    fn default() -> Self {
        let number = |(name, data_type)| Field::new(name, data_type, true);
        let input = [
            ("symbol", DataType::Utf8),
            ("price", DataType::Float64),
            ("volume", DataType::Int64),
        ];
        let outputs = COLUMNS.map(|name| (name, DataType::Float64));
        let fields = input.into_iter().chain(outputs).map(number);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            hasher: FixedState::with_seed(7),
            table: HashTable::new(),
            names: vec![],
            hashes: vec![],
            states: vec![],
            inverse: std::array::from_fn(|n| if n == 0 { 0.0 } else { 1.0 / n as f64 }),
        }
    }
}

impl Monolith {
    /// The rows (`symbol` Utf8, `price` Float64, `volume` Int64, no NULLs) with the twelve columns.
    pub fn evaluate(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let [symbols, prices, volumes] = ["symbol", "price", "volume"].map(|name| {
            rows.column_by_name(name)
                .filter(|column| column.null_count() == 0)
        });
        let symbols = symbols
            .and_then(|c| c.as_string_opt::<i32>())
            .context("symbol")?;
        let prices = prices
            .and_then(|c| c.as_primitive_opt::<Float64Type>())
            .context("price")?;
        let volumes = volumes
            .and_then(|c| c.as_primitive_opt::<Int64Type>())
            .context("volume")?;
        let count = rows.num_rows();
        let mut columns: [Vec<f64>; 12] = std::array::from_fn(|_| vec![0.0; count]);
        let (prices, volumes) = (&prices.values()[..count], &volumes.values()[..count]);
        let mut seen = Vec::with_capacity(count);
        {
            let mut outputs = columns.each_mut().map(Vec::as_mut_slice);
            for row in 0..count {
                let symbol = self.symbol(symbols.value(row));
                let state = &mut self.states[symbol];
                seen.push(state.seen);
                let values = state.update(prices[row], volumes[row] as f64, &self.inverse);
                for (column, value) in outputs.iter_mut().zip(values) {
                    column[row] = value;
                }
            }
        }
        let mut arrays = rows.columns().to_vec();
        ensure!(
            arrays.len() == 3,
            "the rows have other columns than symbol, price and volume"
        );
        for (values, warm_up) in columns.into_iter().zip(WARM_UP) {
            let valid = BooleanBuffer::collect_bool(count, |row| seen[row] >= warm_up);
            let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
            let values = Float64Array::new(ScalarBuffer::from(values), nulls);
            arrays.push(Arc::new(values) as ArrayRef);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }

    #[inline]
    fn symbol(&mut self, name: &str) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.as_bytes());
        let hash = hasher.finish();
        if let Some(known) = self
            .table
            .find(hash, |known| *self.names[*known as usize] == *name)
        {
            return *known as usize;
        }
        self.names.push(name.into());
        self.hashes.push(hash);
        self.states.push(State::new());
        let number = self.states.len() - 1;
        self.table
            .insert_unique(hash, number as u32, |known| self.hashes[*known as usize]);
        number
    }
}

/// Everything about one symbol.
#[derive(Debug)]
struct State {
    seen: u32,
    price: f64,
    gain: f64,
    loss: f64,
    ema_12: f64,
    ema_26: f64,
    fast: f64,
    signal: f64,
    volumes: Window<60>,
    prices: Window<20>,
    spread: Spread<60>,
    past: [f64; 16],
}

impl State {
    fn new() -> Self {
        Self {
            seen: 0,
            price: 0.0,
            gain: 0.0,
            loss: 0.0,
            ema_12: 0.0,
            ema_26: 0.0,
            fast: 0.0,
            signal: 0.0,
            volumes: Window::new(),
            prices: Window::new(),
            spread: Spread::new(),
            past: [0.0; 16],
        }
    }

    #[inline]
    fn update(&mut self, price: f64, volume: f64, inverse: &[f64; 61]) -> [f64; 12] {
        let seen = self.seen;
        // Beyond the longest warm-up only the place in the ring of past prices matters.
        self.seen = if seen == u32::MAX {
            u32::MAX - 15
        } else {
            seen + 1
        };
        self.past[seen as usize % 16] = price;
        let lag = |rows: u32| self.past[seen.wrapping_sub(rows) as usize % 16];
        let lags = [lag(1), lag(5), lag(15)];
        let rsi = self.rsi(price, seen);
        self.ema_12 = average(self.ema_12, price, seen, 12);
        self.ema_26 = average(self.ema_26, price, seen, 26);
        if seen >= 14 {
            self.fast = average(self.fast, price, seen - 14, 12);
        }
        let macd = self.fast - self.ema_26;
        if seen >= 25 {
            self.signal = average(self.signal, macd, seen - 25, 9);
        }
        let volumes = self.volumes.push(volume) / f64::from((seen + 1).min(60));
        let prices = self.prices.push(price) / f64::from((seen + 1).min(20));
        let squares = self.spread.push(price, inverse);
        let deviation = (squares / f64::from(seen.clamp(1, 59))).sqrt();
        let hist = macd - self.signal;
        [
            lags[0],
            lags[1],
            lags[2],
            volumes,
            deviation,
            prices,
            self.ema_12,
            self.ema_26,
            macd,
            self.signal,
            hist,
            rsi,
        ]
    }

    #[inline]
    fn rsi(&mut self, price: f64, seen: u32) -> f64 {
        const INVERSE: f64 = 1.0 / 14.0;
        let change = price - self.price;
        self.price = price;
        let gain = if change > 0.0 { change } else { 0.0 };
        let loss = gain - change;
        match seen {
            0 => {}
            1..=14 => {
                self.gain += gain;
                self.loss += loss;
                if seen == 14 {
                    self.gain *= INVERSE;
                    self.loss *= INVERSE;
                }
            }
            _ => {
                self.gain += (gain - self.gain) * INVERSE;
                self.loss += (loss - self.loss) * INVERSE;
            }
        }
        let total = self.gain + self.loss;
        if total > 0.0 {
            100.0 * (self.gain / total)
        } else {
            50.0
        }
    }
}

/// An exponential average, seeded with the mean of its first `period` values.
#[inline]
fn average(before: f64, value: f64, seen: u32, period: u32) -> f64 {
    if seen >= period {
        return before + 2.0 / (f64::from(period) + 1.0) * (value - before);
    }
    let sum = before + value;
    if seen + 1 == period {
        sum / f64::from(period)
    } else {
        sum
    }
}

/// The sum of the last N values without subtraction; see the engine's `sliding`.
#[derive(Debug)]
struct Window<const N: usize> {
    position: usize,
    full: bool,
    newer: f64,
    slots: [f64; N],
}

impl<const N: usize> Window<N> {
    fn new() -> Self {
        Self {
            position: 0,
            full: false,
            newer: 0.0,
            slots: [0.0; N],
        }
    }

    #[inline]
    fn push(&mut self, value: f64) -> f64 {
        let position = self.position;
        self.slots[position] = value;
        self.newer = if position == 0 {
            value
        } else {
            self.newer + value
        };
        if position + 1 < N {
            self.position += 1;
            return if self.full {
                self.slots[position + 1] + self.newer
            } else {
                self.newer
            };
        }
        for slot in (0..N - 1).rev() {
            self.slots[slot] += self.slots[slot + 1];
        }
        (self.position, self.full) = (0, true);
        self.slots[0]
    }
}

/// The squared deviations of the last N values; see the engine's `sliding`.
#[derive(Debug)]
struct Spread<const N: usize> {
    position: usize,
    full: bool,
    older_base: f64,
    newer_base: f64,
    sum: f64,
    squares: f64,
    slots: [[f64; 2]; N],
}

impl<const N: usize> Spread<N> {
    fn new() -> Self {
        Self {
            position: 0,
            full: false,
            older_base: 0.0,
            newer_base: 0.0,
            sum: 0.0,
            squares: 0.0,
            slots: [[0.0; 2]; N],
        }
    }

    #[inline]
    fn push(&mut self, value: f64, inverse: &[f64; 61]) -> f64 {
        let position = self.position;
        self.slots[position][0] = value;
        if position + 1 == N {
            return self.turn(inverse);
        }
        self.position += 1;
        if position == 0 {
            (self.newer_base, self.sum, self.squares) = (value, 0.0, 0.0);
        }
        let distance = value - self.newer_base;
        self.sum += distance;
        self.squares += distance * distance;
        let mean = self.sum * inverse[position + 1];
        let squares = (self.squares - self.sum * mean).max(0.0);
        if !self.full {
            return squares;
        }
        let [older_mean, older_squares] = self.slots[position + 1];
        let apart = (mean - older_mean) + (self.newer_base - self.older_base);
        let weight = (N - 1 - position) as f64 * (position + 1) as f64 * inverse[N];
        squares + older_squares + apart * apart * weight
    }

    fn turn(&mut self, inverse: &[f64; 61]) -> f64 {
        let base = self.slots[N - 1][0];
        let (mut sum, mut squares) = (0.0, 0.0);
        for (count, slot) in self.slots.iter_mut().rev().enumerate() {
            let distance = slot[0] - base;
            sum += distance;
            squares += distance * distance;
            let mean = sum * inverse[count + 1];
            *slot = [mean, (squares - sum * mean).max(0.0)];
        }
        (self.position, self.full, self.older_base) = (0, true, base);
        self.slots[0][1]
    }
}
