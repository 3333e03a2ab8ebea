//! Bytes that nobody meant to send never panic, and are read alike however they are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bytes that look like frames, more or less.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame =
        (any::<u8>(), vec(any::<u8>(), 0..300), 0..8_u8).prop_map(|(first, payload, kind)| {
            match kind {
                0 => payload,
                1 => encode(OpCode::Text, false, &payload),
                2 => {
                    let packed = compress(&payload).unwrap_or(payload);
                    raw(FIN | RSV1 | TEXT, &packed)
                }
                3 => raw(first & 0x8f, &payload),
                _ => raw(
                    [FIN | TEXT, TEXT, 0, FIN, FIN | PING, FIN | CLOSE][usize::from(first) % 6],
                    &payload,
                ),
            }
        });
    vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(bytes in frames(), chop in 1..40_usize) {
        let whole = read(&bytes, usize::MAX);
        prop_assert_eq!(read(&bytes, chop), whole);
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..2_000), deflate: bool, client: bool) {
        let role = if client { Role::Client } else { Role::Server };
        let mut decoder = Decoder::new(role, deflate, 1_000);
        decoder.feed(&bytes);
        while let Ok(Some(_)) = decoder.next_event() {}
        let _ = inflate(&bytes, 10_000);
    }

    #[test]
    fn what_is_compressed_comes_back(bytes in vec(0..6_u8, 0..5_000)) {
        if let Some(packed) = compress(&bytes) {
            prop_assert!(packed.len() < bytes.len());
            prop_assert_eq!(inflate(&packed, bytes.len()), Ok(bytes.clone()));
            let short = bytes.len().saturating_sub(1);
            prop_assert_eq!(inflate(&packed, short).map_err(|v| v.code), Err(1009));
        }
    }
}
