//! Log lines to standard error: for a command, warnings, or what `RUST_LOG` asks for; for the
//! server, as its settings say, with the request and the job that a line is about.

use engine::{Error, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Config, LogFormat};
use crate::terminal;

/// Starts logging of a command; it is called once.
pub(crate) fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Stderr)
        .with_ansi(terminal::is_watched())
        .without_time()
        .with_target(false)
        .init();
}

/// Starts logging of the server, in place of [`start`].
pub(crate) fn start_server(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        let message = format!(
            "the setting log_level is '{}', expected warn, info, or directives such as \
             info,server=debug",
            config.log_level
        );
        Error::invalid(message).caused_by(error)
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(terminal::is_watched()).init(),
        LogFormat::Json => lines.json().with_current_span(false).init(),
    }
    Ok(())
}
