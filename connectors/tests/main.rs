//! Integration tests of the connectors: one binary, because each links everything.

mod contract;
mod http;
mod kafka;
mod market;
mod parquet;
mod support;
mod tables;
mod terminal;
mod websocket;
