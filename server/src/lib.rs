//! The `millstream` binary: SQL text in, running jobs, queries and replays out.
//!
//! ```text
//! cli (what was asked) ─▶ commands/* ─▶ script (text ─▶ graph) ─▶ bind (names ─▶ sources, sinks)
//!                                    └▶ folder (log, lock)      ─▶ supervise (signals, progress)
//!
//! serve: store (SQLite) ─▶ jobs (supervisor) ─▶ live (hubs) ─▶ api (routes) ─▶ listen (HTTP, TLS)
//! ```
//! Standard output carries results alone; everything said about them goes to standard error.

mod api;
pub mod auth;
mod bind;
mod board;
mod cli;
mod commands;
pub mod config;
mod dashboard;
mod exit;
mod figures;
mod folder;
mod jobs;
mod launch;
mod listen;
pub mod live;
mod paused;
mod places;
mod progress;
mod query;
mod recordings;
mod redrive;
mod replay;
mod replays;
mod report;
mod savepoints;
mod script;
pub mod serve;
mod state;
mod store;
mod supervise;
mod telemetry;
mod terminal;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use exit::Failure;

/// Threads that carry the jobs' I/O; every shard runs on a thread of its own.
const IO_THREADS: usize = 2;

/// Reads the arguments, runs the command, and says how it ended: 0 well, 1 it failed while
/// running, 2 the input was wrong.
#[must_use]
pub fn run() -> ExitCode {
    let started = Instant::now();
    let cli = cli::Cli::parse();
    if !matches!(cli.command, cli::Command::Serve(_)) {
        telemetry::start();
    }
    if let Some(point) = &cli.crash_at
        && let Err(error) = engine::crash::arm(point)
    {
        return exit::code(Err(Failure::input(&error)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(Box::pin(commands::run(cli.command, started)));
            // What still runs was told to stop, or is to be left at once.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::run(
            &engine::Error::internal("no runtime for input and output").caused_by(error),
        )),
    };
    exit::code(outcome)
}
