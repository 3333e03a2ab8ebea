//! One start of a sink: its hidden folder, what it publishes from there, and how it takes over from
//! the start before. Why that is safe is told in [`layout`](super::layout).

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use engine::crash::{self, Point};
use engine::{Epoch, Error, Result};
use parquet::file::properties::WriterProperties;

use super::files::unreadable;
use super::layout::{DRAFT, Layout, list, unwritable};
use super::writer::Writer;

/// A start. Its folder is its right to write, and is made once: no step makes it anew. Dropped, it
/// removes the folder, unless there is something left in it for the next start.
#[derive(Debug)]
pub(super) struct Start {
    layout: Layout,
    folder: PathBuf,
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

impl Start {
    /// Takes over from the owner's start before, finishes what it left half done, removes what it
    /// left over, and says up to which epoch everything is published.
    pub(super) fn begin(layout: &Layout) -> Result<(Self, Epoch)> {
        let root = &layout.root;
        fs::create_dir_all(root).map_err(|e| unwritable(root, e))?;
        // The hasher's keys are random; two starts at once differ by process or by keys.
        let random = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
        let folder = root.join(layout.start(random));
        fs::create_dir(&folder).map_err(|e| unwritable(&folder, e))?;
        let layout = layout.clone();
        let start = Self { layout, folder };
        let published = start.recover();
        let published = start.explained(published)?;
        Ok((start, published))
    }

