//! The table `keys`.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{SecondsFormat, TimeDelta, Utc};
use engine::Result;
use sqlx::FromRow;

use super::{Store, failed, now};

/// How finely it is noted when a key was used, in seconds.
const USED: i64 = 60;

/// An API key, without the key.
#[derive(Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Record {
    /// A UUID of version 7.
    pub(crate) id: String,
    /// What its owner calls it.
    pub(crate) name: String,
    /// The SHA-256 of the key, in base64.
    pub(crate) digest: String,
    /// `read write`.
    pub(crate) scopes: String,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// RFC 3339, to about a minute.
    pub(crate) used_at: Option<String>,
    /// RFC 3339.
    pub(crate) revoked_at: Option<String>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Keeps a new key.
    pub(crate) async fn insert_key(&self, record: &Record) -> Result<()> {
        let inserted = sqlx::query(
            "INSERT INTO keys (id, name, digest, scopes, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&record.id)
        .bind(&record.name)
        .bind(&record.digest)
        .bind(&record.scopes)
        .bind(&record.created_at)
        .execute(self.pool())
        .await;
        inserted.map(|_| ()).map_err(failed)
    }

    /// The key with that digest, revoked or not.
    pub(crate) async fn key_of(&self, digest: &str) -> Result<Option<Record>> {
        sqlx::query_as("SELECT * FROM keys WHERE digest = $1")
            .bind(digest)
            .fetch_optional(self.pool())
            .await
            .map_err(failed)
    }

    /// Notes that a key is used, unless that was noted a moment ago.
    pub(crate) async fn key_used(&self, id: &str) -> Result<()> {
        let before = Utc::now() - TimeDelta::seconds(USED);
        let noted = sqlx::query(
            "UPDATE keys SET used_at = $2 WHERE id = $1 AND (used_at IS NULL OR used_at < $3)",
        )
        .bind(id)
        .bind(now())
        .bind(before.to_rfc3339_opts(SecondsFormat::Millis, true))
        .execute(self.pool())
        .await;
        noted.map(|_| ()).map_err(failed)
    }

    /// All keys, the oldest first.
    pub(crate) async fn keys(&self) -> Result<Vec<Record>> {
        let all = sqlx::query_as("SELECT * FROM keys ORDER BY id");
        all.fetch_all(self.pool()).await.map_err(failed)
    }

    /// The ids of the keys that were revoked.
    pub(crate) async fn revoked_keys(&self) -> Result<BTreeSet<String>> {
        let ids = sqlx::query_scalar("SELECT id FROM keys WHERE revoked_at IS NOT NULL");
        let ids: Vec<String> = ids.fetch_all(self.pool()).await.map_err(failed)?;
        Ok(ids.into_iter().collect())
    }

    /// Revokes a key for good; `false` where there is none. One that was revoked stays so, with
    /// the instant of the first time.
    pub(crate) async fn revoke_key(&self, id: &str) -> Result<bool> {
        let revoked =
            sqlx::query("UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1")
                .bind(id)
                .bind(now())
                .execute(self.pool())
                .await
                .map_err(failed)?;
        Ok(revoked.rows_affected() == 1)
    }
}
