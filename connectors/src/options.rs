//! `WITH (…)` into typed options: a connector declares a serde struct, [`parse`] fills it.
//!
//! The struct's field names are the known keys (`#[serde(rename = "rolling.size")]`); a field
//! named `prefix.*` collects every key below the prefix into [`Properties`]. `${NAME}` inside a
//! value is replaced from the environment; such values, and those of keys that look secret,
//! are never shown again.

mod fault;
mod text;
mod units;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;

use engine::stream::{is_secret, url_secrets};
use engine::{Error, Result, StreamSpec};
use serde::de::DeserializeOwned;

pub use fault::Fault;
pub use text::{Properties, Text};
pub use units::{Duration, Size};

use fault::Faults;
use value::{Options, Value};

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

/// An `Invalid` error about a table's option, for checks that a type cannot make. It carries its
/// [`faults`].
#[must_use]
pub fn invalid(stream: &StreamSpec, key: &str, message: &str) -> Error {
    refused(
        stream,
        vec![Fault::of(key, format!("option '{key}' {message}"))],
    )
}

/// What an error has against the options of a table, one by one; nothing where it is about
/// something else.
#[must_use]
pub fn faults(error: &Error) -> &[Fault] {
    let cause = std::error::Error::source(error);
    let faults = cause.and_then(|cause| cause.downcast_ref::<Faults>());
    faults.map_or(&[], |Faults(faults)| faults)
}

fn refused(stream: &StreamSpec, faults: Vec<Fault>) -> Error {
    Error::invalid(owner(stream)).caused_by(Faults(faults))
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

/// Reads the options; what is wrong with them is told together. Serde stops at the first, so the
/// option it stops at is taken out and the others are read again.
fn read<T: DeserializeOwned>(
    stream: &StreamSpec,
    wanted: impl Fn(&str) -> bool,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<T> {
    let (mut values, mut faults) = (BTreeMap::new(), vec![]);
    for (key, raw) in stream.options.iter().filter(|(key, _)| wanted(key)) {
        match substitute(raw, environment) {
            Ok(value) => {
                let secret = value.secret || is_secret(key);
                values.insert(key.clone(), Value { secret, ..value });
            }
            Err(what) => faults.push(Fault::of(key, format!("option '{key}' {what}"))),
        }
    }
    loop {
        let refusal = match T::deserialize(Options(&values)) {
            Ok(options) if faults.is_empty() => return Ok(options),
            Ok(_) => break,
            Err(refusal) => refusal,
        };
        let fault = Fault::told(refusal, &values);
        let is_there = |key: &String| stream.options.contains_key(key);
        match fault.key.clone().filter(is_there) {
            // It is missing because it was taken out.
            Some(key) if !values.contains_key(&key) => break,
            Some(key) => {
                values.remove(&key);
                faults.push(fault);
            }
            None => {
                let misspelt = |key: &String| faults.iter().any(|other| other.means(key));
                if !fault.key.as_ref().is_some_and(misspelt) {
                    faults.push(fault);
                }
                break;
            }
        }
    }
    Err(refused(stream, faults))
}

/// The parts of an option's value that are never shown, by bytes: all of it where the key looks
/// secret or is a header; the user and password of a URL, and the values of its query.
#[must_use]
pub fn secrets(key: &str, value: &str) -> Vec<Range<usize>> {
    if is_secret(key) || key.to_ascii_lowercase().starts_with("headers.") {
        return std::iter::once(0..value.len()).collect();
    }
    url_secrets(value)
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
