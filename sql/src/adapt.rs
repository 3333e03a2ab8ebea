//! The only glue between DataFusion's expressions and aggregates and the engine's traits.

mod aggregate;
mod expression;
mod native;

pub(crate) use aggregate::aggregate;
pub(crate) use expression::{expression, is_pick};

use datafusion::common::DataFusionError;
use engine::{Error, ErrorKind};

/// An error of an evaluation: a value that cannot be cast or computed is the row's fault.
fn evaluation_error(error: &DataFusionError) -> Error {
    let root = error.find_root();
    let kind = match root {
        DataFusionError::Internal(_) | DataFusionError::Plan(_) => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    let text = root.strip_backtrace();
    Error::new(kind, unclassed(&text).to_owned())
}

/// The message without the classes of errors before it (`Arrow error: Cast error: …`).
pub(crate) fn unclassed(text: &str) -> &str {
    match text.split_once(": ") {
        Some((class, rest)) if class.ends_with(" error") || class == "Error during planning" => {
            unclassed(rest)
        }
        _ => text,
    }
}
