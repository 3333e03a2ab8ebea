//! WebSocket on the wire (RFC 6455, with RFC 7692 compression), as a server speaks it: pure, no I/O.
//!
//! | file | what it holds |
//! |---|---|
//! | `handshake` | the upgrade of an HTTP request, and which extension was agreed on |
//! | `frame` | headers of frames, masks, and what in them is against the protocol |
//! | `decoder` | bytes in, whole messages out: fragments, UTF-8, limits, close codes |
//! | `deflate` | the payload of one message, compressed for itself alone |
//!
//! Our own because a frame to many readers is built and compressed once and its bytes are shared:
//! a server's frames are not masked, and without context takeover a compressed message does not
//! depend on who gets it. And because a connection that waits holds no buffers.

mod decoder;
mod deflate;
mod frame;
mod handshake;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event};
pub use deflate::{compress, inflate};
pub use frame::{OpCode, Role, close_frame, encode, encode_masked};
pub use handshake::{Handshake, Refusal, accept_key};

/// What the peer did that ends the connection, with the status code of the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// 1002 protocol error, 1003 data that is not accepted, 1007 invalid UTF-8 or compressed data,
    /// 1009 too big.
    pub code: u16,
    /// What was wrong.
    pub reason: &'static str,
}

impl Violation {
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }

    pub(super) const fn data(reason: &'static str) -> Self {
        Self { code: 1007, reason }
    }

    pub(super) const fn too_big(reason: &'static str) -> Self {
        Self { code: 1009, reason }
    }
}
