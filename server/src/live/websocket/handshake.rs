//! The upgrade of an HTTP request: is it one, and may its messages be compressed?

use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What RFC 6455 puts behind the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const EXTENSION: &str = "permessage-deflate";

/// A request that can be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// Whether messages may be compressed, each for itself.
    pub deflate: bool,
}

/// A request that cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// How it is answered; 426 also names the version that is spoken.
    pub status: StatusCode,
    /// Why.
    pub reason: &'static str,
}

/// The answer to a key.
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    STANDARD.encode(hash.finalize())
}

impl Handshake {
    /// Reads a request.
    pub fn read(method: &Method, headers: &HeaderMap) -> Result<Self, Refusal> {
        let refuse = |reason| Refusal {
            status: StatusCode::BAD_REQUEST,
            reason,
        };
        if method != Method::GET {
            return Err(Refusal {
                status: StatusCode::METHOD_NOT_ALLOWED,
                reason: "a WebSocket is opened by GET",
            });
        }
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        if !has(headers, &UPGRADE, "websocket") || version.is_none_or(|v| v != "13") {
            return Err(Refusal {
                status: StatusCode::UPGRADE_REQUIRED,
                reason: "this is a WebSocket of version 13: send Upgrade: websocket",
            });
        }
        if !has(headers, &CONNECTION, "upgrade") {
            return Err(refuse("the header Connection does not say Upgrade"));
        }
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .and_then(|key| key.to_str().ok());
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
        let key = key.ok_or(refuse("Sec-WebSocket-Key is not 16 bytes in base64"))?;
        Ok(Self {
            accept: accept_key(key),
            deflate: offers(headers).any(|offer| acceptable(&offer)),
        })
    }

    /// The headers of the answer, which has status 101.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, String)> {
        let mut headers = vec![
            (CONNECTION, "Upgrade".to_owned()),
            (UPGRADE, "websocket".to_owned()),
            (
                axum::http::header::SEC_WEBSOCKET_ACCEPT,
                self.accept.clone(),
            ),
        ];
        if self.deflate {
            let agreed = "server_no_context_takeover; client_no_context_takeover";
            let agreed = format!("{EXTENSION}; {agreed}");
            headers.push((SEC_WEBSOCKET_EXTENSIONS, agreed));
        }
        headers
    }
}

/// Whether a header lists this word.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// The extensions that the client offers, in its order of preference.
fn offers(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',').map(str::to_owned))
}

/// Whether an offer can be accepted as it is. One that wants a smaller window of the server's
/// cannot: frames are compressed once for all.
fn acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if !parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(EXTENSION))
    {
        return false;
    }
    let mut seen: Vec<String> = vec![];
    parts.all(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        let name = name.to_ascii_lowercase();
        let twice = seen.contains(&name);
        let bits = |value: &str| {
            value
                .parse::<u8>()
                .is_ok_and(|bits| (8..=15).contains(&bits))
        };
        let good = match (name.as_str(), value) {
            (
                "server_no_context_takeover"
                | "client_no_context_takeover"
                | "client_max_window_bits",
                None,
            )
            | ("server_max_window_bits", Some("15")) => true,
            ("client_max_window_bits", Some(value)) => bits(value),
            _ => false,
        };
        seen.push(name);
        good && !twice
    })
}
