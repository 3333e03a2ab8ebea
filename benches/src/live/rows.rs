//! Rows to publish, of about 250 B as JSON.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringBuilder};

use super::readers::now;

/// What rows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Indicators: numbers with all digits that a double has, which nobody can foresee.
    Indicators,
    /// Quotes and a bar: prices in cents, sizes.
    Quotes,
}

impl Content {
    fn whole(self) -> &'static [&'static str] {
        match self {
            Self::Indicators => &["volume"],
            Self::Quotes => &["volume", "trades", "bid_size", "ask_size"],
        }
    }

    fn doubles(self) -> &'static [&'static str] {
        match self {
            Self::Indicators => &[
                "price",
                "rsi_14",
                "sma_20",
                "ema_12",
                "ema_26",
                "macd",
                "volume_zscore",
            ],
            Self::Quotes => &[
                "open",
                "high",
                "low",
                "close",
                "bid",
                "ask",
                "turnover",
                "previous_close",
                "vwap",
            ],
        }
    }
}

/// A thousand symbols whose prices walk.
#[derive(Debug)]
pub(super) struct Market {
    content: Content,
    next: usize,
    random: u64,
    prices: Vec<f64>,
}

impl Market {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            next: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            prices: vec![100.0; 1_000],
        }
    }

    /// The next number between 0 and 1 (xorshift).
    fn number(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Rows that are born now.
    pub(super) fn rows(&mut self, count: usize) -> Result<RecordBatch> {
        let mut symbols = StringBuilder::new();
        let mut whole = vec![vec![]; self.content.whole().len()];
        let mut doubles = vec![vec![]; self.content.doubles().len()];
        for _ in 0..count {
            let symbol = self.next % self.prices.len();
            self.next += 1;
            symbols.append_value(format!("S{symbol:04}"));
            for column in &mut whole {
                column.push((self.number() * 5_000.0) as i64);
            }
            let price = self.prices[symbol] + self.number() - 0.5;
            self.prices[symbol] = price;
            for (column, double) in doubles.iter_mut().zip(self.doubles(price)) {
                column.push(double);
            }
        }
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("symbol", Arc::new(symbols.finish())),
            ("at", Arc::new(Int64Array::from_value(now(), count))),
        ];
        for (name, numbers) in self.content.whole().iter().zip(whole) {
            columns.push((name, Arc::new(Int64Array::from(numbers))));
        }
        for (name, numbers) in self.content.doubles().iter().zip(doubles) {
            columns.push((name, Arc::new(Float64Array::from(numbers))));
        }
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    /// What is told of a price.
    fn doubles(&mut self, price: f64) -> Vec<f64> {
        let cents = |price: f64| (price * 100.0).round() / 100.0;
        let content = self.content;
        let mut near = |share: f64| share * price + self.number();
        match content {
            Content::Indicators => {
                let [sma, fast, slow] = [0.99, 1.0, 1.01].map(&mut near);
                let (strength, score) = (100.0 * self.number(), 4.0 * self.number());
                let macd = fast - slow;
                vec![cents(price), strength, sma, fast, slow, macd, score - 2.0]
            }
            Content::Quotes => {
                let prices = [1.0, 1.01, 0.99, 1.0, 1.0, 1.0, 1_000.0, 1.0].map(&mut near);
                let mut doubles: Vec<f64> = prices.into_iter().map(cents).collect();
                doubles.push((price * 10_000.0).round() / 10_000.0);
                doubles
            }
        }
    }
}
