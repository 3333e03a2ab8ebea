//! What is wrong with options, as data: `check` puts each at its place.

use std::collections::BTreeMap;
use std::fmt;

use super::nearest;
use super::value::{Refusal, Value};

/// What is wrong with one option of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The option; none where it is about all of them.
    pub key: Option<String>,
    /// Lower case, without a full stop, and without the table.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// The cause of an error about a table's options: at least one fault.
#[derive(Debug)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            let between = if number > 0 { "; and " } else { "" };
            write!(f, "{between}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

fn did_you_mean(key: &str) -> String {
    format!("did you mean '{key}'?")
}

impl Fault {
    pub(super) fn of(key: &str, message: String) -> Self {
        Self {
            key: Some(key.to_owned()),
            message,
            hint: None,
        }
    }

    /// Whether it is about an unknown option that means this one by the look of it.
    #[must_use]
    pub fn means(&self, key: &str) -> bool {
        self.hint.as_deref() == Some(&did_you_mean(key))
    }

    /// What the deserializer refused, in words; `values` are the options it read.
    pub(super) fn told(refusal: Refusal, values: &BTreeMap<String, Value>) -> Self {
        match refusal {
            Refusal::Missing(key) => Self {
                hint: Some(format!("write '{key}' = '…' in WITH")),
                ..Self::of(key, format!("option '{key}' is missing"))
            },
            Refusal::Unknown { key, known } => {
                let known = known.iter().copied();
                let hint = match nearest(&key, known.clone()) {
                    Some(name) => did_you_mean(name),
                    None if known.len() == 0 => "it has none of its own".to_owned(),
                    None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
                };
                Self {
                    hint: Some(hint),
                    ..Self::of(&key, format!("no option is called '{key}'"))
                }
            }
            Refusal::Value {
                key,
                expected,
                secret,
            } => {
                let key = key.unwrap_or_default();
                let text = match values.get(&key) {
                    Some(value) if !secret => value.text.as_str(),
                    _ => "***",
                };
                Self::of(
                    &key,
                    format!("option '{key}' is '{text}', expected {expected}"),
                )
            }
            Refusal::Custom {
                key, secret: true, ..
            } => {
                let key = key.unwrap_or_default();
                Self::of(&key, format!("option '{key}' is '***', which is not valid"))
            }
            Refusal::Custom {
                key: Some(key),
                message,
                ..
            } => Self::of(&key, format!("option '{key}': {message}")),
            Refusal::Custom { message, .. } => Self {
                key: None,
                message,
                hint: None,
            },
        }
    }
}
