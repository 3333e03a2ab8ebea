//! What a source or a sink that waits inside its own client says of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

type Reason = Mutex<Option<String>>;

/// A notice that outlives every call: whoever waits without an error to return, because its client
/// mends an outage by itself, says here why. The job's status shows it while it hangs there.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Reason>);

impl Waiting {
    /// It waits.
    pub fn set(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    /// It no longer does.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why it waits, if it does.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone()
    }
}

/// The notice of someone who may be gone: then nobody waits.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Weak<Reason>);

impl Watched {
    pub(crate) fn new(waiting: &Waiting) -> Self {
        Self(Arc::downgrade(&waiting.0))
    }

    pub(crate) fn reason(&self) -> Option<String> {
        self.0.upgrade().map(Waiting)?.reason()
    }
}
