//! The cases of the Autobahn test suite that a server meets, by its chapters, and random bytes.

mod handshakes;
mod random;

use super::*;

const LIMIT: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn decoder() -> Decoder {
    Decoder::new(Role::Server, true, LIMIT)
}

/// A frame as a client sends it, with any bits.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode_masked(OpCode::Text, false, payload, MASK);
    bytes[0] = first;
    bytes
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Everything the bytes say, and how it ends; fed in pieces of `chop` bytes.
fn read(bytes: &[u8], chop: usize) -> (Vec<Event>, Option<Violation>) {
    let (mut decoder, mut events) = (decoder(), vec![]);
    for piece in bytes.chunks(chop) {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(violation) => {
                    decoder.feed(&raw(FIN | TEXT, b"more"));
                    assert_eq!(
                        decoder.next_event(),
                        Ok(None),
                        "nothing is read after {violation:?}"
                    );
                    return (events, Some(violation));
                }
            }
        }
    }
    (events, None)
}

/// The same however the bytes are cut.
fn all(frames: &[Vec<u8>]) -> (Vec<Event>, Option<Violation>) {
    let bytes = frames.concat();
    let whole = read(&bytes, usize::MAX);
    for chop in [1, 2, 3, 7, 1_000] {
        assert_eq!(read(&bytes, chop), whole, "in pieces of {chop}");
    }
    whole
}

fn events(frames: &[Vec<u8>]) -> Vec<Event> {
    let (events, violation) = all(frames);
    assert_eq!(violation, None);
    events
}

fn code(frames: &[Vec<u8>]) -> u16 {
    all(frames).1.expect("a violation").code
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

#[test]
fn framing_1_messages_of_every_length() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = "*".repeat(length);
        let bytes = raw(FIN | TEXT, payload.as_bytes());
        assert_eq!(read(&bytes, 997).0, [text(&payload)], "{length}");
        let bytes = raw(FIN | BINARY, &vec![0xfe; length]);
        assert_eq!(
            read(&bytes, usize::MAX).0,
            [Event::Binary(vec![0xfe; length])]
        );
        // As a server sends it.
        let mut client = Decoder::new(Role::Client, false, LIMIT);
        client.feed(&encode(OpCode::Text, false, payload.as_bytes()));
        assert_eq!(client.next_event(), Ok(Some(text(&payload))));
    }
}

#[test]
fn framing_1_lengths_are_written_the_short_way() {
    let long = |length: &[u8]| {
        [
            &[FIN | TEXT, 0x80 | if length.len() == 2 { 126 } else { 127 }],
            length,
        ]
        .concat()
    };
    assert_eq!(code(&[long(&[0, 125])]), 1002);
    assert_eq!(code(&[long(&[0, 0, 0, 0, 0, 0, 0xff, 0xff])]), 1002);
    assert_eq!(code(&[long(&[0x80, 0, 0, 0, 0, 0, 0, 0])]), 1002);
}

#[test]
fn pings_2_are_answered_with_their_payload_and_are_short() {
    for payload in [&b""[..], b"Hello", &[0, 0xff, 0xfe], &[7; 125]] {
        assert_eq!(
            events(&[raw(FIN | PING, payload)]),
            [Event::Ping(payload.to_vec())]
        );
    }
    assert_eq!(code(&[raw(FIN | PING, &[7; 126])]), 1002);
    assert_eq!(
        events(&[raw(FIN | PONG, b"late")]),
        [Event::Pong(b"late".to_vec())]
    );
    let ten: Vec<_> = (0..10).map(|i| raw(FIN | PING, &[i])).collect();
    assert_eq!(events(&ten).len(), 10);
}

#[test]
fn reserved_bits_3_end_the_connection() {
    for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let frames = [raw(FIN | TEXT, b"good"), raw(FIN | bits | opcode, b"bad")];
            let (events, violation) = all(&frames);
            assert_eq!(events, [text("good")]);
            assert_eq!(violation.map(|v| v.code), Some(1002));
        }
    }
    assert_eq!(code(&[raw(FIN | RSV1 | PING, b"x")]), 1002);
    let mut plain = Decoder::new(Role::Server, false, LIMIT);
    plain.feed(&raw(FIN | RSV1 | TEXT, b"x"));
    assert_eq!(plain.next_event().expect_err("not agreed on").code, 1002);
}

