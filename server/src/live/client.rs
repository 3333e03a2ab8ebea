//! Who is at the other end of a connection.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::protocol::Fault;

/// Somebody who is known.
pub trait Client: Send + Sync {
    /// What their connections are closed by: [`Hubs::close_of`](super::Hubs::close_of).
    fn id(&self) -> &Arc<str>;

    /// Counts a frame that they sent, or says why it is one too many.
    fn count(&self) -> Result<(), Fault>;
}

/// Says whose token it is that comes in the first frame.
pub trait Gate: Send + Sync {
    /// Counts a frame of whoever is not known yet, or says why it is one too many.
    fn count(&self) -> Result<(), Fault>;

    /// Admits the bearer, or says why not.
    fn admit(&self, token: String) -> BoxFuture<'_, Result<Arc<dyn Client>, Fault>>;
}

/// Who has opened a connection.
#[derive(Clone)]
pub enum Who {
    /// It does not matter.
    Anybody,
    /// This client.
    Known(Arc<dyn Client>),
    /// Whoever the first frame says, where the gate admits them.
    Unknown(Arc<dyn Gate>),
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("Anybody"),
            Self::Known(client) => f.debug_tuple("Known").field(client.id()).finish(),
            Self::Unknown(_) => f.write_str("Unknown"),
        }
    }
}

impl Who {
    /// The id of a client who is known.
    pub(super) fn id(&self) -> Option<Arc<str>> {
        match self {
            Self::Known(client) => Some(Arc::clone(client.id())),
            Self::Anybody | Self::Unknown(_) => None,
        }
    }

    /// Counts a frame.
    pub(super) fn count(&self) -> Result<(), Fault> {
        match self {
            Self::Anybody => Ok(()),
            Self::Known(client) => client.count(),
            Self::Unknown(gate) => gate.count(),
        }
    }
}
