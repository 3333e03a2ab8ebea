//! Who asks, and what they may. There are no keys yet: whoever reaches the loopback interface may
//! everything, and the server listens nowhere else.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use engine::{Error, Result};

use crate::api::Problem;
use crate::config::Config;
use crate::state::AppState;

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// See jobs, tables, rows.
    Read,
    /// Change jobs.
    Write,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// What logs call it.
    pub(crate) name: String,
    /// What it may do: this, and what comes before it.
    pub(crate) scope: Scope,
}

impl Principal {
    /// Refuses who has no such scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scope >= scope {
            return Ok(());
        }
        let detail = format!("'{}' may not do this", self.name);
        let (status, title) = (StatusCode::FORBIDDEN, "The scope does not allow this");
        Err(Problem::new(status, "forbidden", title, detail))
    }
}

impl FromRequestParts<AppState> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(state.access.everyone())
    }
}

/// Who may what.
#[derive(Debug, Clone)]
pub(crate) struct Access;

impl Access {
    /// Access as the settings say; without keys, only a loopback address may be listened at.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        match config.listen.ip().is_loopback() {
            true => Ok(Self),
            false => Err(Error::invalid(format!(
                "'{}' can be reached from other machines, and there are no keys yet: listen at \
                 127.0.0.1",
                config.listen
            ))),
        }
    }

    /// Without keys, all are alike.
    #[expect(clippy::unused_self, reason = "it is the settings that say so")]
    fn everyone(&self) -> Principal {
        Principal {
            name: "loopback".to_owned(),
            scope: Scope::Write,
        }
    }
}
