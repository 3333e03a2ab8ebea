//! The timers of the runtime. They are tokio's; the simulation puts its own in their place.

#[cfg(test)]
pub(super) use super::tests::simulation::host::{Instant, Interval, interval, sleep, sleep_until};
#[cfg(test)]
pub(super) use tokio::time::MissedTickBehavior;
#[cfg(not(test))]
pub(super) use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};
