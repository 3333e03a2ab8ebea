//! `WITH (…)`: the options that all tables share are taken out, the rest is the connector's.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::tokenizer::Span;
use engine::Emit;
use engine::graph::Timing;

use super::{Column, Origin, Overrides, duration};
use crate::error::{Error, nearest};
use crate::statement::CreateTable;

/// The options that every table may have, whatever its connector.
const SHARED: [&str; 9] = [
    "connector",
    "watermark.idle-timeout",
    "watermark.max-future-skew",
    "watermark.silence",
    "archive",
    "key",
    "shards",
    "dead-letter",
    "emit",
];

/// The options of a table, sorted.
#[derive(Default)]
pub(super) struct Options {
    pub(super) connector: String,
    pub(super) timing: Timing,
    pub(super) archive: Option<String>,
    pub(super) key: Vec<String>,
    pub(super) emit: Option<Emit>,
    /// What the connector alone knows.
    pub(super) own: BTreeMap<String, String>,
    pub(super) places: BTreeMap<String, Span>,
    /// The keys of the overrides.
    pub(super) given: BTreeSet<String>,
}

/// Reads the options of a table; what is wrong with them is added to `errors`.
pub(super) fn read(
    table: &CreateTable,
    name: &str,
    columns: &[Column],
    overrides: &Overrides,
    errors: &mut Vec<Error>,
) -> Options {
    let mut options = Options::default();
    let given = overrides.of(name).map(|(key, _)| key.to_owned());
    options.given = given.collect();
    for (key, (value, span)) in gather(table, name, overrides, &mut options.places, errors) {
        if let Err(error) = options.take(&key, &value, span, columns) {
            errors.push(match options.given.contains(&key) {
                true => error.of_option(format!("{name}.{key}")),
                false => error,
            });
        }
    }
    if options.connector.is_empty() {
        let message = format!("table {name} has no connector");
        let error = Error::invalid(message, table.name.span);
        errors.push(error.hint("write WITH ('connector' = 'kafka', …)"));
    }
    options
}

type Gathered = BTreeMap<String, (String, Span)>;

/// The options of the DDL, replaced by the overrides. Another connector has other options: with
/// it only the shared ones stay.
fn gather(
    table: &CreateTable,
    name: &str,
    overrides: &Overrides,
    places: &mut BTreeMap<String, Span>,
    errors: &mut Vec<Error>,
) -> Gathered {
    let mut gathered = Gathered::new();
    for (key, value) in &table.options {
        let place = if key.text == "connector" {
            value.span
        } else {
            key.span
        };
        if places.insert(key.text.clone(), place).is_some() {
            let error = Error::invalid(format!("option '{}' is set twice", key.text), key.span);
            errors.push(error.hint("keep one"));
        }
        gathered.insert(key.text.clone(), (value.text.clone(), value.span));
    }
    let connector = gathered
        .get("connector")
        .map(|(connector, _)| connector.clone());
    let given = overrides.of(name).find(|(key, _)| *key == "connector");
    if given.is_some_and(|(_, given)| connector.as_deref() != Some(given)) {
        gathered.retain(|key, _| SHARED.contains(&key.as_str()));
    }
    for (key, value) in overrides.of(name) {
        let place = gathered.get(key).map_or(table.name.span, |(_, span)| *span);
        gathered.insert(key.to_owned(), (value.to_owned(), place));
    }
    gathered
}

impl Options {
    fn take(
        &mut self,
        key: &str,
        value: &str,
        span: Span,
        columns: &[Column],
    ) -> Result<(), Error> {
        let wrong = |hint: &str| {
            let message = format!("option '{key}' cannot be '{value}'");
            Error::invalid(message, span).hint(hint)
        };
        let time = || match (value, duration::parse(value)) {
            ("none", _) => Ok(None),
            (_, Some(duration)) => Ok(Some(duration)),
            _ => Err(wrong("write '5 s', or 'none'")),
        };
        match key {
            "connector" => value.clone_into(&mut self.connector),
            "watermark.idle-timeout" => self.timing.idle_timeout = time()?,
            "watermark.max-future-skew" => self.timing.max_future_skew = time()?,
            "watermark.silence" => {
                self.timing.advance_in_silence = match value {
                    "advance" => true,
                    "wait" => false,
                    _ => return Err(wrong("write 'advance' or 'wait'")),
                }
            }
            "archive" if value.is_empty() => return Err(wrong("write a path")),
            "archive" => self.archive = Some(value.to_owned()),
            "key" => self.key = keys(value, span, columns)?,
            "shards" if value != "1" => {
                return Err(wrong("write '1': more shards are not available yet"));
            }
            "dead-letter" if value != "table" => {
                let hint = "write 'table': rejected rows go to the table's $dead, the job lives";
                return Err(wrong(hint));
            }
            "shards" | "dead-letter" => {}
            "emit" => {
                self.emit = Some(match value {
                    "now" => Emit::Now,
                    "after-commit" => Emit::AfterCommit,
                    _ => return Err(wrong("write 'now' or 'after-commit'")),
                });
            }
            _ if key.starts_with("watermark.") => {
                return Err(unknown(key, self.places.get(key).copied().unwrap_or(span)));
            }
            _ => {
                self.own.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }
}

fn unknown(key: &str, span: Span) -> Error {
    let known = SHARED
        .iter()
        .copied()
        .filter(|known| known.starts_with("watermark."));
    let error = Error::unknown("option", key, span, known.clone());
    match nearest(key, known.clone()) {
        Some(_) => error,
        None => error.hint(known.collect::<Vec<_>>().join(", ")),
    }
}

/// The columns of `'key' = 'symbol, venue'`: of a table that is written the key of its messages, of
/// one that is read what has all its rows on one split.
fn keys(value: &str, span: Span, columns: &[Column]) -> Result<Vec<String>, Error> {
    let readable = |column: &&Column| matches!(column.origin, Origin::Stored | Origin::Metadata);
    let names = || {
        columns
            .iter()
            .filter(readable)
            .map(|column| column.field.name().as_str())
    };
    let find = |key: &str| {
        let found = names().find(|name| *name == key);
        let found = found.or_else(|| names().find(|name| name.eq_ignore_ascii_case(key)));
        let unknown = || Error::unknown("stored column", key, span, names());
        found.map(ToOwned::to_owned).ok_or_else(unknown)
    };
    value.split(',').map(|key| find(key.trim())).collect()
}
