//! `'connector' = 'stdout'`: rows on the terminal, as JSON lines or as tables.

use std::io::{self, BufWriter, Write};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use engine::{Emit, Epoch, Error, Result, Sink, StreamSpec};

use crate::format::{self, Encoder, Messages};
use crate::{Connector, Owner, options};

/// The connector. It only writes. Options:
///
/// - `format`: `json` (default) writes one object per line, with the options of
///   [`JsonOptions`](crate::format::json::JsonOptions); `table` draws every batch as a table.
///
/// Lines are written whole. A closed pipe ends the job with an error that [`is_closed`] knows.
#[derive(Debug)]
pub struct Stdout;

impl Connector for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn sink(&self, stream: &StreamSpec, _: &Owner) -> Result<Box<dyn Sink>> {
        Ok(Box::new(StdoutSink::new(stream, Box::new(io::stdout()))?))
    }
}

/// No options but those of the format.
#[derive(Debug, serde::Deserialize)]
struct NoOptions {}

/// `format = 'table'`.
#[derive(Debug, serde::Deserialize)]
struct TableOptions {
    #[serde(rename = "format")]
    _format: options::Text,
}

/// Writes rows to a stream of bytes.
pub struct StdoutSink {
    out: Box<dyn Write + Send>,
    /// `None`: tables.
    encoder: Option<Box<dyn Encoder>>,
    messages: Messages,
    published: Epoch,
}

impl std::fmt::Debug for StdoutSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdoutSink").finish_non_exhaustive()
    }
}

impl StdoutSink {
    /// A sink that writes to `out` what the connector writes to the terminal.
    pub fn new(stream: &StreamSpec, out: Box<dyn Write + Send>) -> Result<Self> {
        let encoder = match stream.options.get("format").map_or("json", String::as_str) {
            "json" => {
                let NoOptions {} = options::parse_transport(stream)?;
                Some(format::encoder(stream)?)
            }
            "table" => {
                options::parse::<TableOptions>(stream)?;
                None
            }
            other => {
                let message = format!("is '{other}', expected 'json' or 'table'");
                return Err(options::invalid(stream, "format", &message));
            }
        };
        Ok(Self {
            out,
            encoder,
            messages: Messages::default(),
            published: Epoch(0),
        })
    }

    fn write(&mut self, rows: &[RecordBatch]) -> Result<()> {
        let mut text = BufWriter::new(&mut self.out);
        for batch in rows {
            let Some(encoder) = &mut self.encoder else {
                let table = pretty_format_batches(std::slice::from_ref(batch))?;
                writeln!(text, "{table}").map_err(failed)?;
                continue;
            };
            self.messages.clear();
            encoder.encode(batch, &mut self.messages)?;
            for message in self.messages.iter() {
                let line = text.write_all(message).and_then(|()| text.write_all(b"\n"));
                line.map_err(failed)?;
            }
        }
        text.flush().map_err(failed)
    }
}

/// The reader of the standard output has seen enough.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken pipe")
    }
}

impl std::error::Error for Closed {}

/// Whether a job ended because the reader of the standard output (`| head`) has closed it.
#[must_use]
pub fn is_closed(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Closed>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => {
            Error::invalid("the reader of the standard output has closed it").caused_by(Closed)
        }
        _ => Error::invalid("the standard output cannot be written").caused_by(error),
    }
}

#[async_trait]
impl Sink for StdoutSink {
    fn emit(&self) -> Emit {
        Emit::Now
    }

    async fn publish(&mut self, epoch: Epoch, rows: &[RecordBatch]) -> Result<()> {
        self.write(rows)?;
        self.published = self.published.max(epoch);
        Ok(())
    }

    async fn published(&mut self) -> Result<Epoch> {
        Ok(self.published)
    }

    async fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(failed)
    }
}
