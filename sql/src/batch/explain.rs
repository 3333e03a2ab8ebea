//! DataFusion's errors in our form.

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::ErrorKind;

use crate::check;
use crate::error::Error;

/// What a query that needs too much memory is told.
const TOO_MUCH: &str = "the query needs more memory than it may have";

/// Whether a query failed because it needs more memory than it may have.
#[must_use]
pub fn is_exhausted(error: &Error) -> bool {
    error.message.starts_with(TOO_MUCH)
}

fn exhausted(error: &DataFusionError, span: Span) -> Error {
    let told = error.strip_backtrace();
    let told = told.lines().next().unwrap_or_default();
    let told = told.strip_prefix("Resources exhausted: ").unwrap_or(told);
    let message = format!("{TOO_MUCH}: {}", told.trim_end_matches('.'));
    Error::invalid(message, span).hint("read fewer rows or columns, or group by fewer keys")
}

/// DataFusion's error in our form, with its place where it tells one.
pub(super) fn explain(error: &DataFusionError, span: Span) -> Error {
    let root = error.find_root();
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let span = place.map_or(span, |place| check::tokenizer_span(&place));
    if let DataFusionError::SchemaError(schema, _) = root
        && let SchemaError::FieldNotFound {
            field,
            valid_fields,
        } = schema.as_ref()
    {
        let place = field
            .spans()
            .first()
            .map_or(span, |place| check::tokenizer_span(&place));
        let known = valid_fields.iter().map(|column| column.name.as_str());
        return Error::unknown("column", &field.name, place, known);
    }
    let kind = match root {
        DataFusionError::ResourcesExhausted(_) => return exhausted(root, span),
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => ErrorKind::Unavailable,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    let text = root.strip_backtrace();
    let class =
        |class: &&str| class.to_lowercase().contains("error") || class.contains("not implem");
    let message = match text.split_once(": ") {
        Some((first, rest)) if class(&first) => rest,
        _ => text.as_str(),
    };
    Error {
        kind,
        ..Error::invalid(message.trim_end_matches('.'), span)
    }
}
