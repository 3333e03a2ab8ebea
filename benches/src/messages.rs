//! The messages of a market data topic, as its producer writes them: twelve fields of JSON.

use serde::{Deserialize, Serialize};

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quote<'a> {
    /// `S0042`.
    #[serde(borrow)]
    pub symbol: &'a str,
    /// ISO 8601 with microseconds.
    #[serde(borrow)]
    pub timestamp: &'a str,
    /// The close.
    pub price: f64,
    /// Shares.
    pub volume: i64,
    /// The day's.
    pub high: f64,
    /// The day's.
    pub low: f64,
    /// The day's.
    pub open: f64,
    /// Since the open.
    pub change: f64,
    /// The same in percent.
    pub change_percent: f64,
    /// In dollars.
    pub market_cap: i64,
    /// Price by earnings.
    pub pe_ratio: f64,
    /// A share of the price.
    pub dividend_yield: f64,
}

/// `count` messages over `symbols` symbols, a millisecond apart: the same in every run.
#[must_use]
pub fn quotes(symbols: u64, count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let cents = |value: f64| (value * 100.0).round() / 100.0;
    let mut prices: Vec<f64> = (0..symbols)
        .map(|symbol| 20.0 + (symbol % 400) as f64)
        .collect();
    let message = |row| {
        let symbol = next(symbols) as usize;
        prices[symbol] *= 1.0 + (next(2_001) as f64 - 1_000.0) * 1e-6;
        let (price, open) = (prices[symbol], 20.0 + (symbol % 400) as f64);
        let (second, millisecond) = (row / 1_000, row % 1_000);
        let (hour, minute, second) = (second / 3_600 % 24, second / 60 % 60, second % 60);
        let day = 1 + row / 86_400_000;
        format!(
            "{{\"symbol\": \"S{symbol:04}\", \
             \"timestamp\": \"2024-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}000\", \
             \"price\": {}, \"volume\": {}, \"high\": {}, \"low\": {}, \"open\": {open}, \
             \"change\": {}, \"change_percent\": {}, \"market_cap\": {}, \"pe_ratio\": {}, \
             \"dividend_yield\": {}}}",
            cents(price),
            100 + next(100_000),
            cents(price * 1.01),
            cents(price * 0.99),
            cents(price - open),
            cents((price - open) / open * 100.0),
            1_000_000_000 + next(2_000_000_000_000),
            5.0 + next(4_000) as f64 / 100.0,
            next(500) as f64 / 10_000.0,
        )
    };
    (0..count).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_quotes_in_order_of_time() -> anyhow::Result<()> {
        let messages = quotes(7, 100);
        let times = messages.iter().map(|message| {
            Ok(sonic_rs::from_str::<Quote<'_>>(message)?
                .timestamp
                .to_owned())
        });
        let times = times.collect::<anyhow::Result<Vec<_>>>()?;
        assert!(times.is_sorted());
        assert_eq!(times[99], "2024-01-01T00:00:00.099000");
        Ok(())
    }
}
