//! From SQL text to a graph: DataFusion parses, types and optimises, this crate compiles, and is
//! gone when the graph runs.
//!
//! ```text
//! text ─▶ statement (our DDL, queries as sqlparser's AST) ─▶ catalog (tables, views) ─▶ script
//! script ─▶ session (LogicalPlan) ─▶ check (can it stream?) ─▶ compile ─▶ engine::Graph
//! query  ─▶ batch (the same functions over files)
//! ```
//!
//! Invariants, each with what enforces it:
//! * **Nothing is ignored**: what cannot stream or is not built is refused with line, column,
//!   reason and remedy: the golden files under `tests/slt/error`.
//! * **The stream equals the batch**: `tests/batch_equals_stream.rs` compares random tables with
//!   DataFusion's own execution.
//! * **DataFusion is known to this crate alone**; `adapt` is the only glue between its traits and
//!   the engine's: the `floors` test.
//! * **Plans that print alike are alike**: an expression displays everything that distinguishes
//!   it, so that queries over one view share its steps.

mod adapt;
pub mod batch;
pub mod catalog;
mod check;
pub mod compile;
pub mod error;
pub mod filter;
pub mod functions;
pub mod script;
pub mod session;
pub mod statement;

pub use compile::compile;
pub use error::{Error, Result};
pub use filter::Filter;
pub use script::Script;
