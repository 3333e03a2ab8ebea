//! permessage-deflate (RFC 7692) without context takeover: every message is compressed for itself,
//! so one compressed message serves every reader.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;

/// What ends a block that is flushed; it is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Level 3 finds the field names, which all rows repeat; 6 also what the numbers share. It is paid once
/// for all readers of a message.
const LEVEL: u32 = 6;

thread_local! {
    /// A compressor holds a quarter of a megabyte: one per thread, not per message.
    static COMPRESSOR: RefCell<Compress> =
        RefCell::new(Compress::new(Compression::new(LEVEL), false));
}

/// The payload as a message of its own; `None` where that saves nothing.
#[must_use]
pub fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut out = Vec::with_capacity(payload.len() / 3 + 64);
        loop {
            let read = usize::try_from(compressor.total_in()).ok()?;
            let flush = FlushCompress::Sync;
            compressor
                .compress_vec(payload.get(read..)?, &mut out, flush)
                .ok()?;
            let whole = compressor.total_in() == payload.len() as u64;
            if whole && out.len() < out.capacity() {
                break;
            }
            if out.len() >= payload.len() + 64 {
                return None;
            }
            out.reserve(out.capacity());
        }
        let end = out.len().checked_sub(TAIL.len())?;
        if out[end..] != TAIL || end >= payload.len() {
            return None;
        }
        out.truncate(end);
        Some(out)
    })
}

/// The message that a payload is compressed of; one of more than `limit` bytes is too big, and is
/// not unpacked any further than that.
pub fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let damaged = Violation::data("a compressed message cannot be read");
    let mut input = Vec::with_capacity(payload.len() + TAIL.len());
    input.extend_from_slice(payload);
    input.extend_from_slice(&TAIL);
    let mut out = Vec::with_capacity((payload.len() * 4).clamp(64, limit.max(64)));
    let mut rest = input.as_slice();
    let mut inflater = Decompress::new(false);
    loop {
        let (read, written) = (inflater.total_in(), out.len());
        let status = inflater.decompress_vec(rest, &mut out, FlushDecompress::Sync);
        let status = status.map_err(|_| damaged)?;
        if out.len() > limit {
            return Err(Violation::too_big("a compressed message is too big"));
        }
        let read = usize::try_from(inflater.total_in() - read).map_err(|_| damaged)?;
        rest = &rest[read..];
        let full = out.len() == out.capacity();
        match status {
            // A block marked as the last may be followed by others, or by the tail alone.
            Status::StreamEnd if rest.is_empty() || rest == TAIL => break,
            Status::StreamEnd => inflater = Decompress::new(false),
            _ if full => out.reserve(out.capacity().clamp(64, 65_536)),
            _ if rest.is_empty() => break,
            _ if read == 0 && out.len() == written => return Err(damaged),
            _ => {}
        }
    }
    Ok(out)
}
