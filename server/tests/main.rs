//! Tests of the whole program: one binary, because each links everything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod api;
mod browser;
mod check;
mod cli;
mod contract;
mod crash;
mod disk;
mod floors;
mod kafka;
mod live;
mod logs;
mod pipes;
mod recovery;
mod redrive;
mod replay;
mod savepoints;
mod scripts;
mod serve;
mod support;
