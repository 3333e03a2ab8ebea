//! Tickets: a browser cannot send headers with a WebSocket or an `EventSource`, so it asks for a
//! ticket and puts that into the URL. A URL is easily seen by others: a ticket works once, and
//! not for long.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::Result;

use super::Denied;
use super::scope::Principal;
use super::secret::{Digest, Kind, Secret};

/// How long a ticket is good for.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// Tickets that wait to be used at most.
const MOST: usize = 10_000;

/// The tickets that were not used yet. They are gone with the process, as are the connections
/// they are for.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    open: Mutex<BTreeMap<Digest, (Principal, Instant)>>,
}

impl Tickets {
    /// A ticket for who asks for it, at an instant.
    pub(crate) fn issue(&self, principal: Principal, now: Instant) -> Result<Secret, Denied> {
        let secret = Secret::random(Kind::Ticket).map_err(Denied::Failed)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            open.retain(|_, (_, issued)| now.duration_since(*issued) < LIFETIME);
        }
        if open.len() >= MOST {
            return Err(Denied::Often(LIFETIME));
        }
        open.insert(secret.digest(), (principal, now));
        Ok(secret)
    }

    /// Who the ticket was for, where it is good; it is not afterwards.
    pub(crate) fn redeem(&self, text: &str, now: Instant) -> Option<Principal> {
        let secret = Secret::read(Kind::Ticket, text)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The order of digests tells nothing about a secret.
        let (principal, issued) = open.remove(&secret.digest())?;
        (now.duration_since(issued) < LIFETIME).then_some(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_works_once_and_not_for_long() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let someone = Principal::unknown("1.2.3.4");
        let issue = || tickets.issue(someone.clone(), now).unwrap();
        let ticket = issue();
        assert_eq!(tickets.redeem(ticket.reveal(), now), Some(someone.clone()));
        assert_eq!(tickets.redeem(ticket.reveal(), now), None);
        let (short, long) = (issue(), issue());
        let just = now + LIFETIME.saturating_sub(Duration::from_millis(1));
        assert!(tickets.redeem(short.reveal(), just).is_some());
        assert_eq!(tickets.redeem(long.reveal(), now + LIFETIME), None);
        assert_eq!(tickets.redeem("mt_", now), None);
        let other = Secret::random(Kind::Ticket).unwrap();
        assert_eq!(tickets.redeem(other.reveal(), now), None);
    }

    #[test]
    fn tickets_that_nobody_uses_do_not_pile_up() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..MOST {
            tickets.issue(Principal::unknown("a"), now).unwrap();
        }
        let full = tickets.issue(Principal::unknown("a"), now);
        assert!(matches!(full, Err(Denied::Often(_))), "{full:?}");
        let later = tickets.issue(Principal::unknown("a"), now + LIFETIME);
        assert!(later.is_ok());
        assert_eq!(tickets.open.lock().unwrap().len(), 1);
    }
}
