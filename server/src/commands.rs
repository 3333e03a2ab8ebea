//! One file a command.

mod asked;
mod check;
mod config;
mod demo;
mod explain;
mod indicators;
mod keys;
mod local;
mod log;
mod query;
mod redrive;
mod replay;
mod run;
mod savepoint;
mod serve;

use std::time::Instant;

use crate::cli::Command;
use crate::exit::Failure;

/// Runs what was asked for, by a program that has run since `started`.
pub(crate) async fn run(command: Command, started: Instant) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => Box::pin(run::run(&arguments)).await,
        Command::Check(arguments) => check::check(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Query(arguments) => Box::pin(query::query(&arguments)).await,
        Command::Replay(arguments) => Box::pin(replay::replay(&arguments)).await,
        Command::Indicators(arguments) => indicators::indicators(&arguments),
        Command::Serve(flags) => Box::pin(serve::serve(&flags)).await,
        Command::Config(flags) => config::config(&flags),
        Command::Keys(arguments) => keys::keys(&arguments).await,
        Command::Redrive(arguments) => Box::pin(redrive::redrive(&arguments)).await,
        Command::Savepoint(arguments) => savepoint::savepoint(&arguments).await,
        Command::Log(arguments) => log::log(&arguments).await,
        Command::Demo(arguments) => Box::pin(demo::demo(&arguments, started)).await,
    }
}
