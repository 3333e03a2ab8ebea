//! `millstream config`: what `serve` would be told, all sources merged.

use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::terminal;

pub(super) fn config(flags: &Flags) -> Result<(), Failure> {
    let input = |error: engine::Error| Failure::input(&error);
    let config = Config::read(flags).map_err(input)?;
    terminal::print(&config.shown().map_err(input)?)
}
