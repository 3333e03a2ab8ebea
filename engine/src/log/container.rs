//! The bytes of records and snapshots: magic, version, sections, checksum.
//!
//! ```text
//! 8 bytes  magic            4 bytes  version (u32, little endian, as all numbers)
//! then per section: 8 bytes length, the bytes
//! 8 bytes  xxh3-64 of everything before
//! ```
//! The first section is a postcard value, the others are Arrow IPC streams.

use std::mem;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamEncoder;
use bytes::Bytes;
use object_store::PutPayload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};

/// Buffers of at least so many bytes are handed on as they are: to copy them costs as much again
/// as to write them. Smaller ones are put together, because each part may be a call of the system.
const LENT: usize = 16 * 1024;

/// A buffer as the owner of bytes.
struct Lent(Buffer);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Builds a container, in parts that follow each other. The rows' own memory is among them: nothing
/// of a large batch is copied on its way to the store.
#[derive(Debug)]
pub(super) struct Writer {
    parts: Vec<Bytes>,
    /// What follows them.
    tail: Vec<u8>,
}

impl Writer {
    pub(super) fn new<T: Serialize>(magic: [u8; 8], version: u32, head: &T) -> Result<Self> {
        let head = postcard::to_stdvec(head)
            .map_err(|e| Error::internal("a log object cannot be encoded").caused_by(e))?;
        let length = (head.len() as u64).to_le_bytes();
        let (parts, tail) = (vec![], [&magic[..], &version.to_le_bytes(), &length, &head]);
        Ok(Self {
            parts,
            tail: tail.concat(),
        })
    }

    fn put(&mut self, buffer: Buffer) {
        if buffer.len() < LENT {
            self.tail.extend_from_slice(&buffer);
            return;
        }
        self.end_part();
        self.parts.push(Bytes::from_owner(Lent(buffer)));
    }

    fn end_part(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(Bytes::from(mem::take(&mut self.tail)));
        }
    }

    /// Appends batches of one schema; there is at least one.
    pub(super) fn batches(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let schema = batches.first().map_or_else(
            || Arc::new(Schema::empty()),
            arrow::array::RecordBatch::schema,
        );
        let mut stream = StreamEncoder::try_new(&schema)?;
        let mut buffers = vec![];
        for batch in batches {
            buffers.extend(stream.encode(batch)?);
        }
        buffers.extend(stream.finish()?);
        let length: usize = buffers.iter().map(Buffer::len).sum();
        self.tail.extend((length as u64).to_le_bytes());
        for buffer in buffers {
            self.put(buffer);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> PutPayload {
        self.end_part();
        let mut checksum = Xxh3::new();
        self.parts.iter().for_each(|part| checksum.update(part));
        let checksum = checksum.digest().to_le_bytes();
        self.parts.push(Bytes::copy_from_slice(&checksum));
        self.parts.into_iter().collect()
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
