//! Names of files, and how a roll of several files appears at once, whoever else believes to write
//! them.
//!
//! **A start has a hidden folder.** Whoever begins to write makes `.<owner>-start-<random>` in the
//! root. In it are the files that grow, and the drafts of manifests. A roll of one file is
//! published by its rename out of there. A roll of several first gets a manifest `.<name>.roll` in
//! the root, put there by a rename as well: from then on the roll is published, and whoever starts
//! next finishes the renames. Files without a manifest are what a crash left; they go.
//!
//! **The folder is the right to write.** A process may sleep through its replacement, and wake at
//! any step. So a start first renames the folders of all others of its owner into its own. From
//! then on each step of theirs that could change anything fails, because all of them, to create a
//! file, to rename one, to put a manifest in its place, to take over, begin in a folder that is no
//! longer there, and that nobody makes again. Nothing is asked before it is done: there is no
//! moment between a look and a deed. Then a start looks which manifests there are (there will be
//! no more of others), completes their rolls from the folders that it took, which the manifests
//! name, removes these folders, and sees what is published. A start that fails half way leaves to
//! the next what it took. Two starts at once take each other's folder; one is first.
//!
//! A rename must be seen by all at once, as on a disk of this machine; a network file system whose
//! clients remember folders can let a sleeper do one more step.
//!
//! Before starts had folders, files grew as `.<owner>-<first epoch>.parquet.tmp` where they would
//! be: such ones are completed and removed too. Files of other owners are neither counted nor
//! touched.

use std::path::{Path, PathBuf};
use std::{fs, io};

use engine::{Epoch, Error, Result};

use super::files::unreadable;
use crate::Owner;

