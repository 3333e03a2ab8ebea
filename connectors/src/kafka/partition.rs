//! One partition while it is read: messages become rows, or rejected ones, until they are taken.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use engine::{Polled, Rejected, Result};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::metadata::{Metadata, record_time};
use super::source::Settings;
use super::start::Start;
use crate::format::{self, Decoder};

/// A partition and what was gathered of it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) start: Start,
    /// Where its bounded input ends.
    pub(super) end: Option<i64>,
    pub(super) done: bool,
    decoder: Box<dyn Decoder>,
    metadata: Metadata,
    offsets: Vec<i64>,
    times: Vec<i64>,
    rejected: Vec<Rejected>,
    pub(super) next_offset: i64,
}

impl Partition {
    /// A partition that begins where it was found to start.
    pub(super) fn open(settings: &Settings, start: Start) -> Result<Self> {
        let end = settings.end(&start.split, start.end);
        Ok(Self {
            done: end.is_some_and(|end| start.from >= end),
            end,
            decoder: format::decoder(&settings.stream)?,
            metadata: Metadata::new(&settings.stream)?,
            offsets: vec![],
            times: vec![],
            rejected: vec![],
            next_offset: start.from,
            start,
        })
    }

    /// Rows and rejected messages that wait.
    pub(super) fn gathered(&self) -> usize {
        self.offsets.len() + self.rejected.len()
    }

    /// Takes a message and counts it.
    pub(super) fn gather(&mut self, message: &BorrowedMessage<'_>) -> usize {
        let offset = message.offset();
        if self.done || offset < self.next_offset {
            return 0;
        }
        if self.end.is_some_and(|end| offset >= end) {
            self.done = true;
            return 0;
        }
        self.next_offset = offset + 1;
        self.done = self.end == Some(self.next_offset);
        let time = record_time(message);
        let decoded = match message.payload() {
            None => Err("a tombstone: the message has no value".to_owned()),
            Some(payload) => self
                .metadata
                .check(message)
                .and_then(|()| self.decoder.decode(payload)),
        };
        match decoded {
            Ok(()) => {
                self.metadata.push(message);
                self.offsets.push(offset);
                self.times.extend(time);
            }
            Err(reason) => self.rejected.push(Rejected {
                offset,
                record_time: time,
                payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                reason,
            }),
        }
        1
    }

    /// What was gathered since the last call.
    pub(super) fn take(&mut self, schema: &SchemaRef) -> Result<Polled> {
        let decoded = self.decoder.take()?;
        let mut columns = decoded.columns().to_vec();
        columns.extend(self.metadata.take()?);
        let options = RecordBatchOptions::new().with_row_count(Some(decoded.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        let offsets = std::mem::take(&mut self.offsets);
        let times = std::mem::take(&mut self.times);
        Ok(Polled {
            split: self.start.split.clone(),
            rows,
            // Very old formats have messages without a time.
            record_times: (times.len() == offsets.len()).then(|| ScalarBuffer::from(times)),
            offsets: ScalarBuffer::from(offsets),
            rejected: std::mem::take(&mut self.rejected),
            next_offset: self.next_offset,
        })
    }
}
