//! Requests that are upgraded and others.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::super::*;

fn request(changes: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let usual = [
        ("host", "localhost"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    for (name, value) in usual.iter().chain(changes) {
        let name = HeaderName::try_from(*name).expect("a name");
        match *value {
            "" => drop(headers.remove(name)),
            value => drop(headers.insert(name, HeaderValue::try_from(value).expect("a value"))),
        }
    }
    headers
}

fn status(changes: &[(&str, &str)]) -> u16 {
    let refusal = Handshake::read(&Method::GET, &request(changes)).expect_err("refused");
    refusal.status.as_u16()
}

#[test]
fn the_key_of_the_rfc_is_answered_as_there() {
    let handshake = Handshake::read(&Method::GET, &request(&[])).expect("upgraded");
    assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!handshake.deflate);
    assert_eq!(handshake.headers().len(), 3);
}

#[test]
fn what_is_no_upgrade_is_refused() {
    assert_eq!(status(&[("upgrade", "")]), 426);
    assert_eq!(status(&[("upgrade", "h2c")]), 426);
    assert_eq!(status(&[("sec-websocket-version", "8")]), 426);
    assert_eq!(status(&[("connection", "keep-alive")]), 400);
    for key in ["", "c2hvcnQ=", "***", "dGhlIHNhbXBsZSBub25jZQ"] {
        assert_eq!(status(&[("sec-websocket-key", key)]), 400, "{key}");
    }
    let posted = Handshake::read(&Method::POST, &request(&[])).expect_err("refused");
    assert_eq!(posted.status.as_u16(), 405);
    let upper = request(&[("upgrade", "WebSocket"), ("connection", "UPGRADE")]);
    assert!(Handshake::read(&Method::GET, &upper).is_ok());
}

#[test]
fn compression_is_agreed_on_where_an_offer_can_be_kept() {
    let agreed = |offer| {
        let headers = request(&[("sec-websocket-extensions", offer)]);
        Handshake::read(&Method::GET, &headers)
            .expect("upgraded")
            .deflate
    };
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=\"15\"; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    ] {
        assert!(agreed(offer), "{offer}");
    }
    for offer in [
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; unheard_of",
    ] {
        assert!(!agreed(offer), "{offer}");
    }
    let headers = request(&[("sec-websocket-extensions", "permessage-deflate")]);
    let handshake = Handshake::read(&Method::GET, &headers).expect("upgraded");
    let (_, answer) = handshake.headers().pop().expect("the extension");
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer, expected);
}
