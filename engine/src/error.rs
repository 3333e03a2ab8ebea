//! The one error of this crate: its kind decides what the runtime does with it.

use std::error::Error as StdError;
use std::fmt;

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

    /// The message and the messages of all causes, joined by colons: what the edge prints.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
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
            _ if is_forbidden(&error) => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, "the object store refused").caused_by(error)
    }
}

/// Whether the system says that asking again is of no use.
fn is_forbidden(error: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                NotADirectory | PermissionDenied | ReadOnlyFilesystem
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}
