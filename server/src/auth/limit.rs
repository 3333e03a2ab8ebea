//! How often and how widely a client may ask: requests by principal, connections by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

/// After how many requests those who have been quiet are forgotten.
const SWEEP: usize = 10_000;

type Limiter = RateLimiter<
    Arc<str>,
    DefaultKeyedStateStore<Arc<str>>,
    DefaultClock,
    StateInformationMiddleware,
>;

/// Requests a second by principal, with bursts.
#[derive(Debug)]
pub(crate) struct Requests {
    limiter: Limiter,
    burst: u32,
    rate: u32,
    asked: AtomicUsize,
}

/// What a principal has left, for the `RateLimit` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many requests may come at once.
    pub(crate) limit: u32,
    /// How many of them may come now.
    pub(crate) remaining: u32,
    /// In how many seconds all of them may again.
    pub(crate) reset: u64,
}

impl Requests {
    /// So many requests a second, and `burst` at once.
    pub(crate) fn new(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self {
            limiter: RateLimiter::keyed(quota).with_middleware(),
            burst: burst.get(),
            rate: rate.get(),
            asked: AtomicUsize::new(0),
        }
    }

    /// Counts a request; an error says how long to wait.
    pub(crate) fn take(&self, principal: &Arc<str>) -> Result<Left, Duration> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(principal) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = self.burst.saturating_sub(remaining);
                Ok(Left {
                    limit: self.burst,
                    remaining,
                    reset: u64::from(used.div_ceil(self.rate)),
                })
            }
            Err(not_yet) => Err(not_yet.wait_time_from(DefaultClock::default().now())),
        }
    }
}

/// Connections at once by address; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    /// At most so many of one address. Those of this machine are not limited.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// Counts a connection until the guard is dropped; `None` where there are enough.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Connected> {
        let address = address.to_canonical();
        let counted = (!address.is_loopback()).then(|| network(address));
        if let Some(network) = counted {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let of_network = open.entry(network).or_default();
            if *of_network >= self.most {
                return None;
            }
            *of_network += 1;
        }
        Some(Connected {
            network: counted,
            open: Arc::clone(&self.open),
        })
    }
}

/// What stands for an address: whoever has a host of IPv6 has a whole network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            IpAddr::V6(bits.into())
        }
        IpAddr::V4(_) => address,
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(crate) struct Connected {
    network: Option<IpAddr>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_network) = open.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                open.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let requests = Requests::new(number(2), number(5));
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        for remaining in (0..5).rev() {
            let left = requests.take(&one).unwrap();
            assert_eq!((left.limit, left.remaining), (5, remaining));
            assert!(left.reset <= 3);
        }
        let wait = requests.take(&one).unwrap_err();
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert!(requests.take(&other).is_ok(), "each has a limit of its own");
    }

    #[test]
    fn connections_are_counted_by_address_while_they_last() {
        let addresses = Addresses::new(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.enter(address("10.0.0.1")).unwrap();
        let _second = addresses.enter(address("10.0.0.1")).unwrap();
        assert!(addresses.enter(address("10.0.0.1")).is_none());
        assert!(addresses.enter(address("::ffff:10.0.0.1")).is_none());
        assert!(addresses.enter(address("10.0.0.2")).is_some());
        drop(first);
        assert!(addresses.enter(address("10.0.0.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_this_machine_none() {
        let addresses = Addresses::new(1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _first = addresses.enter(address("2001:db8::1")).unwrap();
        assert!(addresses.enter(address("2001:db8::2")).is_none());
        assert!(addresses.enter(address("2001:db8:0:1::1")).is_some());
        let local = ["::1", "127.0.0.1", "::ffff:127.0.0.1"].map(address);
        let all: Vec<_> = local
            .iter()
            .chain(&local)
            .map(|at| addresses.enter(*at))
            .collect();
        assert!(all.iter().all(Option::is_some));
        drop(all);
        assert_eq!(addresses.open.lock().unwrap().len(), 1);
    }
}
