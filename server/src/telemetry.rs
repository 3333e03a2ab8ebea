//! Log lines to standard error: warnings, or what `RUST_LOG` asks for.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::terminal;

/// Starts logging; it is called once.
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
