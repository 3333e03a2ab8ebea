//! JSON messages into rows.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use engine::{Result, StreamSpec};

use super::column::{Column, Context};
use super::object::{Fault, Members, not_an_object};
use super::scan::Scanner;
use super::time::TimestampFormat;
use crate::format;

/// Reads one object per message into columns.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: SchemaRef,
    members: Members,
    context: Context,
}

impl Decoder {
    pub(super) fn new(stream: &StreamSpec, time: TimestampFormat) -> Result<Self> {
        let fields = stream.schema.fields();
        let nullable = fields
            .iter()
            .map(|field| Field::clone(field).with_nullable(true));
        Ok(Self {
            schema: Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
            members: Members::new(fields)?,
            context: Context {
                time,
                scratch: vec![],
            },
        })
    }

    fn object(&mut self, text: &str) -> Result<(), Fault> {
        let mut scanner = Scanner::new(text);
        if let Some(reason) = not_an_object(scanner.kind()?) {
            return Err(Fault::new(reason));
        }
        self.members.append(&mut scanner, &mut self.context, 1)?;
        Ok(scanner.end()?)
    }
}

impl format::Decoder for Decoder {
    fn decode(&mut self, payload: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(payload)
            .map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
        let rows = self.members.rows();
        self.object(text).map_err(|fault| {
            self.members.truncate(rows);
            fault.to_string()
        })
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let rows = self.members.rows();
        let columns = self.members.columns.iter_mut().map(Column::take);
        let columns = columns.collect::<Result<Vec<_>>>()?;
        self.members.restart();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}
