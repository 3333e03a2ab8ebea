//! The bytes of records and snapshots: magic, version, sections, checksum.
//!
//! ```text
//! 8 bytes  magic            4 bytes  version (u32, little endian, as all numbers)
//! then per section: 8 bytes length, the bytes
//! 8 bytes  xxh3-64 of everything before
//! ```
//! The first section is a postcard value, the others are Arrow IPC streams.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// Builds a container.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new<T: Serialize>(magic: [u8; 8], version: u32, head: &T) -> Result<Self> {
        let head = postcard::to_stdvec(head)
            .map_err(|e| Error::internal("a log object cannot be encoded").caused_by(e))?;
        let mut writer = Self { bytes: vec![] };
        writer.bytes.extend(magic);
        writer.bytes.extend(version.to_le_bytes());
        writer.bytes.extend((head.len() as u64).to_le_bytes());
        writer.bytes.extend(head);
        Ok(writer)
    }

    /// Appends batches of one schema; there is at least one.
    pub(super) fn batches(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let schema = batches.first().map_or_else(
            || Arc::new(Schema::empty()),
            arrow::array::RecordBatch::schema,
        );
        let start = self.bytes.len();
        self.bytes.extend([0; 8]);
        let mut stream = StreamWriter::try_new(&mut self.bytes, &schema)?;
        for batch in batches {
            stream.write(batch)?;
        }
        stream.finish()?;
        drop(stream);
        let length = (self.bytes.len() - start - 8) as u64;
        self.bytes[start..start + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Bytes {
        let checksum = xxh3_64(&self.bytes);
        self.bytes.extend(checksum.to_le_bytes());
        self.bytes.into()
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
