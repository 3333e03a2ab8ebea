//! Names of files, and how a roll of several files appears at once.
//!
//! Files are written as `.<name>.parquet.tmp` where they will be. A roll of one file is
//! published by its rename. A roll of several first gets a manifest `.<name>.roll` in the root,
//! itself put there by a rename: from then on the roll is published, and whoever starts next
//! finishes the renames. Temporary files without a manifest are what a crash left; they go.

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
    pub(super) temporary: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf, owner: &Owner) -> Self {
        Self {
            root,
            prefix: format!("{}-shard{}-", file_name(&owner.job), owner.shard),
        }
    }

    /// Where a file of the folder is written.
    pub(super) fn temporary(&self, folder: &str, first: Epoch) -> PathBuf {
        self.root
            .join(folder)
            .join(format!(".{}{:08}.parquet.tmp", self.prefix, first.0))
    }

    fn name(&self, first: Epoch, last: Epoch) -> String {
        format!("{}{:08}-{:08}", self.prefix, first.0, last.0)
    }

    /// Gives the files of a roll their names: all of them or, after a crash, none.
    pub(super) fn publish(&self, files: &[Finished], first: Epoch, last: Epoch) -> Result<()> {
        let name = self.name(first, last);
        let manifest = self.root.join(format!(".{name}.roll"));
        if files.len() > 1 {
            let mut text = String::new();
            for file in files {
                text.push_str(&file.folder);
                text.push('\n');
            }
            let draft = self.root.join(format!(".{name}.roll.tmp"));
            write_whole(&draft, text.as_bytes()).map_err(|e| unwritable(&draft, e))?;
            rename(&draft, &manifest)?;
        }
        for file in files {
            let target = self.root.join(&file.folder).join(format!("{name}.parquet"));
            rename(&file.temporary, &target)?;
        }
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
                let ours = name
                    .strip_prefix('.')
                    .is_some_and(|n| n.starts_with(&self.prefix));
                if ours && name.strip_suffix(".tmp").is_some() {
                    fs::remove_file(&path).map_err(|e| unwritable(&path, e))?;
                } else if let Some((_, last)) = self.epochs(&name, ".parquet") {
                    published = published.max(last);
                }
            }
        }
        Ok(published)
    }

    /// `job-shard0-00000001-00000002` of the name of a manifest.
    fn manifest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix('.')?;
        self.epochs(name, ".roll")?;
        name.strip_suffix(".roll")
    }

    fn complete(&self, name: &str) -> Result<()> {
        let manifest = self.root.join(format!(".{name}.roll"));
        let folders = fs::read_to_string(&manifest).map_err(|e| unreadable(&manifest, e))?;
        let Some((first, _)) = self.epochs(name, "") else {
            return Ok(());
        };
        for folder in folders.lines() {
            let temporary = self.temporary(folder, first);
            let target = self.root.join(folder).join(format!("{name}.parquet"));
            if temporary.exists() {
                rename(&temporary, &target)?;
            } else if !target.exists() {
                return Err(Error::corrupt(format!(
                    "file '{}' is missing, its roll was published",
                    target.display()
                )));
            }
        }
        fs::remove_file(&manifest).map_err(|e| unwritable(&manifest, e))
    }

    fn epochs(&self, name: &str, suffix: &str) -> Option<(Epoch, Epoch)> {
        let epochs = name.strip_prefix(&self.prefix)?.strip_suffix(suffix)?;
        let (first, last) = epochs.split_once('-')?;
        Some((Epoch(first.parse().ok()?), Epoch(last.parse().ok()?)))
    }
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
    let folder = to.parent().unwrap_or(Path::new("."));
    let renamed = fs::rename(from, to).and_then(|()| File::open(folder)?.sync_all());
    renamed.map_err(|e| unwritable(to, e))
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
