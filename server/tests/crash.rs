//! Processes that are killed, anywhere: what they leave committed is what an undisturbed run leaves.
//!
//! `CRASH_ROUNDS` and `CRASH_KILLS` say how often each point and how many random times are tried;
//! `make crash-test` asks for many. `make soak` goes on for half an hour.
//!
//! What is killed, and what is compared then:
//!
//! | | killed | compared with |
//! |---|---|---|
//! | `points` | at each point of a commit, a roll, a snapshot and a start, and at random times, every 10 ms a commit: three partitions, late and bad rows, a transaction and Parquet files of two days a roll | an undisturbed run: committed messages, files, late and dead rows, the recording, digests |
//! | `savepoints` | where a savepoint is stored, and where a job begins from one, by hand and in a server | each number once; before a server has noted the start the job is as it was |
//! | `takeover`, `brokers` | a process that sleeps through its replacement; brokers | each number once |
//! | `soak` | every minute, at 20,000 events/s | an undisturbed run, row by row |

mod brokers;
mod open;
mod points;
mod savepoints;
mod soak;
mod takeover;
mod world;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    text.parse().unwrap_or(default)
}
