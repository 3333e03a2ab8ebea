//! permessage-deflate (RFC 7692) without context takeover: every message is compressed for itself,
//! so one compressed message serves every reader.

use std::cell::RefCell;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

use super::Violation;

/// What ends a block that is flushed; it is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The logarithm of the window, as every client has it; negative where no header goes with it.
const WINDOW: u8 = 15;
/// Up to 6 `zlib-rs` looks for matches without heeding the strategy. It is paid once for all
/// readers of a message.
const LEVEL: i32 = 7;
/// Leaves out matches of up to five bytes. Between numbers those are chance, and dearer than their
/// digits: rows of doubles become a twelfth smaller than at level 6 without it.
const STRATEGY: Strategy = Strategy::Filtered;

/// By how much the room of a message that is unpacked grows.
const STEP: usize = 65_536;

thread_local! {
    /// A compressor holds a quarter of a megabyte: one per thread, not per message.
    static COMPRESSOR: RefCell<Deflate> =
        RefCell::new(Deflate::new_with_config(DeflateConfig {
            level: LEVEL,
            strategy: STRATEGY,
            window_bits: -i32::from(WINDOW),
            ..DeflateConfig::default()
        }));
}

/// The payload as a message of its own; `None` where that saves nothing.
#[must_use]
pub fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        // Where the room is used up, something may not be out yet, and nothing is saved.
        let mut out = vec![0; payload.len() + TAIL.len()];
        let flush = DeflateFlush::SyncFlush;
        compressor.compress(payload, &mut out, flush).ok()?;
        let length = usize::try_from(compressor.total_out()).ok()?;
        let end = length.checked_sub(TAIL.len())?;
        if end >= payload.len() || out[end..length] != TAIL {
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
    let input = [payload, &TAIL].concat();
    let most = limit.saturating_add(1);
    let mut out = vec![0; (payload.len() * 4).clamp(64, STEP).min(most)];
    let (mut rest, mut written) = (input.as_slice(), 0);
    let mut inflater = Inflate::new(false, WINDOW);
    loop {
        let (read, wrote) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(rest, &mut out[written..], InflateFlush::SyncFlush);
        let status = status.map_err(|_| damaged)?;
        let read = usize::try_from(inflater.total_in() - read).map_err(|_| damaged)?;
        let wrote = usize::try_from(inflater.total_out() - wrote).map_err(|_| damaged)?;
        rest = &rest[read..];
        written += wrote;
        if written > limit {
            return Err(Violation::too_big("a compressed message is too big"));
        }
        let full = written == out.len();
        match status {
            // A block marked as the last may be followed by others, or by the tail alone.
            Status::StreamEnd if rest.is_empty() || rest == TAIL => break,
            Status::StreamEnd => inflater = Inflate::new(false, WINDOW),
            _ if full => out.resize((written + written.clamp(64, STEP)).min(most), 0),
            _ if rest.is_empty() => break,
            _ if read == 0 && wrote == 0 => return Err(damaged),
            _ => {}
        }
    }
    out.truncate(written);
    Ok(out)
}
