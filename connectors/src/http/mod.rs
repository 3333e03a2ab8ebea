//! HTTP: a URL that is asked again and again, whose answers hold rows; or rows that are posted to
//! Millstream.

mod ask;
pub mod push;
mod request;
mod rows;
mod source;

use engine::{Result, StreamSpec};
use serde::Deserialize;

pub use ask::ask;
pub use rows::Form;

use crate::Connector;
use crate::collect::Numbered;
use crate::options::{self, Duration, Properties, Size, Text};

/// The name in `'connector' = '…'`.
const NAME: &str = "http";

/// Options of `'connector' = 'http'` that asks.
///
/// ```sql
/// CREATE TABLE quotes (symbol STRING, price DOUBLE) WITH (
///   'connector' = 'http', 'format' = 'json', 'interval' = '5 s',
///   'url' = 'https://api.example.com/quotes?symbols=AAPL,MSFT&apikey=${KEY}',
///   'pointer' = '/data/quotes'
/// );
/// ```
///
/// Every answer gives its rows anew; an answer that the server marks as unchanged (304 to
/// `If-None-Match` or `If-Modified-Since`) gives none. The split is named `http`, offsets number
/// the rows. A row that cannot be read, an answer that is not JSON, is too large or has nothing
/// at the pointer becomes a dead letter; of a long one the first 64 kB are kept.
///
/// A server that does not answer, is overloaded (408, 429) or fails (5xx) is asked again with
/// growing pauses of up to a minute, or after its `Retry-After`. Any other status ends the job.
/// The proxies of the environment (`HTTPS_PROXY`, …) are used, except for addresses of this
/// machine. What was received cannot be asked for again: the job's log keeps it.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// What to ask for.
    pub url: Text,
    /// The time from one request to the next; default `'60 s'`.
    pub interval: Option<Duration>,
    /// JSON pointer to the row, or to the array of rows, within the answer; default `''`, the
    /// whole answer.
    #[serde(default)]
    pub pointer: String,
    /// `headers.NAME`: headers of every request. A redirect to another host is then refused,
    /// since it would pass them on.
    #[serde(rename = "headers.*")]
    pub headers: Properties,
    /// How long a request may take as a whole; default `'30 s'`.
    pub timeout: Option<Duration>,
    /// Largest answer, after decompression; default `'64 MB'`.
    #[serde(rename = "body.limit")]
    pub body_limit: Option<Size>,
    /// `poll`, or `push` for a table whose rows are posted to Millstream: see [`push`].
    pub mode: Option<String>,
}

/// The connector `http`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http;

impl Connector for Http {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self, stream: &StreamSpec) -> Result<Box<dyn engine::Source>> {
        if push::is_pushed(stream) {
            // Nobody pushes into it: to be read it is opened by both its ends.
            return Ok(push::open(stream)?.1);
        }
        let options = options::parse_transport(stream)?;
        Ok(Box::new(Numbered::new(source::Source::new(
            stream, options,
        )?)))
    }
}
