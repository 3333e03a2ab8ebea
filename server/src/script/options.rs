//! What the connectors have against the options of a script's tables.

use connectors::Owner;
use connectors::options::{self, Fault};
use engine::ErrorKind;
use sql::Script;
use sql::catalog::Table;

/// All wrong options of all tables, read, written or neither.
pub(super) fn errors(script: &Script) -> Vec<sql::Error> {
    let (read, written) = (script.read_names(), script.written_names());
    let mut errors = vec![];
    for (name, table) in &script.catalog.tables {
        let found = match (read.contains(name), written.contains(name)) {
            (true, true) => {
                let mut found = wrong(table, as_source).errors;
                for error in wrong(table, as_sink).errors {
                    if !found.contains(&error) {
                        found.push(error);
                    }
                }
                found
            }
            (true, false) => wrong(table, as_source).errors,
            (false, true) => wrong(table, as_sink).errors,
            (false, false) => either(table),
        };
        errors.extend(found);
    }
    errors
}

/// A table that nothing uses may be meant for reading or for writing.
fn either(table: &Table) -> Vec<sql::Error> {
    let found = wrong(table, as_source);
    if found.errors.is_empty() || as_sink(table).is_ok() {
        return vec![];
    }
    // Who only writes says so, and has nothing against the options.
    match found.options {
        true => found.errors,
        false => wrong(table, as_sink).errors,
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

/// What a connector has against a table.
#[derive(Default)]
struct Wrong {
    errors: Vec<sql::Error>,
    /// Whether options of the table are at fault, not the table as a whole.
    options: bool,
}

/// A connector reads all options before it looks at what they mean, and then stops at the first:
/// the options at fault are taken out and it is asked again, until it has nothing against another.
fn wrong(table: &Table, check: Check) -> Wrong {
    let (mut wrong, mut told) = (Wrong::default(), vec![]);
    let mut asked = table.clone();
    // Without a connector there is an error already, and nobody to ask.
    while !asked.stream.connector.is_empty() {
        let Err(error) = check(&asked) else { break };
        let faults = options::faults(&error);
        if faults.is_empty() {
            // What is missing from wrong columns follows from what is wrong with them.
            if table.sound || error.kind() == ErrorKind::NotFound {
                wrong.errors.push(table.place(&error));
            }
            break;
        }
        let before = asked.stream.options.len();
        for fault in faults {
            let key = fault.key.as_deref().unwrap_or_default();
            let is_there = asked.stream.options.remove(key).is_some();
            // What is missing may have been taken out, or be there under another name.
            let follows = |told: &Fault| told.key == fault.key || told.means(key);
            if is_there || !told.iter().any(follows) {
                let message = format!("{error}: {fault}");
                wrong.errors.push(table.error_at(key, message));
                told.push(fault.clone());
            }
        }
        wrong.options = true;
        if asked.stream.options.len() == before {
            break;
        }
    }
    wrong
}
