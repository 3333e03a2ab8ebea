//! The `millstream` program: everything is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A row that arrives alone is some fifty small arrays: this allocator halves their price.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    server::run()
}
