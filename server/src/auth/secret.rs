//! What proves who asks: API keys and tickets. Only their digests are kept, and no `Debug` shows
//! one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::{Error, Result};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Random bytes of a secret.
const BYTES: usize = 32;

/// What a secret is for, and how its text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ms_…`, valid until it is revoked.
    Key,
    /// `mt_…`, valid once and for a moment.
    Ticket,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Key => "ms_",
            Self::Ticket => "mt_",
        }
    }
}

/// A key or a ticket: whoever has its text may what it stands for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// One that nobody has or can guess.
    pub(crate) fn random(kind: Kind) -> Result<Self> {
        let mut bytes = [0; BYTES];
        let provider = rustls::crypto::ring::default_provider();
        provider
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| Error::internal("the system gives no random bytes"))?;
        let text = URL_SAFE_NO_PAD.encode(bytes);
        Ok(Self(format!("{}{text}", kind.prefix())))
    }

    /// What a client presents; `None` where it cannot be a secret of that kind, so that a slip of
    /// the keyboard costs no look into the store.
    pub(crate) fn read(kind: Kind, text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(kind.prefix())?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// The text, to be shown once to who asked for it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub(crate) fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The SHA-256 of a secret. The secret has 256 random bits, so no slower digest is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// One out of the store.
    pub(crate) fn stored(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As the store keeps it.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether both are of the same secret, in a time that tells nothing about either.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_unlike_each_other_and_never_shown() {
        let (one, other) = (
            Secret::random(Kind::Key).unwrap(),
            Secret::random(Kind::Key).unwrap(),
        );
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 3 + 43);
        assert!(one.reveal().starts_with("ms_"));
        let shown = format!("{one:?} {:?}", one.digest());
        assert_eq!(shown, "*** ***");
        assert!(one.digest().matches(&one.digest()));
        assert!(!one.digest().matches(&other.digest()));
        assert_eq!(
            Digest::stored(&one.digest().text()),
            Some(one.digest()),
            "the store gives back what it got"
        );
        assert_eq!(Digest::stored("short"), None);
    }

    #[test]
    fn only_what_can_be_a_secret_is_looked_up() {
        let key = Secret::random(Kind::Key).unwrap();
        assert_eq!(Secret::read(Kind::Key, key.reveal()), Some(key.clone()));
        assert_eq!(Secret::read(Kind::Ticket, key.reveal()), None);
        let long = format!("ms_{}", "A".repeat(100_000));
        let cut = &key.reveal()[..45];
        for wrong in ["", "ms_", "ms_äöü", "Bearer x", cut, &long] {
            assert_eq!(Secret::read(Kind::Key, wrong), None, "{wrong}");
        }
    }
}
