//! Which tables of a script would get into each other's files: a folder that two tables write is
//! no table any more for whoever reads it, and neither is one that an input finds outputs in. And
//! which files lie side by side in time.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use connectors::parquet;
use engine::graph::Input;
use engine::{Graph, Result};
use sql::catalog::Table;
use sql::error::Error;

/// A folder and what a table does there.
struct Place {
    table: String,
    /// The option that names it.
    option: &'static str,
    /// What happens there, as the text has it: `is written to 'out'`.
    told: String,
    does: Does,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    Written,
    Recorded,
}

/// An error for every two tables of a graph whose files would mix.
pub(crate) fn shared(tables: &BTreeMap<String, Table>, graph: &Graph) -> Vec<Error> {
    // What is wrong with a path was told with its options.
    let places = places(graph).unwrap_or_default();
    let mut errors = vec![];
    for (i, second) in places.iter().enumerate() {
        let mut before = places[..i].iter();
        if let Some(first) = before.find(|first| mixed(first, second)) {
            errors.extend(tables.get(&second.table).map(|table| {
                let message = format!(
                    "table '{}' {}, and table '{}' {}: their files would mix",
                    second.table, second.told, first.table, first.told
                );
                let hint = "give each a folder that is not inside the other's";
                table.error_at(second.option, message).hint(hint)
            }));
        }
    }
    errors
}

/// Whether one of them would find the other's files among its own.
fn mixed(one: &Place, other: &Place) -> bool {
    match (one.does, other.does) {
        // Recordings have a folder below the archive for each table.
        (Does::Read, Does::Read) | (Does::Recorded, Does::Recorded) => false,
        (Does::Read, _) => other.path.starts_with(&one.path),
        (_, Does::Read) => one.path.starts_with(&other.path),
        _ => one.path.starts_with(&other.path) || other.path.starts_with(&one.path),
    }
}

fn places(graph: &Graph) -> Result<Vec<Place>> {
    let mut places = vec![];
    let mut add = |table: &str, option, told: &str, does, path: &Path| {
        places.push(Place {
            table: table.to_owned(),
            option,
            told: format!("{told} '{}'", path.display()),
            does,
            path: real(path),
        });
    };
    for input in &graph.inputs {
        let name = &input.stream.name;
        if input.stream.connector == parquet::NAME {
            let path = parquet::read_from(&input.stream)?;
            // What a pattern leaves out is not in the way.
            if !parquet::is_pattern(&path) {
                add(name, "path", "is read from", Does::Read, &path);
            }
        }
        if let Some(path) = &input.archive {
            add(
                name,
                "archive",
                "is recorded in",
                Does::Recorded,
                path.as_ref(),
            );
        }
    }
    for target in &graph.targets {
        if target.stream.connector == parquet::NAME {
            let path = parquet::written_to(&target.stream)?;
            let name = &target.stream.name;
            add(name, "path", "is written to", Does::Written, &path);
        }
    }
    Ok(places)
}

/// A warning for every table whose Parquet files lie side by side in time: they are read one after
/// the other, so rows of all but the first would be late.
pub(crate) fn behind_their_time(graph: &Graph) -> Vec<String> {
    let inputs = graph.inputs.iter();
    let inputs = inputs.filter(|input| input.stream.connector == parquet::NAME);
    let warning = |input: &Input| {
        let time = input.event_time?;
        let column = input.schema.field(time.column).name();
        // Files have no other columns; and what cannot be read is told by who reads it.
        input.stream.schema.index_of(column).ok()?;
        let path = parquet::read_from(&input.stream).ok()?;
        let delay = i64::try_from(time.delay.as_nanos()).unwrap_or(i64::MAX);
        let (file, before) = parquet::read::behind_its_time(&path, column, delay).ok()??;
        Some(format!(
            "warning: table '{}' reads '{}' after '{}', which has later rows: rows that lie behind \
             them by more than the watermark's delay are late; `millstream replay` merges files by \
             time, or name files in the order of their time",
            input.stream.name,
            file.display(),
            before.display()
        ))
    };
    inputs.filter_map(warning).collect()
}

/// The path without detours: absolute, links followed as far as it is there.
pub(crate) fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
        if let Ok(followed) = plain.canonicalize() {
            plain = followed;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_lead_to_the_same_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("there")).unwrap();
        std::os::unix::fs::symlink(root.join("there"), root.join("link")).unwrap();
        let expected = root.join("there/new");
        for detour in [
            "there/./new",
            "there/x/../new/",
            "link/new",
            "link/../there/new",
        ] {
            assert_eq!(real(&root.join(detour)), expected, "{detour}");
        }
        assert_ne!(real(&root.join("new")), expected);
    }
}
