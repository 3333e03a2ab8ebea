//! A client whose calls block, lent to a thread for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Error, Result};

/// A client, or none yet. A call that was dropped or failed leaves none behind, and the next one
/// opens a new one.
#[derive(Debug)]
pub(super) struct Lent<T>(Option<T>);

/// Tells the blocking thread that its caller is gone.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T: Send + 'static> Lent<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Whether there is one.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Lets the client work on a thread that may block; the flag tells that nobody waits any more.
    pub(super) async fn with<R, O, W>(&mut self, open: O, work: W) -> Result<R>
    where
        R: Send + 'static,
        O: FnOnce() -> Result<T> + Send + 'static,
        W: FnOnce(&mut T, &AtomicBool) -> Result<R> + Send + 'static,
    {
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancel = Cancel(Arc::clone(&cancelled));
        let client = self.0.take();
        let worked = tokio::task::spawn_blocking(move || {
            let mut client = match client {
                Some(client) => client,
                None => open()?,
            };
            // One that failed is dropped here, where it may block for a moment.
            work(&mut client, &cancelled).map(|answer| (client, answer))
        });
        let ended = worked.await;
        drop(cancel);
        let ended =
            ended.map_err(|error| Error::internal("a kafka client broke down").caused_by(error))?;
        let (client, answer) = ended?;
        self.0 = Some(client);
        Ok(answer)
    }
}
