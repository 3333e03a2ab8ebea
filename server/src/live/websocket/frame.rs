//! Frames: header, mask, payload.
//!
//! ```text
//! FIN RSV1 RSV2 RSV3 opcode(4) | MASK length(7) | length 16 or 64 bits | mask (4 bytes) | payload
//! ```

use super::Violation;

/// The most a control frame carries.
pub(super) const MOST_CONTROL: usize = 125;

/// Whose frames are read: a client's are masked, a server's are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what clients send.
    Server,
    /// Reads what servers send.
    Client,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpCode {
    /// The next part of a message.
    Continuation,
    /// A message of UTF-8.
    Text,
    /// A message of bytes.
    Binary,
    /// The last frame that a side sends.
    Close,
    /// To be answered by a pong with the same payload.
    Ping,
    /// The answer.
    Pong,
}

impl OpCode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Close, ping and pong: short, whole, allowed between the parts of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.bits() & 8 != 0
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    pub(super) size: usize,
    pub(super) payload: usize,
}

impl Header {
    /// The header at the beginning of `bytes`; `None` where it is not all there yet. `limit` is
    /// the most a payload may have.
    pub(super) fn read(
        bytes: &[u8],
        role: Role,
        deflate: bool,
        limit: usize,
    ) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = OpCode::of(first & 0x0f);
        let opcode = opcode.ok_or(Violation::protocol("a reserved opcode"))?;
        let (last, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
        if first & 0x30 != 0 || (compressed && !deflate) {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        if compressed && !matches!(opcode, OpCode::Text | OpCode::Binary) {
            let reason = "a frame that begins no message is marked as compressed";
            return Err(Violation::protocol(reason));
        }
        let masked = second & 0x80 != 0;
        match (role, masked) {
            (Role::Server, false) => return Err(Violation::protocol("a frame is not masked")),
            (Role::Client, true) => return Err(Violation::protocol("a frame is masked")),
            _ => {}
        }
        let short = usize::from(second & 0x7f);
        if opcode.is_control() && (short > MOST_CONTROL || !last) {
            return Err(Violation::protocol("a control frame is long or fragmented"));
        }
        let (length, width) = match short {
            126 => match rest.first_chunk() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
                None => return Ok(None),
            },
            short => (short as u64, 0),
        };
        let shortest = match width {
            2 => length >= 126,
            8 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(Violation::protocol(
                "the length of a frame is written wrongly",
            ));
        }
        let payload = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit);
        let payload = payload.ok_or(Violation::too_big("a frame is too big"))?;
        let mask = match masked {
            false => None,
            true => match rest.get(width..).and_then(<[u8]>::first_chunk) {
                Some(mask) => Some(*mask),
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            last,
            compressed,
            opcode,
            mask,
            size: 2 + width + if masked { 4 } else { 0 },
            payload,
        }))
    }
}

/// Takes the mask off, or puts it on.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

fn put_header(out: &mut Vec<u8>, opcode: OpCode, compressed: bool, masked: bool, length: usize) {
    out.push(0x80 | if compressed { 0x40 } else { 0 } | opcode.bits());
    let mask = if masked { 0x80 } else { 0 };
    match length {
        0..=125 => out.push(mask | length as u8),
        126..=0xffff => {
            out.push(mask | 0x7e);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 0x7f);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A whole message in one frame, as a server sends it. `compressed` says that the payload is what
/// [`compress`](super::compress) gave.
#[must_use]
pub fn encode(opcode: OpCode, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    put_header(&mut out, opcode, compressed, false, payload.len());
    out.extend_from_slice(payload);
    out
}

/// The same as a client sends it.
#[must_use]
pub fn encode_masked(opcode: OpCode, compressed: bool, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    put_header(&mut out, opcode, compressed, true, payload.len());
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
    out
}

/// A close frame with a status code, or without, and a reason that is cut where it is too long.
#[must_use]
pub fn close_frame(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = vec![];
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let end = reason.floor_char_boundary(MOST_CONTROL - 2);
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    encode(OpCode::Close, false, &payload)
}
