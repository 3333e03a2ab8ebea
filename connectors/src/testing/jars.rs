//! The jars of Kafka: fetched by Maven once per machine and kept in a cache folder, with a
//! formatted storage, since formatting takes as long as starting.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine::{Error, Result};

const POM: &str = include_str!("pom.xml");
const REMEDY: &str = "install Java 17 and Maven: apt-get install openjdk-17-jre-headless maven";

/// What is kept once per machine: the jars, and a formatted storage to copy.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache, filled with the jars if they are not there yet.
    pub(super) fn open() -> Result<Self> {
        for program in ["java", "mvn"] {
            require(program)?;
        }
        let cache = Self {
            folder: place()?.join("kafka-4.1.1"),
        };
        cache.filled("libs", fetch)?;
        Ok(cache)
    }

    /// The class path of everything that Kafka needs.
    pub(super) fn class_path(&self) -> PathBuf {
        self.folder.join("libs").join("*")
    }

    /// A folder that `fill` puts there if it is not there yet. Several test processes may come
    /// here at once: one fills, the others wait for its lock; what is there is complete.
    pub(super) fn filled(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let failed = |what: &str, error: io::Error| {
            let path = self.folder.display();
            Error::unavailable(format!("cannot {what} in the cache folder {path}")).caused_by(error)
        };
        let wanted = self.folder.join(name);
        if wanted.is_dir() {
            return Ok(wanted);
        }
        fs::create_dir_all(&self.folder).map_err(|error| failed("write", error))?;
        let lock =
            File::create(self.folder.join("lock")).map_err(|error| failed("write", error))?;
        lock.lock().map_err(|error| failed("lock a file", error))?;
        if wanted.is_dir() {
            return Ok(wanted);
        }
        let fresh = self.folder.join("filling");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|error| failed("remove what broke off", error))?;
        }
        fs::create_dir_all(&fresh).map_err(|error| failed("write", error))?;
        fill(&fresh)?;
        fs::rename(fresh.join(name), &wanted).map_err(|error| failed("rename", error))?;
        fs::remove_dir_all(&fresh).map_err(|error| failed("clean up", error))?;
        Ok(wanted)
    }
}

/// Lets Maven copy the jars to `libs` in this folder.
fn fetch(folder: &Path) -> Result<()> {
    fs::write(folder.join("pom.xml"), POM)
        .map_err(|error| Error::unavailable("cannot write a pom.xml").caused_by(error))?;
    let arguments = [
        "-q",
        "-B",
        "dependency:copy-dependencies",
        "-DoutputDirectory=libs",
    ];
    let output = Command::new("mvn")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::unavailable("cannot start 'mvn'").caused_by(error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::unavailable(format!(
        "Maven could not fetch Kafka 4.1.1 (it needs Maven Central or a mirror of it once): {}",
        said.trim()
    )))
}

fn require(program: &str) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "the program '{program}' is not on the PATH; {REMEDY}"
    )))
}

fn place() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(folder) = set("MILLSTREAM_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
    base.map(|base| base.join("millstream")).ok_or_else(|| {
        Error::not_found("there is no cache folder: set MILLSTREAM_CACHE, XDG_CACHE_HOME or HOME")
    })
}
