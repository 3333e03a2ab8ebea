//! What the connectors have against the options of a script's tables.

use std::collections::BTreeSet;

use connectors::Owner;
use sql::Script;
use sql::catalog::Table;

/// All wrong options of all tables, read, written or neither.
pub(super) fn errors(script: &Script) -> Vec<sql::Error> {
    let (read, written) = (script.read_names(), script.written_names());
    let mut errors = vec![];
    for (name, table) in &script.catalog.tables {
        let found = match (read.contains(name), written.contains(name)) {
            (true, true) => {
                let mut found = wrong(table, as_source);
                for error in wrong(table, as_sink) {
                    if !found.contains(&error) {
                        found.push(error);
                    }
                }
                found
            }
            (true, false) => wrong(table, as_source),
            (false, true) => wrong(table, as_sink),
            (false, false) => either(table),
        };
        errors.extend(found);
    }
    errors
}

/// A table that nothing uses may be meant for reading or for writing.
fn either(table: &Table) -> Vec<sql::Error> {
    let found = wrong(table, as_source);
    if found.is_empty() {
        return found;
    }
    if as_sink(table).is_ok() {
        return vec![];
    }
    // Who only writes says so at the connector, which is well.
    let at_option = |error: &sql::Error| table.option_in(&error.message).is_some();
    if found.iter().any(at_option) {
        found
    } else {
        wrong(table, as_sink)
    }
}

type Check = fn(&Table) -> engine::Result<()>;

fn as_source(table: &Table) -> engine::Result<()> {
    let connector = connectors::find(&table.stream.connector)?;
    connector.source(&table.stream).map(|_| ())
}

fn as_sink(table: &Table) -> engine::Result<()> {
    let owner = Owner {
        job: "check".to_owned(),
        shard: 0,
    };
    let connector = connectors::find(&table.stream.connector)?;
    connector.sink(&table.stream, &owner).map(|_| ())
}

/// A connector stops at its first error: the option that it names is taken out, and it is asked
/// again, until it names none, or one that it misses only now.
fn wrong(table: &Table, check: Check) -> Vec<sql::Error> {
    let mut errors = vec![];
    let mut asked = table.clone();
    let mut taken = BTreeSet::new();
    // Without a connector there is an error already, and nobody to ask.
    while !asked.stream.connector.is_empty() {
        let Err(error) = check(&asked) else { break };
        let placed = table.place(&error);
        if taken
            .iter()
            .any(|key: &String| placed.message.contains(&format!("'{key}'")))
        {
            break;
        }
        let option = table.option_in(&placed.message).map(str::to_owned);
        let unknown_connector = error.kind() == engine::ErrorKind::NotFound;
        // What is missing from wrong columns follows from what is wrong with them.
        if table.sound || option.is_some() || unknown_connector {
            errors.push(placed);
        }
        match option.filter(|key| asked.stream.options.remove(key).is_some()) {
            Some(key) => taken.insert(key),
            None => break,
        };
    }
    errors
}
