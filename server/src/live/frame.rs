//! A message to readers: built once, compressed once, shared by all who get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::cursor::Cursor;
use super::websocket::{OpCode, compress, encode};

/// A message of fewer bytes is not compressed: that saves less than it costs.
const LEAST_COMPRESSED: usize = 256;
/// Room in front of the text for the header of its frame.
const ROOM: usize = 10;

/// A message with its forms on the wire.
#[derive(Debug)]
pub(super) struct Frame {
    /// The frame as it is, header and all.
    plain: Bytes,
    /// Where its text begins.
    text: usize,
    /// The same, compressed; made for the first reader who wants it.
    packed: OnceLock<Bytes>,
    /// How far a reader is that has read it, where it says so.
    pub(super) cursor: Option<Cursor>,
}

impl Frame {
    /// The frame of a JSON text that a [`Text`] holds.
    pub(super) fn of(text: Text, cursor: Option<Cursor>) -> Arc<Self> {
        let (plain, text) = text.into_frame();
        Arc::new(Self {
            plain,
            text,
            packed: OnceLock::new(),
            cursor,
        })
    }

    /// The JSON alone.
    pub(super) fn text(&self) -> Bytes {
        self.plain.slice(self.text..)
    }

    /// The bytes for a WebSocket.
    pub(super) fn wire(&self, deflate: bool) -> &Bytes {
        if !deflate || self.plain.len() - self.text < LEAST_COMPRESSED {
            return &self.plain;
        }
        self.packed
            .get_or_init(|| match compress(&self.plain[self.text..]) {
                Some(packed) => encode(OpCode::Text, true, &packed).into(),
                None => self.plain.clone(),
            })
    }

    /// What it counts in a queue.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }
}

/// A JSON text under way, with room in front for the header of the frame.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
}

impl Text {
    pub(super) fn new(start: &str) -> Self {
        let mut bytes = vec![0; ROOM];
        bytes.extend_from_slice(start.as_bytes());
        Self { bytes }
    }

    /// Appends text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - ROOM
    }

    fn into_frame(mut self) -> (Bytes, usize) {
        let length = self.len();
        let header = server_header(length);
        let start = ROOM - header.len();
        self.bytes[start..ROOM].copy_from_slice(&header);
        (Bytes::from(self.bytes).slice(start..), header.len())
    }
}

/// The header of a whole text message of so many bytes, not compressed.
fn server_header(length: usize) -> Vec<u8> {
    let mut header = vec![0x81];
    match length {
        0..=125 => header.push(length as u8),
        126..=0xffff => {
            header.push(126);
            header.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::super::websocket::{Decoder, Event, Role};
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        for length in [0, 10, 125, 126, 255, 256, 5_000, 70_000] {
            let text = "{\"a\":1.25},".repeat(length / 11 + 1)[..length].to_owned();
            let frame = Frame::of(Text::new(&text), None);
            assert_eq!(frame.text(), text.as_bytes());
            for deflate in [false, true] {
                let mut client = Decoder::new(Role::Client, deflate, 1 << 20);
                client.feed(frame.wire(deflate));
                assert_eq!(client.next_event(), Ok(Some(Event::Text(text.clone()))));
            }
            assert_eq!(
                frame.wire(true).len() < frame.wire(false).len(),
                length >= 256
            );
        }
    }
}
