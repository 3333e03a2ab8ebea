//! The demo's live table: the last row of every symbol, as the sinks get them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use async_trait::async_trait;
use engine::{Emit, Epoch, Result, Sink};

/// The figures of a row that are shown: column of the table `indicators`, heading, decimals.
const FIGURES: [(&str, &str, usize); 7] = [
    ("price", "price", 2),
    ("rsi_14", "rsi 14", 1),
    ("sma_20", "sma 20", 2),
    ("ema_12", "ema 12", 2),
    ("ema_26", "ema 26", 2),
    ("macd", "macd", 3),
    ("anomaly", "anomaly", 1),
];

/// What is known of a symbol.
#[derive(Debug, Default)]
struct Line {
    symbol: String,
    figures: [Option<f64>; FIGURES.len()],
    alert: String,
}

/// The table; symbols in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Board {
    lines: Vec<Line>,
    places: HashMap<String, usize>,
    /// When the first row came.
    first: Option<Instant>,
}

/// A board that sinks write and the terminal reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Board>>);

impl Shared {
    /// The board, for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// When the first row came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    fn line(&mut self, symbol: &str) -> &mut Line {
        let place = if let Some(place) = self.places.get(symbol) {
            *place
        } else {
            self.places.insert(symbol.to_owned(), self.lines.len());
            self.lines.push(Line {
                symbol: symbol.to_owned(),
                ..Line::default()
            });
            self.lines.len() - 1
        };
        &mut self.lines[place]
    }

    /// Takes rows of the table `indicators`.
    fn indicators(&mut self, rows: &RecordBatch) -> Result<()> {
        let symbols = texts(rows, "symbol")?;
        let columns = FIGURES.map(|(column, _, _)| numbers(rows, column));
        for row in 0..rows.num_rows() {
            let line = self.line(symbols.value(row));
            for (figure, column) in line.figures.iter_mut().zip(&columns) {
                let column = column.as_ref().ok();
                let column = column.filter(|column| column.is_valid(row));
                *figure = column.map(|column| column.value(row));
            }
        }
        if rows.num_rows() > 0 {
            self.first.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Takes rows of the table `alerts`.
    fn alerts(&mut self, rows: &RecordBatch) -> Result<()> {
        let (symbols, reasons) = (texts(rows, "symbol")?, texts(rows, "reason")?);
        let times = cast(column(rows, "ts")?, &DataType::Utf8)?;
        let times = times.as_string::<i32>();
        for row in 0..rows.num_rows() {
            let time = times.value(row).get(11..19).unwrap_or_default();
            self.line(symbols.value(row)).alert = format!("{time} {}", reasons.value(row));
        }
        Ok(())
    }

    /// The table, at most so many symbols.
    pub(crate) fn draw(&self, most: usize) -> String {
        let mut text = format!("{:10}", "symbol");
        for (_, heading, _) in FIGURES {
            let _ = write!(text, " {heading:>10}");
        }
        text.push_str("  last alert\n");
        for line in self.lines.iter().take(most) {
            let _ = write!(text, "{:10}", line.symbol);
            for (figure, (_, _, decimals)) in line.figures.iter().zip(FIGURES) {
                let _ = match figure {
                    Some(figure) => write!(text, " {figure:>10.decimals$}"),
                    None => write!(text, " {:>10}", "-"),
                };
            }
            let _ = writeln!(text, "  {}", line.alert);
        }
        if self.lines.len() > most {
            let _ = writeln!(text, "… and {} more symbols", self.lines.len() - most);
        }
        text
    }
}

fn column<'r>(rows: &'r RecordBatch, name: &str) -> Result<&'r arrow::array::ArrayRef> {
    Ok(rows.column(rows.schema_ref().index_of(name)?))
}

fn texts(rows: &RecordBatch, name: &str) -> Result<StringArray> {
    Ok(cast(column(rows, name)?, &DataType::Utf8)?
        .as_string()
        .clone())
}

fn numbers(rows: &RecordBatch, name: &str) -> Result<Float64Array> {
    let column = cast(column(rows, name)?, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().clone())
}

/// Which table a tap sits at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `indicators`.
    Indicators,
    /// `alerts`.
    Alerts,
}

/// A sink that also shows its rows on the board.
pub(crate) struct Tap {
    /// Where the rows go.
    pub(crate) sink: Box<dyn Sink>,
    /// Which they are.
    pub(crate) table: Table,
    /// Where they are shown.
    pub(crate) board: Shared,
}

#[async_trait]
impl Sink for Tap {
    fn emit(&self) -> Emit {
        self.sink.emit()
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        {
            let mut board = self.board.lock();
            for batch in rows {
                match self.table {
                    Table::Indicators => board.indicators(batch)?,
                    Table::Alerts => board.alerts(batch)?,
                }
            }
        }
        self.sink.publish(epoch, rows).await
    }

    async fn published(&mut self) -> Result<Epoch> {
        self.sink.published().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, TimestampNanosecondArray};

    use super::*;

    fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn the_last_row_of_each_symbol_is_shown() {
        let mut board = Board::default();
        let symbols: ArrayRef = Arc::new(StringArray::from(vec!["A", "B", "A"]));
        let prices: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.5]));
        board
            .indicators(&rows(vec![("symbol", symbols), ("price", prices)]))
            .unwrap();
        let symbol: ArrayRef = Arc::new(StringArray::from(vec!["B"]));
        let reason: ArrayRef = Arc::new(StringArray::from(vec!["overbought"]));
        let ts: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![3_661_000_000_000]));
        board
            .alerts(&rows(vec![
                ("symbol", symbol),
                ("reason", reason),
                ("ts", ts),
            ]))
            .unwrap();
        let drawn = board.draw(10);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with("A                3.50          -"),
            "{drawn}"
        );
        assert!(lines[2].ends_with("01:01:01 overbought"), "{drawn}");
        assert!(board.draw(1).contains("and 1 more"));
    }
}
