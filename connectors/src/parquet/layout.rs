//! Names of files, and how a roll of several files appears at once.
//!
//! Files are written as `.<name>.parquet.tmp` where they will be. A roll of one file is
//! published by its rename. A roll of several first gets a manifest `.<name>.roll` in the root,
//! itself put there by a rename: from then on the roll is published, and whoever starts next
//! finishes the renames. Temporary files without a manifest are what a crash left; they go. Files
//! of other owners are neither counted nor touched.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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

/// A file of a roll that is written, but not yet published.
#[derive(Debug)]
pub(super) struct Finished {
    /// Below the root; empty without partitions.
    pub(super) folder: String,
    /// Its number among the roll's files in the folder, from 0.
    pub(super) part: u32,
    pub(super) temporary: PathBuf,
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

    /// Where a file of the folder is written.
    pub(super) fn temporary(&self, folder: &str, first: Epoch, part: u32) -> PathBuf {
        let name = format!(".{}{:08}{}{TEMPORARY}", self.prefix, first.0, suffix(part));
        self.root.join(folder).join(name)
    }

    fn target(&self, folder: &str, name: &str, part: u32) -> PathBuf {
        let name = format!("{name}{}.parquet", suffix(part));
        self.root.join(folder).join(name)
    }

    fn name(&self, first: Epoch, last: Epoch) -> String {
        format!("{}{:08}-{:08}", self.prefix, first.0, last.0)
    }

    /// Gives the files of a roll their names: all of them or, after a crash, none.
    pub(super) fn publish(&self, files: &[Finished], first: Epoch, last: Epoch) -> Result<()> {
        let name = self.name(first, last);
        let manifest = self.root.join(format!(".{name}.roll"));
        if files.len() > 1 {
            let mut lines = vec![];
            for file in files {
                // What a manifest names must be there, whatever the power does.
                sync(&self.root.join(&file.folder))?;
                lines.push(format!("{}/{}\n", file.folder, file.part));
            }
            let draft = self.root.join(format!(".{name}.roll.tmp"));
            write_whole(&draft, lines.concat().as_bytes()).map_err(|e| unwritable(&draft, e))?;
            rename(&draft, &manifest)?;
        }
        for file in files {
            rename(
                &file.temporary,
                &self.target(&file.folder, &name, file.part),
            )?;
        }
        // A folder may be new.
        sync(&self.root)?;
        if files.len() > 1 {
            fs::remove_file(&manifest).map_err(|e| unwritable(&manifest, e))?;
        }
        Ok(())
    }

    /// Finishes what a crash left half done, removes what it left over, and says up to which
    /// epoch everything is published.
    pub(super) fn recover(&self) -> Result<Epoch> {
        fs::create_dir_all(&self.root).map_err(|e| unwritable(&self.root, e))?;
        let entries = list(&self.root)?;
        for name in entries.iter().filter_map(|name| self.manifest(name)) {
            self.complete(name)?;
        }
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
        let manifests = entries.iter().filter_map(|name| self.manifest(name));
        let epochs = manifests.filter_map(|name| self.epochs(name, ""));
        Ok(epochs.map(|(_, last)| last).collect())
    }

    /// Whether it is the temporary name of a file or a manifest of this owner.
    fn is_left_over(&self, name: &str) -> bool {
        let name = name.strip_prefix('.').unwrap_or_default();
        let file = name
            .strip_prefix(&self.prefix)
            .and_then(|n| n.strip_suffix(TEMPORARY));
        file.is_some_and(|file| part_of(file).is_some_and(|(first, _)| digits(first).is_some()))
            || self.epochs(name, ".roll.tmp").is_some()
    }

    /// `job-shard0-00000001-00000002` of the name of a manifest.
    fn manifest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix('.')?;
        self.epochs(name, ".roll")?;
        name.strip_suffix(".roll")
    }

    fn complete(&self, name: &str) -> Result<()> {
        let manifest = self.root.join(format!(".{name}.roll"));
        let files = fs::read_to_string(&manifest).map_err(|e| unreadable(&manifest, e))?;
        let Some((first, _)) = self.epochs(name, "") else {
            return Ok(());
        };
        for file in files.lines() {
            let named = file.rsplit_once('/');
            let named = named.and_then(|(folder, part)| Some((folder, part.parse().ok()?)));
            let Some((folder, part)) = named else {
                let manifest = manifest.display();
                return Err(Error::corrupt(format!(
                    "'{manifest}' names a file '{file}', which is none of a roll"
                )));
            };
            let temporary = self.temporary(folder, first, part);
            let target = self.target(folder, name, part);
            if temporary.exists() {
                rename(&temporary, &target)?;
            } else if !target.exists() {
                return Err(Error::corrupt(format!(
                    "file '{}' is missing, its roll was published",
                    target.display()
                )));
            }
        }
        sync(&self.root)?;
        fs::remove_file(&manifest).map_err(|e| unwritable(&manifest, e))
    }

    fn epochs(&self, name: &str, suffix: &str) -> Option<(Epoch, Epoch)> {
        let epochs = name.strip_prefix(&self.prefix)?.strip_suffix(suffix)?;
        let (epochs, _) = part_of(epochs)?;
        let (first, last) = epochs.split_once('-')?;
        Some((Epoch(digits(first)?), Epoch(digits(last)?)))
    }
}

/// The end of temporary names.
const TEMPORARY: &str = ".parquet.tmp";

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

fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    });
    let mut names: Vec<String> = entries.map_err(|e| unreadable(folder, e))?;
    names.sort();
    Ok(names)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames and makes the new name durable. What is there already is not replaced.
fn rename(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Err(Error::corrupt(format!(
            "file '{}' is there already and is not overwritten",
            to.display()
        )));
    }
    fs::rename(from, to).map_err(|e| unwritable(to, e))?;
    sync(to.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|e| unwritable(folder, e))
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
