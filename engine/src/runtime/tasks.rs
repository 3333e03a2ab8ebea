//! The tasks of a job: waited for together, and the thread of a shard. They are tokio's; the
//! simulation puts its own in their place, and runs the shard as one of them.

use std::thread;

use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::error::{Error, Result};

#[cfg(test)]
pub(super) use super::tests::simulation::host::{JoinSet, spawn};
#[cfg(not(test))]
pub(super) use tokio::task::JoinSet;

/// Starts a task that nobody waits for.
#[cfg(not(test))]
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime is where tasks are started"
)]
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Waits for all; the first error ends the others.
pub(super) async fn join(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|e| Error::internal("a task of the job broke down").caused_by(e))??;
    }
    Ok(())
}

/// Runs a loop on a thread with a runtime of its own, so that heavy batches never delay I/O.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime is where threads are started"
)]
pub(super) async fn on_thread(
    looping: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    #[cfg(test)]
    if super::tests::simulation::under_way() {
        return looping.await;
    }
    let (done, outcome) = oneshot::channel();
    let looping = looping.in_current_span();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(looping),
            Err(error) => Err(Error::internal("no runtime for the shard").caused_by(error)),
        };
        let _ = done.send(outcome);
    });
    outcome
        .await
        .map_err(|_| Error::internal("the shard's thread broke down"))?
}
