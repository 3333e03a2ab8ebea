//! Processes that are killed, anywhere: what they leave committed is what an undisturbed run leaves.
//!
//! `CRASH_ROUNDS` and `CRASH_KILLS` say how often each point and how many random times are tried;
//! `make crash-test` asks for many.

mod brokers;
mod open;
mod points;
mod takeover;
mod world;
