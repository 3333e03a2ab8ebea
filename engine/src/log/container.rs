//! The bytes of records and snapshots: magic, version, sections, checksum.
//!
//! ```text
//! 8 bytes  magic            4 bytes  version (u32, little endian, as all numbers)
//! then per section: 8 bytes length, the bytes
//! 8 bytes  xxh3-64 of everything before
//! ```
//! The first section is a postcard value, the others are Arrow IPC streams.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};

/// Bytes of a chunk: a record of many megabytes is not moved while it grows, and its memory is
/// what the one before it left.
const CHUNK: usize = 1 << 20;

/// Empty chunks of what was written before. Memory that the system hands out anew costs as much
/// again as what is written into it.
#[derive(Debug, Default)]
pub(super) struct Chunks(Vec<Vec<u8>>);

impl Clone for Chunks {
    /// There are none: they are memory, and no state.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Chunks {
    /// The chunks of something that is no longer needed; those that somebody still holds are left
    /// to him.
    pub(super) fn of(written: Vec<Bytes>) -> Self {
        let unique = written.into_iter().filter(Bytes::is_unique);
        let mut chunks: Vec<Vec<u8>> = unique.map(Vec::from).collect();
        chunks.retain(|chunk| chunk.capacity() >= CHUNK);
        chunks.iter_mut().for_each(Vec::clear);
        Self(chunks)
    }
}

/// Builds a container.
#[derive(Debug)]
pub(super) struct Writer {
    /// There is at least one.
    chunks: Vec<Vec<u8>>,
    spare: Chunks,
}

impl Writer {
    pub(super) fn new<T: Serialize>(
        magic: [u8; 8],
        version: u32,
        head: &T,
        spare: Chunks,
    ) -> Result<Self> {
        let head = postcard::to_stdvec(head)
            .map_err(|e| Error::internal("a log object cannot be encoded").caused_by(e))?;
        let mut writer = Self {
            chunks: vec![vec![]],
            spare,
        };
        let length = (head.len() as u64).to_le_bytes();
        for part in [&magic[..], &version.to_le_bytes(), &length, &head] {
            writer.put(part);
        }
        Ok(writer)
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.fill(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Takes what the last chunk has room for.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            let chunk = self.spare.0.pop();
            let chunk = chunk.unwrap_or_else(|| Vec::with_capacity(CHUNK));
            self.chunks.push(chunk);
        }
        let Some(last) = self.chunks.last_mut() else {
            return 0;
        };
        let taken = bytes.len().min(CHUNK - last.len());
        last.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Appends batches of one schema; there is at least one.
    pub(super) fn batches(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let schema = batches.first().map_or_else(
            || Arc::new(Schema::empty()),
            arrow::array::RecordBatch::schema,
        );
        // Its length is written when it is known, so its place must be in one chunk.
        // Most of what has many sections are snapshots, whose sections are small.
        let mut chunk = self.spare.0.pop().unwrap_or_default();
        chunk.extend([0; 8]);
        self.chunks.push(chunk);
        let section = self.chunks.len() - 1;
        let mut stream = StreamWriter::try_new(&mut *self, &schema)?;
        for batch in batches {
            stream.write(batch)?;
        }
        stream.finish()?;
        drop(stream);
        let length: usize = self.chunks[section..].iter().map(Vec::len).sum();
        let length = (length - 8) as u64;
        self.chunks[section][..8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Bytes> {
        let mut checksum = Xxh3::new();
        self.chunks.iter().for_each(|chunk| checksum.update(chunk));
        self.put(&checksum.digest().to_le_bytes());
        self.chunks.into_iter().map(Bytes::from).collect()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.fill(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a container section by section.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the whole and reads the head.
    pub(super) fn open<T: DeserializeOwned>(
        bytes: &'a [u8],
        magic: [u8; 8],
        version: u32,
    ) -> Result<(T, Self)> {
        let split = bytes.len().checked_sub(8).filter(|split| *split >= 12);
        let split = split.ok_or_else(|| Error::corrupt("it is cut short"))?;
        let (body, checksum) = bytes.split_at(split);
        if body[..8] != magic {
            return Err(Error::corrupt("it is not what its name says"));
        }
        if xxh3_64(body).to_le_bytes() != checksum {
            return Err(Error::corrupt("its checksum does not match"));
        }
        let found = u32::from_le_bytes([body[8], body[9], body[10], body[11]]);
        if found != version {
            return Err(Error::corrupt(format!(
                "it has format {found}, this build reads format {version}"
            )));
        }
        let mut reader = Self { rest: &body[12..] };
        let head = postcard::from_bytes(reader.section()?)
            .map_err(|e| Error::corrupt("its head cannot be decoded").caused_by(e))?;
        Ok((head, reader))
    }

    fn section(&mut self) -> Result<&'a [u8]> {
        let short = || Error::corrupt("a section is cut short");
        let (length, rest) = self.rest.split_first_chunk::<8>().ok_or_else(short)?;
        let length = u64::from_le_bytes(*length) as usize;
        let (section, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        self.rest = rest;
        Ok(section)
    }

    /// The batches of the next section.
    pub(super) fn batches(&mut self) -> Result<Vec<RecordBatch>> {
        let reader = StreamReader::try_new(self.section()?, None);
        let reader = reader.map_err(|e| Error::corrupt("a section is no table").caused_by(e))?;
        let batches = reader.collect::<Result<Vec<_>, _>>();
        batches.map_err(|e| Error::corrupt("a section is a damaged table").caused_by(e))
    }
}
