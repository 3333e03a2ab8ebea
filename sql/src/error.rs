//! The error of this crate: where in the text, what is wrong, what to write instead.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::Span;

/// Result of this crate: a script is checked whole, so there may be several errors.
pub type Result<T, E = Vec<Error>> = std::result::Result<T, E>;

/// The place of what stands in no text.
#[must_use]
pub fn nowhere() -> Span {
    Span::empty()
}

/// What is wrong with a script, at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What it means for who wrote the script (`Invalid`, `NotFound`, …).
    pub kind: engine::ErrorKind,
    /// Lower case, without a full stop.
    pub message: String,
    /// Where; `Span::empty()` where the whole text is meant.
    pub span: Span,
    /// The option beside the text that is meant (`trades.rate`), where it is none of the text's.
    pub option: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Error {
    /// The script is wrong at this place.
    pub fn invalid(message: impl Into<String>, span: Span) -> Self {
        Self {
            kind: engine::ErrorKind::Invalid,
            message: message.into(),
            span,
            option: None,
            hint: None,
        }
    }

    /// The script is wrong as a whole.
    pub fn of_whole(message: impl Into<String>) -> Self {
        Self::invalid(message, Span::empty())
    }

    /// What was named is not there; the hint is the nearest of the known names.
    pub fn unknown<'a>(
        what: &str,
        name: &str,
        span: Span,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let message = format!("no {what} is called '{name}'");
        let error = Self {
            kind: engine::ErrorKind::NotFound,
            message,
            span,
            option: None,
            hint: None,
        };
        match nearest(name, known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None if known.is_empty() => error,
            None if known.len() <= 12 => error.hint(format!("known: {}", known.join(", "))),
            None => error,
        }
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error about an option that was given beside the text.
    #[must_use]
    pub fn of_option(mut self, option: impl Into<String>) -> Self {
        self.option = Some(option.into());
        self.span = Span::empty();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.span != Span::empty() {
            write!(
                f,
                "line {}, column {}: ",
                self.span.start.line, self.span.start.column
            )?;
        }
        if let Some(option) = &self.option {
            write!(f, "option {option}: ")?;
        }
        f.write_str(&self.message)?;
        self.hint
            .as_ref()
            .map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Error {}

/// The known name that `name` is most likely a misspelling of: the least edit distance without
/// regard to case, at most a third of the letters (two for short names); or else the first that
/// begins with it. Ties go to the first.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(2);
    let distance = |other: &str| strsim::damerau_levenshtein(&name, &other.to_lowercase());
    let known: Vec<&str> = known.into_iter().collect();
    let scored = known.iter().map(|other| (distance(other), *other));
    let close = |(d, other): &(usize, &str)| *d <= allowed && *d < other.chars().count();
    let begun = |other: &&&str| name.len() > 2 && other.to_lowercase().starts_with(&name);
    scored
        .filter(close)
        .min_by_key(|(d, _)| *d)
        .map(|(_, other)| other)
        .or_else(|| known.iter().find(begun).copied())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::{Location, Span};

    use super::*;

    #[test]
    fn display_has_place_message_and_hint() {
        let span = Span::new(Location::new(3, 7), Location::new(3, 9));
        let known = ["trades", "quotes"];
        let error = Error::unknown("table", "trads", span, known);
        let text = "line 3, column 7: no table is called 'trads'; did you mean 'trades'?";
        assert_eq!(error.to_string(), text);
        let far = Error::unknown("table", "x", Span::empty(), known);
        assert_eq!(
            far.to_string(),
            "no table is called 'x'; known: trades, quotes"
        );
    }

    #[test]
    fn nearest_is_near() {
        assert_eq!(nearest("PRICE", ["prices", "price"]), Some("price"));
        assert_eq!(nearest("vlume", ["value", "volume"]), Some("volume"));
        assert_eq!(nearest("vol", ["price", "volume"]), Some("volume"));
        assert_eq!(nearest("zz", ["ab", "cd"]), None);
        assert_eq!(
            nearest("bootstrap.severs", ["bootstrap.servers"]),
            Some("bootstrap.servers")
        );
    }
}
