//! Live windows over real sockets, with clients of others: tokio-tungstenite, reqwest.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod drops;
mod frames;
mod kafka;
mod malformed;
mod random;
mod restart;
mod server;
mod slow;
mod sse;
mod wire;