    /// Begins a file of a roll.
    pub(super) fn create(
        &self,
        folder: &str,
        first: Epoch,
        part: u32,
        (schema, properties): (&SchemaRef, &WriterProperties),
    ) -> Result<Writer> {
        let path = self.folder.join(temporary(folder, first, part));
        let writer = Writer::create(path, schema, properties).and_then(|writer| {
            let folder = self.layout.root.join(folder);
            fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, e))?;
            Ok(writer)
        });
        self.explained(writer)
    }

    /// Gives the files of a roll their names: all of them or, after a crash or once another start
    /// has taken over, none.
    pub(super) fn publish(&self, files: &[Finished], first: Epoch, last: Epoch) -> Result<()> {
        let name = self.layout.name(first, last);
        let published = match files.len() {
            0 | 1 => self.give_names(files, &name),
            _ => self
                .announce(files, &name)
                .and_then(|()| self.give_names(files, &name))
                .and_then(|()| self.conclude(&name)),
        };
        self.explained(published)
    }

    /// Puts the manifest of a roll in its place.
    fn announce(&self, files: &[Finished], name: &str) -> Result<()> {
        // What a manifest names must be there, whatever the power does.
        sync(&self.folder)?;
        let own = self.folder.file_name().unwrap_or_default();
        let mut lines = vec![format!("{}\n", own.to_string_lossy())];
        lines.extend(
            files
                .iter()
                .map(|file| format!("{}/{}\n", file.folder, file.part)),
        );
        let draft = self.folder.join(format!("{name}{DRAFT}"));
        write_whole(&draft, lines.concat().as_bytes()).map_err(|e| unwritable(&draft, e))?;
        rename(&draft, &self.layout.manifest(name))?;
        crash::reach(Point::RollAnnounced);
        Ok(())
    }

    fn give_names(&self, files: &[Finished], name: &str) -> Result<()> {
        for (number, file) in files.iter().enumerate() {
            let target = self.layout.target(&file.folder, name, file.part);
            rename(&file.temporary, &target)?;
            if number == 0 {
                crash::reach(Point::RollRenamed);
            }
        }
        crash::reach(Point::RollPublished);
        // A folder may be new.
        sync(&self.layout.root)
    }

    /// Removes the manifest of a roll whose files have their names.
    fn conclude(&self, name: &str) -> Result<()> {
        let manifest = self.layout.manifest(name);
        fs::remove_file(&manifest).map_err(|e| unwritable(&manifest, e))
    }

    fn recover(&self) -> Result<Epoch> {
        let root = &self.layout.root;
        // Manifests will name the folder.
        sync(root)?;
        for name in list(root)? {
            let folder = root.join(&name);
            if self.layout.is_start(&name) && folder != self.folder {
                self.take(&folder)?;
            }
        }
        crash::reach(Point::RecoveryTaken);
        for name in list(root)? {
            if let Some(roll) = self.layout.roll_of(&name) {
                self.complete(roll)?;
            }
        }
        for name in list(&self.folder)? {
            let taken = self.folder.join(name);
            fs::remove_dir_all(&taken).map_err(|e| unwritable(&taken, e))?;
        }
        self.layout.tidy()
    }

    /// Moves the folder of another start, and those that it had taken itself, into this one's.
    fn take(&self, from: &Path) -> Result<()> {
        let taken = self.folder.join(from.file_name().unwrap_or_default());
        match fs::rename(from, &taken) {
            Ok(()) => {}
            // The other has just ended in order.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.holds() => return Ok(()),
            Err(error) => return Err(unwritable(&taken, error)),
        }
        for name in list(&taken)? {
            let path = taken.join(&name);
            if self.layout.is_start(&name) {
                self.take(&path)?;
            } else if name.ends_with(DRAFT) {
                // From here on what the other was just doing brings forth no manifest either.
                remove_if_there(&path)?;
            }
        }
        // It may be empty, as those of starts that failed are.
        let _ = fs::remove_dir(&taken);
        Ok(())
    }

    /// Gives the files of a roll that has a manifest their names, as far as they have none.
    fn complete(&self, name: &str) -> Result<()> {
        let manifest = self.layout.manifest(name);
        let text = match fs::read_to_string(&manifest) {
            Ok(text) => text,
            // The other was just done.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&manifest, error)),
        };
        let Some((first, _)) = self.layout.epochs(name, "") else {
            return Ok(());
        };
        let mut lines = text.lines().peekable();
        let start = lines.next_if(|line| self.layout.is_start(line));
        for line in lines {
            let named = line.rsplit_once('/');
            let named = named.and_then(|(folder, part)| Some((folder, part.parse().ok()?)));
            let Some((folder, part)) = named else {
                let manifest = manifest.display();
                return Err(Error::corrupt(format!(
                    "'{manifest}' names a file '{line}', which is none of a roll"
                )));
            };
            let temporary = match start {
                Some(start) => self.folder.join(start).join(temporary(folder, first, part)),
                None => self.layout.beside(folder, first, part),
            };
            let target = self.layout.target(folder, name, part);
            if temporary.exists() {
                rename(&temporary, &target)?;
            } else if !target.exists() {
                return Err(Error::corrupt(format!(
                    "file '{}' is missing, its roll was published",
                    target.display()
                )));
            }
        }
        sync(&self.layout.root)?;
        remove_if_there(&manifest)
    }

    /// Whether no other start has taken over.
    fn holds(&self) -> bool {
        !matches!(self.folder.try_exists(), Ok(false))
    }

    /// What went wrong: first of all, that another start has taken over. That is only to tell why;
    /// the step has failed by itself.
    fn explained<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if self.holds() {
                return error;
            }
            tracing::debug!("what failed without its folder: {}", error.chain());
            let own = self.folder.file_name().unwrap_or_default();
            Error::corrupt(format!(
                "another process has taken over this job and writes '{}' now; this one ends and \
                 has changed nothing since (if there is none, somebody removed the hidden folder \
                 '{}': start the job again, nothing is lost)",
                self.layout.root.display(),
                own.to_string_lossy()
            ))
        })
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // It stays where there is something in it: the next start decides what becomes of that.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The name of a file in the folder of its start.
fn temporary(folder: &str, first: Epoch, part: u32) -> String {
    let folder = match folder {
        "" => String::new(),
        folder => format!("{folder}-"),
    };
    // Whoever takes all that ends in `.parquet` for a table must not take this.
    format!("{folder}{:08}_{part}.parquet.tmp", first.0)
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

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(path, error)),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|e| unwritable(folder, e))
}

#[cfg(test)]
mod tests;
