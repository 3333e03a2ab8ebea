//! Who may do what: API keys, tickets, rights, limits, origins, TLS.
//!
//! | file | what it holds |
//! |---|---|
//! | `secret` | keys and tickets, and the digests that are kept of them |
//! | `scope` | rights, and the principal that handlers get |
//! | `policy` | which right each route asks for |
//! | `describe` | what the API's description says of it |
//! | `guard` | the layer around all routes that applies the rest |
//! | `keys`, `ticket` | the keys of the store, the tickets of this process |
//! | `limit` | requests a second by principal, connections by address |
//! | `origin` | which web pages may use the server |
//! | `tls` | certificates |
//!
//! Invariants: every route has a rule in `policy` (a test walks them all); no secret is in a log,
//! an error or a `Debug`; what is not let through is answered before its body is read.

pub(crate) mod describe;
pub(crate) mod guard;
pub(crate) mod keys;
pub(crate) mod limit;
pub(crate) mod origin;
pub(crate) mod policy;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod ticket;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::store::Store;
use keys::Keys;
use limit::{Addresses, Requests};
use origin::Origins;
pub(crate) use scope::{Principal, Scope, Scopes};
use secret::Secret;
use ticket::Tickets;

/// Whether clients have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Unless the server can be reached from this machine alone.
    Auto,
    /// Always.
    Required,
    /// Never; refused where other machines can reach the server, unless `insecure` says it again.
    Off,
}

/// Why a request is not let through.
#[derive(Debug)]
pub(crate) enum Denied {
    /// It does not say who asks.
    Nobody,
    /// What it presents is no key, or one that was revoked, or a ticket that was used.
    Wrong,
    /// Who asks lacks the right.
    Scope(Scope),
    /// The page that asks may not.
    Origin,
    /// The name that it uses for the server could be anybody's.
    Host,
    /// Too often: when to come again.
    Often(Duration),
    /// It cannot be decided.
    Failed(Error),
}

/// All of it; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    required: bool,
    /// Whether other machines can reach the server.
    open: bool,
    keys: Keys,
    tickets: Tickets,
    requests: Requests,
    addresses: Addresses,
    origins: Origins,
}

impl Access {
    /// As the settings say.
    pub(crate) fn new(config: &Config, store: &Store) -> Result<Self> {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let rate = at_least_one(config.rate_limit);
        let burst = at_least_one(config.rate_burst);
        Ok(Self(Arc::new(Inner {
            open: !config.listen.ip().is_loopback(),
            required: required(config.auth, config.insecure, config.listen)?,
            keys: Keys::new(store.clone()),
            tickets: Tickets::default(),
            requests: Requests::new(rate, burst),
            addresses: Addresses::new(config.max_connections_per_address),
            origins: Origins::new(&config.origins)?,
        })))
    }

    /// Whether clients have to say who they are.
    pub(crate) fn required(&self) -> bool {
        self.0.required
    }

    /// Whether other machines can reach the server.
    pub(crate) fn is_open(&self) -> bool {
        self.0.open
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Who counts connections by address.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    /// Which web pages may.
    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// Whose key a token is: what the first frame of a live connection says.
    pub(crate) async fn identify(&self, token: &str) -> Result<Principal, Denied> {
        let secret = Secret::read(secret::Kind::Key, token).ok_or(Denied::Wrong)?;
        let found = self.0.keys.find(&secret).await;
        found.map_err(Denied::Failed)?.ok_or(Denied::Wrong)
    }

    /// A ticket with the rights of who asks for it.
    pub(crate) fn issue(&self, principal: Principal) -> Result<Secret, Denied> {
        self.0.tickets.issue(principal, Instant::now())
    }
}

/// Whether clients have to say who they are, where the server listens there.
fn required(mode: Mode, insecure: bool, listen: SocketAddr) -> Result<bool> {
    let local = listen.ip().is_loopback();
    match mode {
        Mode::Required => Ok(true),
        Mode::Auto => Ok(!local),
        Mode::Off if local || insecure => Ok(false),
        Mode::Off => Err(Error::invalid(format!(
            "auth is off, and other machines can reach {listen}: anybody could run jobs here; set \
             auth to 'auto', listen on 127.0.0.1, or say it twice with 'insecure: true'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_needs_no_key() {
        let needed =
            |mode, insecure, listen: &str| required(mode, insecure, listen.parse().unwrap()).ok();
        for local in ["127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(needed(Mode::Auto, false, local), Some(false));
            assert_eq!(needed(Mode::Off, false, local), Some(false));
            assert_eq!(needed(Mode::Required, false, local), Some(true));
        }
        for open in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
            assert_eq!(needed(Mode::Auto, false, open), Some(true));
            assert_eq!(needed(Mode::Auto, true, open), Some(true));
            assert_eq!(needed(Mode::Required, true, open), Some(true));
            assert_eq!(needed(Mode::Off, false, open), None, "{open}");
            assert_eq!(needed(Mode::Off, true, open), Some(false));
        }
    }
}
