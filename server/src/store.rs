//! The control plane's memory: one `SQLite` file in the data folder.
//!
//! Every statement is a text of this crate with its values bound; a write is durable once it has
//! returned.

pub(crate) mod answers;
pub(crate) mod jobs;
pub(crate) mod keys;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use engine::{Error, Result};
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The store's file in the data folder.
pub(crate) const FILE: &str = "millstream.db";
/// How long a statement waits for another's lock, and for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The open store; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the store of a data folder, creates it where there is none, and brings it to this
    /// program's shape. A store of a newer program is refused.
    pub(crate) async fn open(data: &Path) -> Result<Self> {
        let file = data.join(FILE);
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::invalid(format!(
                "the store '{}' cannot be used; allow this user to write it, or choose another \
                 data folder",
                file.display()
            ))
            .caused_by(error)
        };
        private(&file).map_err(|error| unusable(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(|error| unusable(error.into()))?;
        MIGRATIONS
            .run(&pool)
            .await
            .map_err(|error| unusable(error.into()))?;
        Ok(Self { pool })
    }

    /// Whether it answers.
    pub(crate) async fn check(&self) -> Result<()> {
        let answer = sqlx::query("SELECT 1").execute(&self.pool).await;
        answer.map(|_| ()).map_err(failed)
    }

    /// Closes it; what was written is in the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// For statements on one table each, in the files of this folder.
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// Creates the file where it is missing, for this user alone: texts of jobs may hold secrets.
fn private(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(file).map(|_| ())
}

/// What a statement that failed means for who asked.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    Error::unavailable("the store does not answer").caused_by(error)
}

/// The instant, as the store and the API write it: RFC 3339, UTC, with milliseconds.
pub(crate) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
