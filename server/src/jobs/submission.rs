//! A job as it is asked for.

use std::collections::BTreeMap;

use sql::catalog::Overrides;

use super::Refused;
use crate::script::{self, Plan};
use crate::store::{jobs::Record, now};

/// The longest name of a job, in characters.
const LONGEST_NAME: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submission {
    /// The job's name; else the one that the text sets.
    pub(crate) name: Option<String>,
    /// The text.
    pub(crate) sql: String,
    /// Options by `table.key`.
    pub(crate) options: BTreeMap<String, String>,
}

impl Submission {
    /// The record of a new job, and its plan.
    pub(super) async fn record(self) -> Result<(Record, Plan), Refused> {
        let plan = plan(self.sql.clone(), self.options.clone()).await?;
        let set = plan.script.settings.name.clone();
        let name = self
            .name
            .or(set)
            .ok_or_else(|| engine::Error::invalid("the job has no name: give one as \"name\""))?;
        check_name(&name)?;
        let options = serde_json::to_string(&self.options).map_err(|error| {
            engine::Error::internal("the options cannot be written").caused_by(error)
        })?;
        let record = Record {
            id: uuid::Uuid::now_v7().to_string(),
            name,
            sql: self.sql,
            options,
            plan: plan.graph.to_string(),
            state: "created".to_owned(),
            reason: None,
            generation: 0,
            figures: None,
            created_at: now(),
            started_at: None,
        };
        Ok((record, plan))
    }
}

/// The plan of a text, or everything that is wrong with it. A long text is long work: it holds up
/// no other request.
pub(crate) async fn plan(sql: String, options: BTreeMap<String, String>) -> Result<Plan, Refused> {
    let planning = tokio::task::spawn_blocking(move || planned(&sql, &options));
    let broken = |error| engine::Error::internal("planning broke down").caused_by(error);
    planning.await.map_err(broken)?
}

/// [`plan`], for who is held up by nothing else.
pub(super) fn planned(sql: &str, options: &BTreeMap<String, String>) -> Result<Plan, Refused> {
    let plan = script::compile_to_run(sql, &overrides(options)?);
    plan.map_err(|fault| Refused::Script(sql.to_owned(), fault.errors()))
}

/// Refuses a name that is not plain: names go into paths, topics and labels.
pub(crate) fn check_name(name: &str) -> engine::Result<()> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let length = name.chars().count();
    if (1..=LONGEST_NAME).contains(&length) && name.chars().all(plain) {
        return Ok(());
    }
    Err(engine::Error::invalid(format!(
        "a name has 1 to {LONGEST_NAME} of the letters a to z, A to Z, 0 to 9, - and _"
    )))
}

/// Options by `table.key` as what replaces those of the text.
fn overrides(options: &BTreeMap<String, String>) -> Result<Overrides, Refused> {
    let (mut overrides, mut errors) = (Overrides::default(), vec![]);
    for (name, value) in options {
        match name.split_once('.') {
            Some((table, key)) if !table.is_empty() && !key.is_empty() => {
                overrides.set(table, key, value);
            }
            _ => {
                let message = format!("'{name}' names no option of a table");
                let error = sql::Error::of_whole(message).hint("write table.key");
                errors.push(error.of_option(name));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(overrides),
        false => Err(Refused::Script(String::new(), errors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!(check_name("vwap-1_Min").is_ok());
        for name in ["", "a b", "a/b", "..", "ä", &"a".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn options_name_a_table_and_a_key() {
        let options = |name: &str| BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        assert!(overrides(&options("trades.properties.x")).is_ok());
        for name in ["trades", ".rate", "trades.", ""] {
            let Err(Refused::Script(_, errors)) = overrides(&options(name)) else {
                panic!("{name}");
            };
            assert_eq!(errors[0].option.as_deref(), Some(name));
        }
    }
}
