//! `WITH (…)` into typed options: a connector declares a serde struct, [`parse`] fills it.
//!
//! The struct's field names are the known keys (`#[serde(rename = "rolling.size")]`); a field
//! named `prefix.*` collects every key below the prefix into [`Properties`]. `${NAME}` inside a
//! value is replaced from the environment; such values, and those of keys that look secret,
//! are never shown again.

mod text;
mod units;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;

use engine::stream::is_secret;
use engine::{Error, Result, StreamSpec};
use serde::de::DeserializeOwned;

pub use text::{Properties, Text};
pub use units::{Duration, Size};

use value::{Fault, Options, Value};

/// Reads all options of the table. An unknown key is an error that names the nearest known one.
pub fn parse<T: DeserializeOwned>(stream: &StreamSpec) -> Result<T> {
    read(stream, |_| true, &environment)
}

/// Reads the options of a connector whose rows are bytes: the keys of the format (`format`,
/// `json.*`) are left to [`format::decoder`](crate::format::decoder) and
/// [`format::encoder`](crate::format::encoder).
pub fn parse_transport<T: DeserializeOwned>(stream: &StreamSpec) -> Result<T> {
    read(stream, |key| !crate::format::owns(key), &environment)
}

/// Reads the options of the format alone.
pub(crate) fn parse_format<T: DeserializeOwned>(stream: &StreamSpec) -> Result<T> {
    read(stream, crate::format::owns, &environment)
}

/// An `Invalid` error about a table's option, for checks that a type cannot make.
#[must_use]
pub fn invalid(stream: &StreamSpec, key: &str, message: &str) -> Error {
    Error::invalid(format!("{}: option '{key}' {message}", owner(stream)))
}

/// The candidate that a mistyped name most likely means, if one is near enough.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let distance = |c: &str| strsim::damerau_levenshtein(&lower, &c.to_lowercase());
    let best = candidates
        .into_iter()
        .map(|c| (distance(c), c))
        .min_by_key(|(d, _)| *d)?;
    let limit = (name.chars().count().max(best.1.chars().count()) / 3).max(1);
    (best.0 <= limit).then_some(best.1)
}

/// When rows that are written are shown live: every table may say so, also one whose connector has
/// no such option of its own.
const EMIT: &str = "emit";

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How messages name a table.
fn owner(stream: &StreamSpec) -> String {
    format!(
        "table '{}' with connector '{}'",
        stream.name, stream.connector
    )
}

fn read<T: DeserializeOwned>(
    stream: &StreamSpec,
    wanted: impl Fn(&str) -> bool,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<T> {
    let mut values = BTreeMap::new();
    for (key, raw) in stream.options.iter().filter(|(key, _)| wanted(key)) {
        let value = substitute(raw, environment).map_err(|what| invalid(stream, key, &what))?;
        let secret = value.secret || is_secret(key);
        values.insert(key.clone(), Value { secret, ..value });
    }
    let mut parsed = T::deserialize(Options(&values));
    if let Err(Fault::Unknown { key, .. }) = &parsed
        && key == EMIT
    {
        let emit = values.remove(EMIT).map(|value| value.text);
        let emit = emit.unwrap_or_default();
        if !["now", "after-commit"].contains(&emit.as_str()) {
            let what = format!("is '{emit}', expected 'now' or 'after-commit'");
            return Err(invalid(stream, EMIT, &what));
        }
        parsed = T::deserialize(Options(&values));
    }
    parsed.map_err(|fault| {
        let table = owner(stream);
        Error::invalid(match fault {
            Fault::Missing(key) => {
                format!("{table}: option '{key}' is missing; write '{key}' = '…' in WITH")
            }
            Fault::Unknown { key, known } => {
                let known = known.iter().copied();
                let hint = match nearest(&key, known.clone()) {
                    Some(name) => format!("did you mean '{name}'?"),
                    None if known.len() == 0 => "it has none of its own".to_owned(),
                    None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
                };
                format!("{table}: no option is called '{key}'; {hint}")
            }
            Fault::Value {
                key,
                expected,
                secret,
            } => {
                let key = key.unwrap_or_default();
                let text = match values.get(&key) {
                    Some(value) if !secret => value.text.as_str(),
                    _ => "***",
                };
                format!("{table}: option '{key}' is '{text}', expected {expected}")
            }
            Fault::Custom {
                key, secret: true, ..
            } => {
                format!(
                    "{table}: option '{}' is '***', which is not valid",
                    key.unwrap_or_default()
                )
            }
            Fault::Custom {
                key: Some(key),
                message,
                ..
            } => {
                format!("{table}: option '{key}': {message}")
            }
            Fault::Custom { message, .. } => format!("{table}: {message}"),
        })
    })
}

/// The parts of an option's value that are never shown, by position: all of it where the key looks
/// secret or is a header; the user and password of a URL, and the values of its query.
#[must_use]
pub fn secrets(key: &str, value: &[char]) -> Vec<Range<usize>> {
    if is_secret(key) || key.to_ascii_lowercase().starts_with("headers.") {
        return std::iter::once(0..value.len()).collect();
    }
    let Some(scheme) = value.windows(3).position(|part| part == [':', '/', '/']) else {
        return vec![];
    };
    let start = scheme + 3;
    let ends = |from: usize, stops: &[char]| {
        let rest = value[from..].iter();
        let length = rest.take_while(|letter| !stops.contains(letter)).count();
        from + length
    };
    let path = ends(start, &['/', '?', '#']);
    // A password may hold what ends a host.
    let at = value[start..].iter().rposition(|letter| *letter == '@');
    let at = at.map(|at| start + at);
    let query = ends(start, &['?']);
    let mut hidden: Vec<_> = at
        .filter(|at| *at < path.max(query))
        .map(|at| start..at)
        .into_iter()
        .collect();
    let mut from = query;
    while from < value.len() {
        let end = ends(from, &['&', '#']);
        let name = ends(from, &['=', '&', '#']);
        if name < end {
            hidden.push(name + 1..end);
        }
        from = end + 1;
    }
    hidden
}

/// Replaces every `${NAME}`.
fn substitute(raw: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Value, String> {
    let mut value = Value {
        text: String::with_capacity(raw.len()),
        secret: false,
    };
    let mut rest = raw;
    while let Some(start) = rest.find("${") {
        value.text.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let Some(end) = after.find('}') else {
            return Err("has a '${' without its '}'".to_owned());
        };
        let name = &after[..end];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!(
                "has '${{{name}}}', which is not the name of a variable"
            ));
        }
        let Some(text) = environment(name) else {
            return Err(format!(
                "needs the environment variable {name}, which is not set"
            ));
        };
        value.text.push_str(&text);
        value.secret = true;
        rest = &after[end + 1..];
    }
    value.text.push_str(rest);
    Ok(value)
}

#[cfg(test)]
mod tests;
