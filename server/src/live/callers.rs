//! Who calls, as the keys of the server tell: their frames count as requests do, and their
//! connections end when their key does.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};

use super::protocol::Fault;
use super::{Client, Gate, Hubs};
use crate::api::Problem;
use crate::auth::{Access, Denied, Principal, Scope};

/// How often it is looked whether a key was revoked beside this server, on the command line.
const LOOK: Duration = Duration::from_secs(2);

/// A principal, or the address of one who is not known yet.
pub(super) struct Caller {
    access: Access,
    id: Arc<str>,
}

impl Caller {
    pub(super) fn new(access: Access, principal: &Principal) -> Self {
        Self {
            access,
            id: Arc::clone(&principal.id),
        }
    }
}

fn fault(code: &'static str) -> impl Fn(Denied) -> Fault {
    move |denied| Fault::new(code, Problem::from(denied).detail)
}

impl Client for Caller {
    fn id(&self) -> &Arc<str> {
        &self.id
    }

    fn count(&self) -> Result<(), Fault> {
        let counted = self.access.count(&self.id);
        counted.map(drop).map_err(fault("limit"))
    }
}

/// Opens to a key that comes in the first frame, because browsers cannot send it in a header. Until
/// then frames count as requests of the address do.
pub(super) struct Door(pub(super) Caller);

impl Gate for Door {
    fn count(&self) -> Result<(), Fault> {
        self.0.count()
    }

    fn admit(&self, token: String) -> BoxFuture<'_, Result<Arc<dyn Client>, Fault>> {
        Box::pin(async move {
            let access = &self.0.access;
            let principal = access.identify(&token).await;
            let principal = principal.map_err(fault("unauthorized"))?;
            let allowed = principal.require(Scope::Read);
            allowed.map_err(fault("unauthorized"))?;
            Ok(Arc::new(Caller::new(access.clone(), &principal)) as Arc<dyn Client>)
        })
    }
}

/// Ends the connections of keys that were revoked, whoever did it, for as long as it runs. A key
/// that is revoked while its connection opens is met here as well.
pub(crate) async fn end_those_of_revoked_keys(access: Access, hubs: Hubs) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if hubs.connections() == 0 {
            continue;
        }
        match access.keys().revoked().await {
            Ok(revoked) => hubs.close_of(|client| revoked.contains(client)),
            Err(error) => tracing::warn!("which keys are revoked is not known: {}", error.chain()),
        }
    }
}