#[test]
fn opcodes_4_that_are_reserved_end_the_connection() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(code(&[raw(FIN | opcode, b"")]), 1002, "{opcode}");
    }
}

#[test]
fn fragments_5_make_one_message_and_control_frames_come_between() {
    let frames = [
        raw(TEXT, b"one "),
        raw(FIN | PING, b"p"),
        raw(0, b"two "),
        raw(FIN, b"three"),
    ];
    assert_eq!(
        events(&frames),
        [Event::Ping(b"p".to_vec()), text("one two three")]
    );
    assert_eq!(
        events(&[raw(TEXT, b""), raw(0, b""), raw(FIN, b"")]),
        [text("")]
    );
    // A fragmented ping, a continuation of nothing, a message inside a message.
    assert_eq!(code(&[raw(PING, b"a"), raw(FIN, b"b")]), 1002);
    assert_eq!(
        code(&[raw(FIN, b"of nothing"), raw(FIN | TEXT, b"x")]),
        1002
    );
    assert_eq!(code(&[raw(0, b"of nothing")]), 1002);
    assert_eq!(code(&[raw(TEXT, b"a"), raw(FIN | TEXT, b"b")]), 1002);
    assert_eq!(code(&[raw(FIN | TEXT, b"a"), raw(FIN, b"b")]), 1002);
}

#[test]
fn utf_8_6_is_checked_across_fragments_and_as_soon_as_it_is_wrong() {
    let kosme = "κόσμε".as_bytes();
    for cut in 0..=kosme.len() {
        let frames = [raw(TEXT, &kosme[..cut]), raw(FIN, &kosme[cut..])];
        assert_eq!(events(&frames), [text("κόσμε")], "{cut}");
    }
    let bad: [&[u8]; 10] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xed\xbf\xbf",
        b"\xce",
        b"\xf0\x9f\x98",
    ];
    for bytes in bad {
        assert_eq!(code(&[raw(FIN | TEXT, bytes)]), 1007, "{bytes:?}");
        assert_eq!(
            events(&[raw(FIN | BINARY, bytes)]),
            [Event::Binary(bytes.to_vec())]
        );
    }
    // The message need not end for it to be wrong.
    assert_eq!(code(&[raw(TEXT, b"\xce\xba\xff")]), 1007);
    assert_eq!(code(&[raw(TEXT, b"\xce"), raw(0, b"\xce")]), 1007);
    assert_eq!(
        events(&[raw(FIN | TEXT, "\u{10ffff}\u{fffe}\0".as_bytes())]).len(),
        1
    );
}

#[test]
fn closing_7_codes_and_reasons() {
    let close =
        |code: u16, reason: &[u8]| raw(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat());
    assert_eq!(
        events(&[raw(FIN | CLOSE, b"")]),
        [Event::Close(None, String::new())]
    );
    assert_eq!(code(&[raw(FIN | CLOSE, b"x")]), 1002);
    for good in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let said = Event::Close(Some(good), "why".to_owned());
        assert_eq!(events(&[close(good, b"why")]), [said]);
    }
    for bad in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        assert_eq!(code(&[close(bad, b"")]), 1002, "{bad}");
    }
    assert_eq!(code(&[close(1000, b"\xce\xba\xff")]), 1007);
    assert_eq!(events(&[close(1000, &[b'*'; 123])]).len(), 1);
    assert_eq!(code(&[close(1000, &[b'*'; 124])]), 1002);
    // Nothing after it is read.
    assert_eq!(
        events(&[
            close(1000, b""),
            raw(FIN | TEXT, b"x"),
            raw(FIN | PING, b"")
        ])
        .len(),
        1
    );
}

#[test]
fn limits_9_are_told_before_a_payload_is_there() {
    let mut small = Decoder::new(Role::Server, false, 1_000);
    small.feed(&raw(FIN | TEXT, &[b'x'; 1_001])[..8]);
    assert_eq!(small.next_event().expect_err("too big").code, 1009);
    let mut small = Decoder::new(Role::Server, false, 1_000);
    small.feed(&[raw(TEXT, &[b'x'; 600]), raw(FIN, &[b'x'; 600])].concat());
    assert_eq!(small.next_event().expect_err("too big").code, 1009);
    let mut exact = Decoder::new(Role::Server, false, 1_000);
    exact.feed(&[raw(TEXT, &[b'x'; 600]), raw(FIN, &[b'x'; 400])].concat());
    assert_eq!(exact.next_event(), Ok(Some(text(&"x".repeat(1_000)))));
}

