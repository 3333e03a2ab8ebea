//! DataFusion's errors in our words: a place, the nearest known name, no class of error.

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::adapt::unclassed;
use crate::error::Error;
use crate::functions;
use crate::session::Session;

/// What is wrong, with `whole` as the place where DataFusion knows none.
pub(crate) fn explain(error: &DataFusionError, whole: Span, session: &Session<'_>) -> Vec<Error> {
    if let DataFusionError::Collection(errors) = error {
        let mut all: Vec<Error> = vec![];
        for one in errors
            .iter()
            .flat_map(|error| explain(error, whole, session))
        {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        return all;
    }
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(|diagnostic| diagnostic.span);
    let place = place.map_or(whole, |span| tokenizer_span(&span));
    let text = diagnostic.map(|diagnostic| diagnostic.message.as_str());
    vec![match error.find_root() {
        DataFusionError::SchemaError(schema, _) => schema_error(schema, place),
        root => {
            let plain = root.strip_backtrace();
            let plain = unclassed(&plain);
            named(text.unwrap_or(plain), place, session)
        }
    }]
}

/// A place of DataFusion's as one of sqlparser's.
pub(crate) fn tokenizer_span(span: &datafusion::common::Span) -> Span {
    let place = |at: &datafusion::common::Location| Location::new(at.line, at.column);
    Span::new(place(&span.start), place(&span.end))
}

fn schema_error(error: &SchemaError, place: Span) -> Error {
    let at = |column: &datafusion::common::Column| {
        column
            .spans()
            .first()
            .map_or(place, |span| tokenizer_span(&span))
    };
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let mut known: Vec<&str> = vec![];
            for column in valid_fields {
                if !known.contains(&column.name.as_str()) {
                    known.push(&column.name);
                }
            }
            Error::unknown("column", &field.name, at(field), known)
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column '{}' is in more than one relation", field.name);
            Error::invalid(message, at(field)).hint("put the relation's name before it")
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("two columns are called '{name}'");
            Error::invalid(message, place).hint("rename one with AS")
        }
    }
}

/// Text between the first pair of quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('\'').nth(1)
}

fn named(text: &str, place: Span, session: &Session<'_>) -> Error {
    let missing_table = text.starts_with("table '") || text.starts_with("no table is called");
    match quoted(text) {
        Some(name) if missing_table => {
            return Error::unknown("table", name, place, session.relations());
        }
        _ => {}
    }
    if let Some(error) = unknown_function(text, place, &session.state) {
        return error;
    }
    if let Some(error) = misused(text, place) {
        return error;
    }
    let text = text.trim_end_matches('.');
    let (message, hint) = match text.split_once("; ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (text, None),
    };
    let error = Error::invalid(lower(message), place);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The nearest function, where the planner says that one is not there.
pub(crate) fn unknown_function(text: &str, place: Span, state: &SessionState) -> Option<Error> {
    if !text.to_lowercase().starts_with("invalid function") {
        return None;
    }
    let name = quoted(text)?;
    let known = functions::names(state);
    if known.iter().any(|known| known == name) {
        let message = format!("{name} is a window function");
        let hint = format!("write {name}(…) OVER (PARTITION BY … ORDER BY time)");
        return Some(Error::invalid(message, place).hint(hint));
    }
    let known = known.iter().map(String::as_str);
    Some(Error::unknown("function", name, place, known))
}

/// A function called in a form that it does not have, or a condition that is none.
fn misused(text: &str, place: Span) -> Option<Error> {
    let name = quoted(text)?;
    if text.starts_with("Cannot create filter with non-boolean predicate") {
        let message = format!("the condition '{name}' is neither true nor false");
        return Some(Error::invalid(message, place).hint("compare it with something"));
    }
    if let Some(rest) = text.strip_prefix("Cannot cast string '") {
        let (value, rest) = rest.split_once("' to value of ")?;
        let data_type = in_sql(rest.trim_end_matches(" type"));
        let error = Error::invalid(format!("'{value}' is not a {data_type}"), place);
        return Some(error.hint(format!(
            "compare like with like: write a {data_type}, or CAST"
        )));
    }
    let (told, forms) = text.split_once("Candidate functions:")?;
    // "Function 'rsi' user-defined coercion failed with: …: rsi: close is a number, not Utf8 No …"
    if let Some((input, rest)) = text.split_once(" is a number, not ") {
        let input = input.rsplit(": ").next()?;
        let data_type = in_sql(rest.split([' ', '.']).next()?);
        let message = format!("argument {input} of '{name}' is a {data_type}, not a number");
        return Some(Error::invalid(message, place).hint("write a DOUBLE, or CAST(… AS DOUBLE)"));
    }
    let types = told.split_once("coercion from ");
    let types = types.and_then(|(_, rest)| rest.split_once(" to the signature"));
    // "…'upper' expects 1 arguments but received 3. No function matches …"
    let message = match types {
        Some((types, _)) => format!("function '{name}' does not take {}", in_sql(types)),
        None => lower(told.split(". ").next().unwrap_or(told)),
    };
    let forms = forms.lines().map(str::trim).filter(|form| !form.is_empty());
    let forms: Vec<String> = forms.map(in_sql).collect();
    Some(Error::invalid(message, place).hint(format!("write {}", forms.join(" or "))))
}

/// A list of Arrow's types in the words of SQL.
fn in_sql(types: &str) -> String {
    let words = [
        ("Utf8", "STRING"),
        ("String", "STRING"),
        ("Boolean", "BOOLEAN"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
    ];
    words
        .iter()
        .fold(types.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A lower first letter, unless the first word is an abbreviation.
fn lower(message: &str) -> String {
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}
