//! The keys of the store, as requests ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{Error, Result};

use super::scope::{Principal, Scopes};
use super::secret::{Digest, Kind, Secret};
use crate::store::Store;
use crate::store::keys::Record;

/// How long a key is taken to be good without a look at the store: what the command line revokes
/// is refused after it.
const FRESH: Duration = Duration::from_secs(2);
/// Keys that are remembered at most.
const MOST: usize = 10_000;
/// Letters of a name at most.
const LONGEST: usize = 100;

/// The keys. Those that were asked for lately are remembered.
#[derive(Debug)]
pub(crate) struct Keys {
    store: Store,
    known: Mutex<BTreeMap<Digest, (Principal, Instant)>>,
}

impl Keys {
    /// Those of the store.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// Whose key it is, where it is a good one. The store notes now and then that it was used.
    pub(crate) async fn find(&self, secret: &Secret) -> Result<Option<Principal>> {
        let digest = secret.digest();
        if let Some(principal) = self.remembered(&digest, Instant::now()) {
            return Ok(Some(principal));
        }
        let Some(record) = self.store.key_of(&digest.text()).await? else {
            return Ok(None);
        };
        let same = Digest::stored(&record.digest).is_some_and(|stored| stored.matches(&digest));
        if !same || record.revoked_at.is_some() {
            return Ok(None);
        }
        self.store.key_used(&record.id).await?;
        let principal = Principal {
            id: record.id.into(),
            name: record.name.into(),
            scopes: Scopes::stored(&record.scopes)?,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(digest, (principal.clone(), Instant::now()));
        Ok(Some(principal))
    }

    fn remembered(&self, digest: &Digest, now: Instant) -> Option<Principal> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (principal, since) = known.get(digest)?;
        (now.duration_since(*since) < FRESH).then(|| principal.clone())
    }

    /// The ids of those that were revoked.
    pub(crate) async fn revoked(&self) -> Result<BTreeSet<String>> {
        self.store.revoked_keys().await
    }

    /// Makes a key; nobody will see it again.
    pub(crate) async fn create(&self, name: &str, scopes: &Scopes) -> Result<(Record, Secret)> {
        create(&self.store, name, scopes).await
    }

    /// All keys, the oldest first.
    pub(crate) async fn list(&self) -> Result<Vec<Record>> {
        self.store.keys().await
    }

    /// Revokes a key, at once for this server; `false` where there is none.
    pub(crate) async fn revoke(&self, id: &str) -> Result<bool> {
        let revoked = self.store.revoke_key(id).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (principal, _)| principal.id.as_ref() != id);
        Ok(revoked)
    }
}

/// Makes a key in a store.
pub(crate) async fn create(store: &Store, name: &str, scopes: &Scopes) -> Result<(Record, Secret)> {
    let secret = Secret::random(Kind::Key)?;
    let record = Record {
        id: uuid::Uuid::now_v7().to_string(),
        name: name.to_owned(),
        digest: secret.digest().text(),
        scopes: scopes.text(),
        created_at: crate::store::now(),
        used_at: None,
        revoked_at: None,
    };
    store.insert_key(&record).await?;
    Ok((record, secret))
}

/// Refuses a name that tells nothing, or breaks the lines of a log.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let letters = name.chars().count();
    let plain = !name.chars().any(char::is_control) && !name.trim().is_empty();
    match plain && letters <= LONGEST {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "a key's name has 1 to {LONGEST} letters, on one line"
        ))),
    }
}