#[test]
fn masks_are_what_the_role_asks_for() {
    let mut server = decoder();
    server.feed(&encode(OpCode::Text, false, b"x"));
    assert_eq!(server.next_event().expect_err("not masked").code, 1002);
    let mut client = Decoder::new(Role::Client, false, LIMIT);
    client.feed(&encode_masked(OpCode::Text, false, b"x", MASK));
    assert_eq!(client.next_event().expect_err("masked").code, 1002);
}

#[test]
fn compression_12_every_size_whole_and_in_fragments() {
    for length in [1, 16, 64, 256, 1_024, 4_096, 8_192, 131_072] {
        let message = "{\"symbol\":\"AAPL\",\"price\":187.25},".repeat(length / 32 + 1);
        let Some(payload) = compress(message.as_bytes()) else {
            assert!(length < 64, "{length}");
            continue;
        };
        assert!(payload.len() < message.len());
        assert_eq!(inflate(&payload, LIMIT), Ok(message.clone().into_bytes()));
        let whole = raw(FIN | RSV1 | TEXT, &payload);
        assert_eq!(read(&whole, 501).0, [text(&message)]);
        let (first, rest) = payload.split_at(payload.len() / 2);
        let parts = [
            raw(RSV1 | TEXT, first),
            raw(FIN | PING, b""),
            raw(FIN, rest),
        ];
        assert_eq!(read(&parts.concat(), 501).0[1], text(&message));
        // Frames of one stream do not depend on each other.
        assert_eq!(compress(message.as_bytes()), Some(payload));
    }
}

#[test]
fn compression_13_what_is_wrong_with_it() {
    // The example of RFC 7692, 7.2.3.1; an empty message; a block marked as the last.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(events(&[raw(FIN | RSV1 | TEXT, &hello)]), [text("Hello")]);
    assert_eq!(events(&[raw(FIN | RSV1 | TEXT, &[0])]), [text("")]);
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(events(&[raw(FIN | RSV1 | TEXT, &last)]), [text("Hello")]);
    // A continuation that is marked, rubbish, text that is none once it is unpacked.
    let parts = [raw(RSV1 | TEXT, &hello[..3]), raw(FIN | RSV1, &hello[3..])];
    assert_eq!(code(&parts), 1002);
    assert_eq!(code(&[raw(FIN | RSV1 | TEXT, &[0xff; 20])]), 1007);
    let not_text = compress(&[0xff; 100]).expect("smaller");
    assert_eq!(code(&[raw(FIN | RSV1 | TEXT, &not_text)]), 1007);
}

#[test]
fn a_frame_of_many_rows_of_doubles_saves_seven_tenths() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut number = |most: f64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        most * (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut rows = vec![];
    for row in 0..42 {
        let whole = number(5_000.0) as u64;
        let [price, rsi, sma, fast] = [100.0; 4].map(&mut number);
        let (slow, score) = (number(100.0), number(2.0));
        rows.push(format!(
            "{{\"symbol\":\"S{row:04}\",\"at\":1795770002770146566,\"volume\":{whole},\
             \"price\":{price:.2},\"rsi_14\":{rsi},\"sma_20\":{sma},\"ema_12\":{fast},\
             \"ema_26\":{slow},\"macd\":{},\"volume_zscore\":{score}}},",
            fast - slow
        ));
    }
    let rows = rows.concat();
    let packed = compress(rows.as_bytes()).expect("smaller");
    let saved = 1.0 - packed.len() as f64 / rows.len() as f64;
    assert!(saved >= 0.7, "{saved}");
    assert_eq!(inflate(&packed, LIMIT), Ok(rows.into_bytes()));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = compress(&vec![0; 64 << 20]).expect("smaller");
    assert!(bomb.len() < LIMIT, "{}", bomb.len());
    assert_eq!(code(&[raw(FIN | RSV1 | BINARY, &bomb)]), 1009);
    for limit in [0, 1, 1_000, 100_000] {
        assert_eq!(inflate(&bomb, limit).expect_err("too big").code, 1009);
    }
}

#[test]
fn a_close_frame_is_cut_to_what_it_may_hold() {
    let mut client = Decoder::new(Role::Client, false, LIMIT);
    client.feed(&close_frame(Some(1011), &"ä".repeat(200)));
    let said = client.next_event().expect("whole");
    assert_eq!(said, Some(Event::Close(Some(1011), "ä".repeat(61))));
}
