//! From bytes to messages. What was read is kept only as long as a message is not whole.

use super::frame::{Header, OpCode, Role, unmask};
use super::{Violation, inflate};

/// What a peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message of text.
    Text(String),
    /// A whole message of bytes.
    Binary(Vec<u8>),
    /// To be answered by a pong with this payload.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// The peer's last frame: its status code, if it gave one, and reason.
    Close(Option<u16>, String),
}

/// A message of which some parts are there.
#[derive(Debug)]
struct Partial {
    text: bool,
    compressed: bool,
    payload: Vec<u8>,
    /// How much of it is known to be UTF-8.
    checked: usize,
}

/// Reads one connection. After a [`Violation`] or a close frame it reads nothing more.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    deflate: bool,
    /// The most bytes of a message, compressed or not.
    limit: usize,
    buffer: Vec<u8>,
    read: usize,
    partial: Option<Box<Partial>>,
    closed: bool,
}

impl Decoder {
    /// A decoder; with `deflate` the extension was agreed on. A frame or message of more than
    /// `limit` bytes is too big.
    #[must_use]
    pub fn new(role: Role, deflate: bool, limit: usize) -> Self {
        Self {
            role,
            deflate,
            limit,
            buffer: vec![],
            read: 0,
            partial: None,
            closed: false,
        }
    }

    /// Takes what was received.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event, once enough was received.
    pub fn next_event(&mut self) -> Result<Option<Event>, Violation> {
        let event = self.frames();
        if self.closed || event.is_err() {
            self.closed = true;
            self.buffer = vec![];
            self.partial = None;
        } else if self.read == self.buffer.len() {
            // A connection that waits holds no buffer.
            self.buffer = vec![];
        } else {
            self.buffer.drain(..self.read);
        }
        self.read = 0;
        event
    }

    /// Reads frames until an event is whole.
    fn frames(&mut self) -> Result<Option<Event>, Violation> {
        while !self.closed {
            let bytes = &self.buffer[self.read..];
            let header = Header::read(bytes, self.role, self.deflate, self.limit)?;
            let Some(header) = header else { break };
            let whole = header.size + header.payload;
            if bytes.len() < whole {
                break;
            }
            let mut payload = bytes[header.size..whole].to_vec();
            self.read += whole;
            if let Some(mask) = header.mask {
                unmask(&mut payload, mask);
            }
            if let Some(event) = self.frame(header, payload)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn frame(&mut self, header: Header, payload: Vec<u8>) -> Result<Option<Event>, Violation> {
        match (header.opcode, &mut self.partial) {
            (OpCode::Ping, _) => return Ok(Some(Event::Ping(payload))),
            (OpCode::Pong, _) => return Ok(Some(Event::Pong(payload))),
            (OpCode::Close, _) => {
                self.closed = true;
                return close(&payload).map(Some);
            }
            (OpCode::Continuation, None) => {
                return Err(Violation::protocol("a continuation of no message"));
            }
            (OpCode::Continuation, Some(partial)) => {
                if partial.payload.len() + payload.len() > self.limit {
                    return Err(Violation::too_big("a message is too big"));
                }
                partial.payload.extend_from_slice(&payload);
            }
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(Violation::protocol("a message begins inside another"));
            }
            (opcode, None) => {
                self.partial = Some(Box::new(Partial {
                    text: opcode == OpCode::Text,
                    compressed: header.compressed,
                    payload,
                    checked: 0,
                }));
            }
        }
        let Some(partial) = &mut self.partial else {
            return Ok(None);
        };
        if !header.last {
            if partial.text && !partial.compressed {
                partial.check(false)?;
            }
            return Ok(None);
        }
        let limit = self.limit;
        self.partial
            .take()
            .map(|partial| partial.finish(limit))
            .transpose()
    }
}

impl Partial {
    /// Checks that what came so far begins a text; a character that is cut is whole later, unless
    /// this is the end.
    fn check(&mut self, last: bool) -> Result<(), Violation> {
        let invalid = Violation::data("a text is not UTF-8");
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            Err(error) if error.error_len().is_none() && !last => {
                self.checked += error.valid_up_to();
            }
            Err(_) => return Err(invalid),
        }
        Ok(())
    }

    fn finish(mut self, limit: usize) -> Result<Event, Violation> {
        if self.compressed {
            self.payload = inflate(&self.payload, limit)?;
        }
        if !self.text {
            return Ok(Event::Binary(self.payload));
        }
        self.check(true)?;
        let text = String::from_utf8(self.payload);
        text.map(Event::Text)
            .map_err(|_| Violation::data("a text is not UTF-8"))
    }
}

fn close(payload: &[u8]) -> Result<Event, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(Event::Close(None, String::new())),
        [_] => return Err(Violation::protocol("a close frame has half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::protocol(
            "a close frame has a code that is never sent",
        ));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Event::Close(Some(code), reason.to_owned())),
        Err(_) => Err(Violation::data("the reason of a close frame is not UTF-8")),
    }
}
