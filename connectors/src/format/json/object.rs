//! The members of an object: a table's columns, or the fields of a STRUCT.

use std::collections::HashMap;
use std::fmt;

use arrow::datatypes::Fields;
use engine::Result;

use super::column::{Column, Context};
use super::scan::{self, Kind, MAX_DEPTH, Scanner};

/// What is wrong with a message, and at which field.
///
/// Boxed inside, so that the way of good values carries one word.
#[derive(Debug)]
pub(super) struct Fault(Box<Finding>);

#[derive(Debug)]
struct Finding {
    path: String,
    reason: String,
}

impl Fault {
    #[cold]
    pub(super) fn new(reason: String) -> Self {
        let path = String::new();
        Self(Box::new(Finding { path, reason }))
    }

    #[cold]
    pub(super) fn at(name: &str, reason: &str) -> Self {
        Self::new(reason.to_owned()).under(name)
    }

    /// The same fault inside the field of that name.
    #[cold]
    pub(super) fn under(mut self, name: &str) -> Self {
        let inner = std::mem::take(&mut self.0.path);
        self.0.path = if inner.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{inner}")
        };
        self
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault::new(reason)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.is_empty() {
            f.write_str(&self.0.reason)
        } else {
            write!(f, "field '{}': {}", self.0.path, self.0.reason)
        }
    }
}

/// Names up to this many are compared one by one.
const FEW: usize = 8;

/// The columns of an object and how their names are found.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) columns: Vec<Column>,
    index: HashMap<Box<[u8]>, usize>,
    /// Per place in the object the column met there last: producers keep an order.
    order: Vec<usize>,
    rows: usize,
}

/// A place in the object where no column's field stood.
const UNKNOWN: usize = usize::MAX;

impl Members {
    pub(super) fn new(fields: &Fields) -> Result<Self> {
        let columns = fields.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
        let named = |(i, column): (usize, &Column)| (Box::from(column.name().as_bytes()), i);
        let index = columns.iter().enumerate().map(named).collect();
        Ok(Self {
            order: (0..columns.len()).collect(),
            columns,
            index,
            rows: 0,
        })
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Forgets all rows after the columns were taken.
    pub(super) fn restart(&mut self) {
        self.rows = 0;
    }

    /// Cuts all columns back to so many rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.columns
            .iter_mut()
            .for_each(|column| column.truncate(rows));
        self.rows = rows;
    }

    /// Appends NULL to every member, whatever their declaration: the whole object is NULL.
    pub(super) fn pad(&mut self) {
        self.columns.iter_mut().for_each(Column::pad);
        self.rows += 1;
    }

    /// Appends the object that the text goes on with. After an error the columns must be cut
    /// back to the rows before.
    pub(super) fn append(
        &mut self,
        scanner: &mut Scanner<'_>,
        context: &mut Context,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(scan::too_deep()));
        }
        let row = self.rows;
        scanner.expect(b'{')?;
        let mut place = 0;
        let mut found = 0;
        while scanner.more(place == 0, b'}')? {
            let name = scanner.string()?;
            let column = if name.escaped {
                context.scratch.clear();
                scan::unescape(name.bytes, &mut context.scratch)?;
                self.find(place, &context.scratch)
            } else {
                self.find(place, name.bytes)
            };
            scanner.expect(b':')?;
            place += 1;
            let Some(column) = column.and_then(|i| self.columns.get_mut(i)) else {
                scanner.skip(depth, &mut context.scratch)?;
                continue;
            };
            if column.len() > row {
                return Err(Fault::at(column.name(), "is there more than once"));
            }
            column.append(scanner, context, depth)?;
            found += 1;
        }
        if found < self.columns.len() {
            for column in self.columns.iter_mut().filter(|column| column.len() == row) {
                column.append_null("is missing, the column is NOT NULL")?;
            }
        }
        self.rows = row + 1;
        Ok(())
    }

    /// The column of the field at a place in the object.
    #[inline]
    fn find(&mut self, place: usize, name: &[u8]) -> Option<usize> {
        let guess = self.order.get(place).copied().unwrap_or(UNKNOWN);
        if self
            .columns
            .get(guess)
            .is_some_and(|column| column.name().as_bytes() == name)
        {
            return Some(guess);
        }
        let found = if self.columns.len() <= FEW {
            self.columns
                .iter()
                .position(|column| column.name().as_bytes() == name)
        } else {
            self.index.get(name).copied()
        };
        if let (Some(guess), Some(found)) = (self.order.get_mut(place), found) {
            *guess = found;
        } else if place < 4 * self.columns.len() && place == self.order.len() {
            self.order.push(found.unwrap_or(UNKNOWN));
        }
        found
    }
}

/// Whether the text is anything but an object, for the reason.
pub(super) fn not_an_object(kind: Kind) -> Option<String> {
    (kind != Kind::Object).then(|| format!("expected a JSON object, found {}", kind.name()))
}
