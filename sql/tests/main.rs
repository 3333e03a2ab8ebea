//! Tests of the crate as a whole.

#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod batch_equals_stream;
mod examples;
mod forming;
mod slt;
