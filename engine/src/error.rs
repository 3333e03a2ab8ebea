//! The one error of this crate: its kind decides what the runtime does with it.

use std::error::Error as StdError;
use std::{fmt, io};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for who meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request, option, SQL or value is wrong; trying again changes nothing.
    Invalid,
    /// What was named is not there.
    NotFound,
    /// Something outside does not answer now; the runtime tries again with backoff.
    Unavailable,
    /// Stored or received bytes do not say what they should; nothing is overwritten.
    Corrupt,
    /// A defect of Millstream.
    Internal,
}

/// An error with a kind, a message in lower case without a full stop, and a cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The request is wrong: see [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What was named is not there: see [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Something outside does not answer: see [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Bytes are damaged: see [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A defect of Millstream: see [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the error means for who meets it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message and the messages of all causes, joined by colons: what the edge prints. An error
    /// that tells its cause itself is not told it again.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        for cause in causes(self).skip(1).map(ToString::to_string) {
            if !text.ends_with(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::internal("a columnar operation failed").caused_by(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Refused;
        let kind = match error {
            Refused::NotFound { .. } => ErrorKind::NotFound,
            Refused::AlreadyExists { .. } => ErrorKind::Corrupt,
            Refused::PermissionDenied { .. }
            | Refused::Unauthenticated { .. }
            | Refused::InvalidPath { .. } => ErrorKind::Invalid,
            _ if is_any_of(&error, &FORBIDDEN) => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let message = match is_any_of(&error, &FULL) {
            true => "the disk is full, free some space",
            false => "the object store refused",
        };
        Self::new(kind, message).caused_by(error)
    }
}

/// What the system says of files where asking again is of no use.
const FORBIDDEN: [io::ErrorKind; 3] = [
    io::ErrorKind::NotADirectory,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ReadOnlyFilesystem,
];
const FULL: [io::ErrorKind; 2] = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];

/// Whether the system's own error, below all others, is one of these.
fn is_any_of(error: &(dyn StdError + 'static), kinds: &[io::ErrorKind]) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| kinds.contains(&error.kind()))
}

/// The error, its cause, the cause of that, and so on.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (**error).source()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_once_with_its_remedy() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let refused = object_store::Error::Generic {
            store: "folder",
            source: Box::new(full()),
        };
        let text = full().to_string();
        let error = Error::from(refused);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let told = Error::unavailable("cannot write").caused_by(error).chain();
        let expected = "cannot write: the disk is full, free some space: Generic folder error: ";
        assert_eq!(told, format!("{expected}{text}"));
    }
}
