//! The table `jobs`.

use std::collections::BTreeMap;

use engine::{Error, Result};
use sqlx::FromRow;

use super::{Store, failed, now};

/// A job as it was submitted, and what is known of it while it does not run.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Record {
    /// A UUID of version 7, so that jobs sort by the time of their submission.
    pub(crate) id: String,
    /// Unique.
    pub(crate) name: String,
    /// The text.
    pub(crate) sql: String,
    /// JSON: see [`Record::overrides`].
    pub(crate) options: String,
    /// The steps of its graph.
    pub(crate) plan: String,
    /// `created`, `running`, `stopped`, `finished`, `failed`.
    pub(crate) state: String,
    /// Why it failed.
    pub(crate) reason: Option<String>,
    /// How often it was started.
    pub(crate) generation: i64,
    /// JSON: the figures when it last ended.
    pub(crate) figures: Option<String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// RFC 3339.
    pub(crate) started_at: Option<String>,
}

impl Record {
    /// The options by `table.key`.
    pub(crate) fn overrides(&self) -> Result<BTreeMap<String, String>> {
        serde_json::from_str(&self.options).map_err(|error| {
            let message = format!("the store's options of job '{}' are damaged", self.name);
            Error::corrupt(message).caused_by(error)
        })
    }
}

impl Store {
    /// Keeps a new job; `false` where the name is taken.
    pub(crate) async fn insert_job(&self, record: &Record) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO jobs (id, name, sql, options, plan, state, generation, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(&record.id)
        .bind(&record.name)
        .bind(&record.sql)
        .bind(&record.options)
        .bind(&record.plan)
        .bind(&record.state)
        .bind(record.generation)
        .bind(&record.created_at)
        .execute(self.pool())
        .await
        .map_err(failed)?;
        Ok(inserted.rows_affected() == 1)
    }

    /// All jobs, the oldest first.
    pub(crate) async fn jobs(&self) -> Result<Vec<Record>> {
        let all = sqlx::query_as("SELECT * FROM jobs ORDER BY id");
        all.fetch_all(self.pool()).await.map_err(failed)
    }

    /// Notes that a job starts: it is started again with the server from now on. Gives the
    /// record with the new generation.
    pub(crate) async fn job_starts(&self, id: &str, plan: &str) -> Result<Record> {
        sqlx::query_as(
            "UPDATE jobs SET state = 'running', reason = NULL, generation = generation + 1, \
             plan = $2, started_at = $3 WHERE id = $1 RETURNING *",
        )
        .bind(id)
        .bind(plan)
        .bind(now())
        .fetch_one(self.pool())
        .await
        .map_err(failed)
    }

    /// Gives a job that does not run another text.
    pub(crate) async fn job_says(&self, id: &str, sql: &str, options: &str) -> Result<()> {
        let noted = sqlx::query("UPDATE jobs SET sql = $2, options = $3 WHERE id = $1")
            .bind(id)
            .bind(sql)
            .bind(options)
            .execute(self.pool())
            .await;
        noted.map(|_| ()).map_err(failed)
    }

    /// Notes what the next start of the server is to find.
    pub(crate) async fn job_is(&self, id: &str, state: &str, reason: Option<&str>) -> Result<()> {
        let noted = sqlx::query("UPDATE jobs SET state = $2, reason = $3 WHERE id = $1")
            .bind(id)
            .bind(state)
            .bind(reason)
            .execute(self.pool())
            .await;
        noted.map(|_| ()).map_err(failed)
    }

    /// Keeps the figures of a job that has ended.
    pub(crate) async fn job_figures(&self, id: &str, figures: &str) -> Result<()> {
        let kept = sqlx::query("UPDATE jobs SET figures = $2 WHERE id = $1")
            .bind(id)
            .bind(figures)
            .execute(self.pool())
            .await;
        kept.map(|_| ()).map_err(failed)
    }

    /// Forgets a job.
    pub(crate) async fn delete_job(&self, id: &str) -> Result<()> {
        let deleted = sqlx::query("DELETE FROM jobs WHERE id = $1")
            .bind(id)
            .execute(self.pool())
            .await;
        deleted.map(|_| ()).map_err(failed)
    }
}