/// The folder of one job's shard's files, and their names.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    /// `job-shard0-`.
    prefix: String,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// The last epoch in it.
    pub(super) last: Epoch,
    /// Below the root.
    pub(super) path: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf, owner: &Owner) -> Self {
        Self {
            root,
            prefix: format!("{}-shard{}-", file_name(&owner.job), owner.shard),
        }
    }

    /// The name of a start's folder.
    pub(super) fn start(&self, random: u64) -> String {
        format!(".{}{START}{random:016x}", self.prefix)
    }

    /// Whether it is the name of the folder of one of this owner's starts.
    pub(super) fn is_start(&self, name: &str) -> bool {
        let random = name
            .strip_prefix('.')
            .and_then(|name| name.strip_prefix(&self.prefix))
            .and_then(|name| name.strip_prefix(START));
        random.is_some_and(|random| {
            random.len() == 16 && random.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    }

    /// Where a file grew before starts had folders.
    pub(super) fn beside(&self, folder: &str, first: Epoch, part: u32) -> PathBuf {
        let name = format!(".{}{:08}{}{TEMPORARY}", self.prefix, first.0, suffix(part));
        self.root.join(folder).join(name)
    }

    /// Where a roll's file will be.
    pub(super) fn target(&self, folder: &str, name: &str, part: u32) -> PathBuf {
        let name = format!("{name}{}.parquet", suffix(part));
        self.root.join(folder).join(name)
    }

    /// The name of a roll.
    pub(super) fn name(&self, first: Epoch, last: Epoch) -> String {
        format!("{}{:08}-{:08}", self.prefix, first.0, last.0)
    }

    /// Where the manifest of a roll is.
    pub(super) fn manifest(&self, name: &str) -> PathBuf {
        self.root.join(format!(".{name}.roll"))
    }

    /// Removes what was left over beside the files before starts had folders, and says up to which
    /// epoch everything is published.
    pub(super) fn tidy(&self) -> Result<Epoch> {
        let entries = list(&self.root)?;
        let mut published = Epoch(0);
        let folders = entries.iter().filter(|name| name.starts_with("date="));
        for folder in std::iter::once("").chain(folders.map(String::as_str)) {
            for name in list(&self.root.join(folder))? {
                let path = self.root.join(folder).join(&name);
                if self.is_left_over(&name) {
                    fs::remove_file(&path).map_err(|e| unwritable(&path, e))?;
                } else if let Some((_, last)) = self.epochs(&name, ".parquet") {
                    published = published.max(last);
                }
            }
        }
        Ok(published)
    }

    /// The owner's files that have their names, in the order of their epochs.
    pub(super) fn files(&self) -> Result<Vec<Seen>> {
        let entries = list(&self.root)?;
        let folders = entries.iter().filter(|name| name.starts_with("date="));
        let mut files = vec![];
        for folder in std::iter::once("").chain(folders.map(String::as_str)) {
            for name in list(&self.root.join(folder))? {
                if let Some((_, last)) = self.epochs(&name, ".parquet") {
                    let path = Path::new(folder).join(name);
                    files.push(Seen { last, path });
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The last epochs of the rolls whose files are getting their names.
    pub(super) fn under_way(&self) -> Result<Vec<Epoch>> {
        let entries = list(&self.root)?;
        let manifests = entries.iter().filter_map(|name| self.roll_of(name));
        let epochs = manifests.filter_map(|name| self.epochs(name, ""));
        Ok(epochs.map(|(_, last)| last).collect())
    }

    /// Whether it is a name that files and manifests of this owner had before starts had folders,
    /// until they were whole.
    fn is_left_over(&self, name: &str) -> bool {
        let name = name.strip_prefix('.').unwrap_or_default();
        let file = name
            .strip_prefix(&self.prefix)
            .and_then(|n| n.strip_suffix(TEMPORARY));
        file.is_some_and(|file| part_of(file).is_some_and(|(first, _)| digits(first).is_some()))
            || self.epochs(name, DRAFT).is_some()
    }

    /// `job-shard0-00000001-00000002` of the name of a manifest.
    pub(super) fn roll_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix('.')?;
        self.epochs(name, ".roll")?;
        name.strip_suffix(".roll")
    }

    /// The epochs in a name that ends so.
    pub(super) fn epochs(&self, name: &str, suffix: &str) -> Option<(Epoch, Epoch)> {
        let epochs = name.strip_prefix(&self.prefix)?.strip_suffix(suffix)?;
        let (epochs, _) = part_of(epochs)?;
        let (first, last) = epochs.split_once('-')?;
        Some((Epoch(digits(first)?), Epoch(digits(last)?)))
    }
}

/// What tells the folder of a start.
const START: &str = "start-";
/// The end of the names of files that grow.
const TEMPORARY: &str = ".parquet.tmp";
/// The end of the names of manifests that are not in their place.
pub(super) const DRAFT: &str = ".roll.tmp";

/// What tells the files of one roll in one folder apart; it sorts behind the first one's `.`.
fn suffix(part: u32) -> String {
    match part {
        0 => String::new(),
        _ => format!("_{part}"),
    }
}

/// What stands before the suffix, and the part.
fn part_of(name: &str) -> Option<(&str, u32)> {
    match name.split_once('_') {
        None => Some((name, 0)),
        Some((name, part)) => Some((name, u32::try_from(digits(part)?).ok()?)),
    }
}

fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A job's name as part of a file's name. A name that had to be changed gets its checksum, so
/// that two jobs never share files.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut clean: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if clean != name || clean.is_empty() || clean.starts_with('.') || clean.len() > 100 {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
        clean.truncate(80);
        clean = format!("job_{}_{sum:016x}", clean.trim_start_matches('.'));
    }
    clean
}

/// The names in a folder, in order.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    });
    let mut names: Vec<String> = entries.map_err(|e| unreadable(folder, e))?;
    names.sort();
    Ok(names)
}

/// The error of a path that cannot be written, with the remedy.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space and start the job again, nothing is lost"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "allow this user to write there or set another 'path'"
        }
        _ => "check the disk and the 'path' and start the job again, nothing is lost",
    };
    Error::invalid(format!("'{}' cannot be written; {remedy}", path.display())).caused_by(error)
}
