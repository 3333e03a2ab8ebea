//! Which files a path means, in natural order.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use engine::{Error, ErrorKind, Result};

/// A file and its name below the root it was found under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: String,
}

/// The files that `path` means: itself, all `*.parquet` below it, or those that match it.
/// Hidden files (the temporary ones of a sink) are left out.
pub(super) fn find(path: &Path) -> Result<Vec<Found>> {
    let mut found = vec![];
    let text = path.to_string_lossy();
    if path.is_file() {
        let name = path
            .file_name()
            .map_or_else(|| text.clone(), |name| name.to_string_lossy());
        return Ok(vec![Found {
            path: path.to_owned(),
            name: name.into_owned(),
        }]);
    }
    if path.is_dir() {
        walk(path, "", &mut |name| name.ends_with(".parquet"), &mut found)?;
    } else if is_pattern(path) {
        let root = plain_root(path);
        let pattern = path
            .strip_prefix(&root)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned();
        let root = if root.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            root
        };
        let pattern = pattern.split('/').collect::<Vec<_>>();
        let mut matching = |name: &str| matches(&pattern, &name.split('/').collect::<Vec<_>>());
        if root.is_dir() {
            walk(&root, "", &mut matching, &mut found)?;
        }
    }
    if found.is_empty() {
        let what = if path.is_dir() {
            "has no Parquet file below it"
        } else {
            "names no file"
        };
        return Err(Error::not_found(format!("path '{text}' {what}")));
    }
    found.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(found)
}

/// Whether a path is a pattern of files, and names none itself.
#[must_use]
pub fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

/// The folder that the files of a pattern are below: what comes before its first part with a star
/// or a question mark. A path that is no pattern is its own.
#[must_use]
pub fn plain_root(path: &Path) -> PathBuf {
    let is_plain = |part: &std::path::Component<'_>| !is_pattern(part.as_ref());
    path.components().take_while(is_plain).collect()
}

fn walk(
    folder: &Path,
    prefix: &str,
    wanted: &mut dyn FnMut(&str) -> bool,
    found: &mut Vec<Found>,
) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
        let entry = entry.map_err(|e| unreadable(folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        if path.is_dir() {
            walk(&path, &format!("{name}/"), wanted, found)?;
        } else if wanted(&name) {
            found.push(Found { path, name });
        }
    }
    Ok(())
}

/// The error of a path that cannot be read.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("'{}' cannot be read", path.display())).caused_by(error)
}

/// Whether the parts of a path match a pattern, where `**` stands for any number of folders.
fn matches(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=parts.len()).any(|i| matches(rest, &parts[i..])),
        (Some((first, pattern)), Some((part, parts))) => {
            part_matches(first.as_bytes(), part.as_bytes()) && matches(pattern, parts)
        }
        _ => false,
    }
}

/// Whether a name matches a pattern of `*` and `?`; goes back to the last star only.
fn part_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Compares names as people count: digits by their number.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while !left.is_empty() && !right.is_empty() {
        let (first, second) = (chunk(left), chunk(right));
        let order = match (number(first), number(second)) {
            (Some(first), Some(second)) => first.len().cmp(&second.len()).then(first.cmp(second)),
            _ => first.cmp(second),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (&left[first.len()..], &right[second.len()..]);
    }
    // `a1` and `a01` are told apart by their bytes.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// A run of digits, or one other byte.
fn chunk(name: &[u8]) -> &[u8] {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    &name[..digits.max(1)]
}

/// A run of digits without its leading zeros.
fn number(chunk: &[u8]) -> Option<&[u8]> {
    let zeros = chunk.iter().take_while(|byte| **byte == b'0').count();
    chunk[0].is_ascii_digit().then(|| &chunk[zeros..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = vec!["b", "a10/1", "a2/x", "a2", "a02", "a1", "a1b", "a100"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["a1", "a1b", "a02", "a2", "a2/x", "a10/1", "a100", "b"]
        );
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let fits = |pattern: &str, path: &str| {
            matches(
                &pattern.split('/').collect::<Vec<_>>(),
                &path.split('/').collect::<Vec<_>>(),
            )
        };
        assert!(fits("*.parquet", "a.parquet") && !fits("*.parquet", "d/a.parquet"));
        assert!(fits("**/*.parquet", "a.parquet") && fits("**/*.parquet", "d/e/a.parquet"));
        assert!(fits(
            "date=2024-??-0*/a*b*.parquet",
            "date=2024-01-02/axxbyb.parquet"
        ));
        assert!(!fits("a?c", "ac") && !fits("a*c", "ab"));
    }
}
