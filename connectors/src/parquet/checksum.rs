//! The checksum that every file written here carries in its own footer: Parquet readers take it
//! for a key and a value like any other, replays compare it.
//!
//! Parquet itself would not notice a flipped byte: a page of changed numbers decodes to other
//! numbers. The value is 32 hexadecimal digits, the xxh3-64 of the whole file and that of its
//! footer, both taken while these digits are zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use engine::{Error, Result};
use parquet::file::metadata::{FileMetaData, KeyValue};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::files;

/// Who writes files with a checksum, as their footers say.
pub(super) const CREATED_BY: &str = "millstream";
/// The name of the checksum, and what a binary Thrift field of 32 bytes begins with behind it.
const KEY: &str = "millstream.xxh3";
const VALUE_FOLLOWS: [u8; 2] = [0x18, DIGITS as u8];
const DIGITS: usize = 32;
const ZEROS: [u8; DIGITS] = [b'0'; DIGITS];
/// The footer's length and `PAR1`.
const TAIL: u64 = 8;
/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// The key with a value to be filled in when the file is whole.
pub(super) fn placeholder() -> KeyValue {
    KeyValue::new(KEY.to_owned(), String::from_utf8_lossy(&ZEROS).into_owned())
}

/// A file that is hashed as it is written.
pub(super) struct Hashed {
    file: File,
    hash: Xxh3,
}

impl Hashed {
    pub(super) fn new(file: File) -> Self {
        let hash = Xxh3::new();
        Self { file, hash }
    }

    /// Puts the checksum into a file that is complete but for it; `file` can be read, too.
    pub(super) fn seal(self) -> io::Result<File> {
        let Self { mut file, hash } = self;
        let footer = Footer::read(&mut file)?;
        let Some(at) = footer.value_at() else {
            return Err(io::Error::other("the footer has no place for its checksum"));
        };
        let value = format!("{:016x}{:016x}", hash.digest(), xxh3_64(&footer.bytes));
        file.seek(SeekFrom::Start(footer.start + at as u64))?;
        file.write_all(value.as_bytes())?;
        Ok(file)
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What stands behind the pages, to the end of the file.
struct Footer {
    start: u64,
    bytes: Vec<u8>,
}

impl Footer {
    fn read(file: &mut File) -> io::Result<Self> {
        let short = || io::Error::other("the file ends too early");
        let end = file.seek(SeekFrom::End(0))?;
        let mut tail = [0; 4];
        let tail_at = end.checked_sub(TAIL).ok_or_else(short)?;
        file.seek(SeekFrom::Start(tail_at))?;
        file.read_exact(&mut tail)?;
        let length = u64::from(u32::from_le_bytes(tail));
        let start = tail_at.checked_sub(length).ok_or_else(short)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes)?;
        Ok(Self { start, bytes })
    }

    /// Where the checksum's digits begin.
    fn value_at(&self) -> Option<usize> {
        let mark = [KEY.as_bytes(), &VALUE_FOLLOWS].concat();
        let places = self.bytes.windows(mark.len());
        let at = places.enumerate().find(|(_, bytes)| *bytes == mark)?.0 + mark.len();
        (at + DIGITS <= self.bytes.len()).then_some(at)
    }

    /// The digits, which become zeros.
    fn take_value(&mut self) -> Option<String> {
        let at = self.value_at()?;
        let digits = &mut self.bytes[at..at + DIGITS];
        let value = String::from_utf8(digits.to_vec()).ok()?;
        digits.copy_from_slice(&ZEROS);
        Some(value)
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The footer alone, which says what the file holds: cheap.
    Footer,
    /// Every byte; the file is read once.
    Whole,
}

/// Refuses a file whose bytes are not those that were written. Files that others wrote have no
/// checksum and pass.
pub(super) fn verify(path: &Path, metadata: &FileMetaData, extent: Extent) -> Result<()> {
    let unreadable = |error| files::unreadable(path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut footer = Footer::read(&mut file).map_err(|error| damaged(path).caused_by(error))?;
    let Some(value) = footer.take_value() else {
        return match metadata.created_by() {
            Some(CREATED_BY) => Err(damaged(path)),
            _ => Ok(()),
        };
    };
    let (whole, own) = value.split_at(DIGITS / 2);
    if own != format!("{:016x}", xxh3_64(&footer.bytes)) {
        return Err(damaged(path));
    }
    if extent == Extent::Footer {
        return Ok(());
    }
    let hash = hash(&mut file, &footer).map_err(unreadable)?;
    if whole != format!("{hash:016x}") {
        return Err(damaged(path));
    }
    Ok(())
}

/// The hash of the file up to the footer, and of the footer as it is in memory.
fn hash(file: &mut File, footer: &Footer) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Xxh3::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = footer.start;
    while left > 0 {
        let length = left.min(CHUNK as u64) as usize;
        file.read_exact(&mut chunk[..length])?;
        hash.update(&chunk[..length]);
        left -= length as u64;
    }
    hash.update(&footer.bytes);
    Ok(hash.digest())
}

fn damaged(path: &Path) -> Error {
    Error::corrupt(format!(
        "file '{}' is damaged: its bytes do not match the checksum it was written with; put a \
         copy in its place, or move it away to go without its rows",
        path.display()
    ))
}
