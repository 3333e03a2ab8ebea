//! Which files a path means, and which of its folders are columns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use datafusion::sql::sqlparser::tokenizer::Span;
use engine::ErrorKind;

use crate::error::{Error, Result};

/// What can be read, by the ends of names.
const EXTENSIONS: [&str; 5] = ["parquet", "csv", "json", "jsonl", "ndjson"];

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// How their names end.
    pub(super) extension: String,
    /// One file or folder, or the files that a pattern matches.
    pub(super) paths: Vec<PathBuf>,
    /// The files themselves.
    pub(super) all: Vec<PathBuf>,
    /// Folders named `key=value`: the keys, where all files are below the same ones.
    pub(super) keys: Vec<String>,
}

/// Looks at the disk. `name` is what the query calls it.
pub(super) fn find(name: &str, path: &Path) -> Result<Files, Error> {
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return one(name, path);
    }
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let found = glob::glob_with(&text, options).map_err(|error| {
        Error::invalid(format!("'{text}' is no pattern: {error}"), Span::empty())
    })?;
    let mut paths = vec![];
    for path in found.flatten() {
        match path.is_dir() {
            true => walk(&path, &mut paths),
            false => paths.push(path),
        }
    }
    let Some(extension) = paths.iter().find_map(|path| known(path)) else {
        let error = Error {
            kind: ErrorKind::NotFound,
            ..Error::invalid(
                format!("no file that can be read matches '{text}'"),
                Span::empty(),
            )
        };
        return Err(error.hint("files end in .parquet, .csv or .json; ** stands for any folders"));
    };
    paths.retain(|path| known(path).as_ref() == Some(&extension));
    Ok(Files {
        extension,
        all: paths.clone(),
        paths,
        keys: vec![],
    })
}

/// A path that is no pattern.
fn one(name: &str, path: &Path) -> Result<Files, Error> {
    if !path.exists() {
        let message = format!("no file or folder is called '{}'", path.display());
        let error = Error {
            kind: ErrorKind::NotFound,
            ..Error::invalid(message, Span::empty())
        };
        let system = name.contains('$');
        return Err(if system {
            error.hint("the table has no rows yet")
        } else {
            error
        });
    }
    let mut files = vec![];
    if path.is_dir() {
        walk(path, &mut files);
    } else {
        files.push(path.to_owned());
    }
    let Some(extension) = files.iter().find_map(|file| known(file)) else {
        let message = format!("'{}' holds nothing that can be read", path.display());
        let error = Error::invalid(message, Span::empty());
        return Err(error.hint("files end in .parquet, .csv or .json"));
    };
    files.retain(|file| known(file).as_ref() == Some(&extension));
    Ok(Files {
        extension,
        paths: vec![path.to_owned()],
        keys: keys(path, &files),
        all: files,
    })
}

/// The files below a folder, by name, depth first.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => walk(&path, found),
            false => found.push(path),
        }
    }
}

fn known(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_lowercase();
    EXTENSIONS
        .contains(&extension.as_str())
        .then_some(extension)
}

/// The keys of the folders that all files are in. A file in other folders would be passed over,
/// so there are none then; but for one that stands in the root and only declares the columns.
fn keys(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let keys_of = |file: &PathBuf| -> Option<Vec<String>> {
        let folders = file.parent()?.strip_prefix(root).ok()?;
        let key = |folder: std::path::Component<'_>| {
            let folder = folder.as_os_str().to_str()?;
            folder.split_once('=').map(|(key, _)| key.to_owned())
        };
        folders.components().map(key).collect()
    };
    let columns = root.join("columns.parquet");
    let others = files.iter().filter(|file| **file != columns);
    let all: BTreeSet<Option<Vec<String>>> = others.map(keys_of).collect();
    match all.len() {
        1 => all.into_iter().flatten().flatten().collect(),
        _ => vec![],
    }
}
