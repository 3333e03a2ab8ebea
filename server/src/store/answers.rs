//! The table `answers`: what was answered under an `Idempotency-Key`.

use chrono::{SecondsFormat, TimeDelta, Utc};
use engine::Result;
use sqlx::FromRow;

use super::{Store, failed, now};

/// How long an answer is kept, in hours.
const KEPT: i64 = 24;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Answer {
    /// The digest of the request that it answers.
    pub(crate) request: String,
    /// The status; `None` while the request is under way.
    pub(crate) status: Option<i64>,
    /// The header `Location`.
    pub(crate) location: Option<String>,
    /// The header `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// The body.
    pub(crate) body: Option<String>,
}

impl Store {
    /// Claims a key for a request; where it was claimed before, the answer then given.
    pub(crate) async fn claim_answer(&self, key: &str, request: &str) -> Result<Option<Answer>> {
        let oldest = Utc::now() - TimeDelta::hours(KEPT);
        sqlx::query("DELETE FROM answers WHERE created_at < $1")
            .bind(oldest.to_rfc3339_opts(SecondsFormat::Millis, true))
            .execute(self.pool())
            .await
            .map_err(failed)?;
        let claimed = sqlx::query(
            "INSERT INTO answers (key, request, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(key)
        .bind(request)
        .bind(now())
        .execute(self.pool())
        .await
        .map_err(failed)?;
        if claimed.rows_affected() == 1 {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT request, status, location, content_type, body FROM answers WHERE key = $1",
        )
        .bind(key)
        .fetch_optional(self.pool())
        .await
        .map_err(failed)
    }

    /// Keeps the answer of a claimed key.
    pub(crate) async fn keep_answer(&self, key: &str, answer: &Answer) -> Result<()> {
        let kept = sqlx::query(
            "UPDATE answers SET status = $2, location = $3, content_type = $4, body = $5 \
             WHERE key = $1",
        )
        .bind(key)
        .bind(answer.status)
        .bind(&answer.location)
        .bind(&answer.content_type)
        .bind(&answer.body)
        .execute(self.pool())
        .await;
        kept.map(|_| ()).map_err(failed)
    }

    /// Gives a claimed key back: its request may be tried again.
    pub(crate) async fn release_answer(&self, key: &str) -> Result<()> {
        let released = sqlx::query("DELETE FROM answers WHERE key = $1")
            .bind(key)
            .execute(self.pool())
            .await;
        released.map(|_| ()).map_err(failed)
    }

    /// Gives back the keys whose requests a kill of the server left without an answer.
    pub(crate) async fn release_answers(&self) -> Result<()> {
        let released = sqlx::query("DELETE FROM answers WHERE status IS NULL")
            .execute(self.pool())
            .await;
        released.map(|_| ()).map_err(failed)
    }
}
