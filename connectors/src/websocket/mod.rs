//! WebSocket: a feed that is subscribed to, and connected to again whenever it breaks.

mod connection;
mod source;

use engine::{Result, StreamSpec};
use serde::Deserialize;

use crate::Connector;
use crate::collect::Numbered;
use crate::options::{self, Duration, Properties, Text};

/// Options of `'connector' = 'websocket'`.
///
/// ```sql
/// CREATE TABLE trades (symbol STRING, price DOUBLE) WITH (
///   'connector' = 'websocket', 'format' = 'json', 'pointer' = '/data',
///   'url' = 'wss://stream.example.com/v1',
///   'subscribe' = '[{"op": "auth", "key": "${KEY}"}, {"op": "subscribe", "channel": "trades"}]'
/// );
/// ```
///
/// Every frame, text or binary, is a message: the row or the array of rows at `pointer`. The
/// split is named `websocket`, offsets number the rows across connections. A row that cannot be
/// read and a frame that is not JSON become dead letters; of a long one the first 64 kB are kept.
///
/// A connection that breaks, or that is silent for too long, is opened again with growing pauses
/// of up to a minute, each attempt a line in the log; what the server sent in between is not
/// asked for. A handshake that the server refuses with 4xx (other than 408 and 429) ends the job.
/// Proxies are not used. What was received cannot be asked for again: the job's log keeps it.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Where to connect: `wss://…` or `ws://…`.
    pub url: Text,
    /// Sent after every connect: one message, or several as a JSON array whose elements are
    /// sent as they stand (a string as its text).
    pub subscribe: Option<Text>,
    /// `headers.NAME`: headers of the handshake.
    #[serde(rename = "headers.*")]
    pub headers: Properties,
    /// JSON pointer to the row, or to the array of rows, within a frame; default `''`, the whole
    /// frame.
    #[serde(default)]
    pub pointer: String,
    /// A connection on which nothing was heard for so long is sent a ping, and after twice the
    /// time it is taken as dead; default `'15 s'`.
    pub heartbeat: Option<Duration>,
    /// Whether frames with nothing at `pointer` (confirmations, heartbeats of the venue) are
    /// counted and left out, the default, or become dead letters.
    #[serde(rename = "skip.unmatched")]
    pub skip_unmatched: Option<bool>,
}

/// The connector `websocket`.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebSocket;

impl Connector for WebSocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn engine::Source>> {
        let options = options::parse_transport(stream)?;
        Ok(Box::new(Numbered::new(source::Source::new(
            stream, options,
        )?)))
    }
}
