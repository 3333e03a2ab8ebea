//! Options given at submission: a text that names a host runs elsewhere unchanged.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, Result};

/// Options by table; they replace those of the DDL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    by_table: BTreeMap<String, BTreeMap<String, String>>,
}

impl Overrides {
    /// From texts like `trades.scan.startup.mode=earliest-offset`: the table ends at the first
    /// dot, the key at the first equals sign.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let (mut overrides, mut errors) = (Self::default(), vec![]);
        for text in texts {
            let text = text.as_ref();
            let parts = text.split_once('=').and_then(|(name, value)| {
                let (table, key) = name.split_once('.')?;
                Some((table.trim(), key.trim(), value.trim()))
            });
            match parts {
                Some((table, key, value)) if !table.is_empty() && !key.is_empty() => {
                    overrides.set(table, key, value);
                }
                _ => {
                    let message = format!("'{text}' does not set an option of a table");
                    let error = Error::invalid(message, Span::empty());
                    errors.push(error.hint("write table.key=value"));
                }
            }
        }
        if errors.is_empty() {
            Ok(overrides)
        } else {
            Err(errors)
        }
    }

    /// Sets one option of a table.
    pub fn set(&mut self, table: &str, key: &str, value: &str) {
        let options = self.by_table.entry(table.to_owned()).or_default();
        options.insert(key.to_owned(), value.to_owned());
    }

    /// The same options, of the tables that their names stand for (see [`super::named`]). What is
    /// set for a table by its exact name wins.
    pub(crate) fn folded(mut self, tables: &[String]) -> Self {
        let mut folded = BTreeMap::<String, BTreeMap<String, String>>::new();
        let (exact, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.by_table)
            .into_iter()
            .partition(|(name, _)| tables.contains(name));
        for (name, options) in others.into_iter().chain(exact) {
            let table = super::named(&name, tables.iter().map(String::as_str));
            let table = table.map_or(name.clone(), ToOwned::to_owned);
            folded.entry(table).or_default().extend(options);
        }
        self.by_table = folded;
        self
    }

    /// The options as they are named beside the text (`trades.rate`), each with its table.
    pub fn names(&self) -> impl Iterator<Item = (&str, String)> {
        let tables = self.by_table.iter();
        tables.flat_map(|(table, options)| {
            let name = move |key: &String| (table.as_str(), format!("{table}.{key}"));
            options.keys().map(name)
        })
    }

    /// The options of a table.
    pub(super) fn of(&self, table: &str) -> impl Iterator<Item = (&str, &str)> {
        let options = self.by_table.get(table).into_iter().flatten();
        options.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}
