//! Takes out of the tokens what sqlparser cannot parse and what says nothing to it.
//!
//! `TUMBLE(TABLE t, DESCRIPTOR(ts), …)` and `TABLE(TUMBLE(…))` become `TUMBLE(t, ts, …)`,
//! `EMIT ON WINDOW CLOSE` (the default) and the LOCAL of `WITH LOCAL TIME ZONE` go, and a column
//! may be called `offset`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::cursor::is_word;
use crate::error::Error;

const WINDOW_FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "SESSION", "CUMULATE"];

/// What an open parenthesis belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    /// `TUMBLE(`.
    Window,
    /// `TABLE(` around a window function: left out.
    Table,
    /// `DESCRIPTOR(`: left out.
    Descriptor,
    /// Any other.
    Other,
}

/// The tokens as sqlparser can parse them, each with its own place.
pub(super) fn rewrite(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, Error> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut open: Vec<Open> = vec![];
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        let rest = &tokens[i..];
        let within = open.last().copied();
        let mut step = 1;
        if token.token == Token::LParen {
            let window = out.last().is_some_and(is_window_function);
            open.push(if window { Open::Window } else { Open::Other });
            out.push(token.clone());
        } else if token.token == Token::RParen {
            if !matches!(open.pop(), Some(Open::Table | Open::Descriptor)) {
                out.push(token.clone());
            }
        } else if starts(rest, "TABLE", 1) && rest.get(2).is_some_and(is_window_function) {
            open.push(Open::Table);
            step = 2;
        } else if within == Some(Open::Window) && starts(rest, "DESCRIPTOR", 1) {
            open.push(Open::Descriptor);
            step = 2;
        } else if within == Some(Open::Window) && is_argument_word(rest, &out) {
            // The name follows and is what the planner reads.
        } else if let (Some(Open::Window), Token::SingleQuotedString(path), Some(Token::LParen)) =
            (within, &token.token, out.last().map(|token| &token.token))
        {
            let (value, quote_style) = (path.clone(), Some('\''));
            let word = Word {
                value,
                quote_style,
                keyword: Keyword::NoKeyword,
            };
            out.push(TokenWithSpan {
                token: Token::Word(word),
                span: token.span,
            });
        } else if within == Some(Open::Window) && follow(rest, &["PARTITION", "BY"]) {
            return Err(partition_in_window(token.span));
        } else if within == Some(Open::Descriptor) && token.token == Token::Comma {
            let error = Error::invalid("DESCRIPTOR names more than one column", token.span);
            return Err(error.hint("name the event-time column alone"));
        } else if is_word(&token.token, "FOR") && !ends_with_word(&out, "WATERMARK") {
            refuse_for(rest)?;
            out.push(token.clone());
        } else if open.is_empty() && is_word(&token.token, "EMIT") {
            step = emit(rest)?;
            if step == 0 {
                out.push(token.clone());
                step = 1;
            }
        } else if follow(rest, &["LOCAL", "TIME", "ZONE"]) && ends_with_word(&out, "WITH") {
            // All instants are UTC.
        } else {
            out.push(if is_offset_column(rest) {
                plain(token)
            } else {
                token.clone()
            });
        }
        i += step;
    }
    Ok(out)
}

/// A column called `offset`: sqlparser takes it behind a comma for the clause.
fn is_offset_column(rest: &[TokenWithSpan]) -> bool {
    let clause = |token: &Token| match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword,
        token => matches!(
            token,
            Token::Number(..) | Token::LParen | Token::Placeholder(_)
        ),
    };
    rest.first()
        .is_some_and(|token| is_word(&token.token, "OFFSET"))
        && !rest.get(1).is_some_and(|next| clause(&next.token))
}

/// The word as a mere name.
fn plain(token: &TokenWithSpan) -> TokenWithSpan {
    let mut token = token.clone();
    if let Token::Word(word) = &mut token.token {
        word.keyword = Keyword::NoKeyword;
    }
    token
}

fn is_window_function(token: &TokenWithSpan) -> bool {
    WINDOW_FUNCTIONS
        .iter()
        .any(|name| is_word(&token.token, name))
}

/// Whether the word comes next, and a left parenthesis `at` tokens later.
fn starts(rest: &[TokenWithSpan], word: &str, at: usize) -> bool {
    rest.first()
        .is_some_and(|token| is_word(&token.token, word))
        && rest
            .get(at)
            .is_some_and(|token| token.token == Token::LParen)
}

fn follow(rest: &[TokenWithSpan], words: &[&str]) -> bool {
    rest.len() >= words.len()
        && rest
            .iter()
            .zip(words)
            .all(|(token, word)| is_word(&token.token, word))
}

fn ends_with_word(out: &[TokenWithSpan], word: &str) -> bool {
    out.last().is_some_and(|token| is_word(&token.token, word))
}

/// The TABLE of `TUMBLE(TABLE t`: first in its argument, and a name behind it.
fn is_argument_word(rest: &[TokenWithSpan], out: &[TokenWithSpan]) -> bool {
    let opens = |token: &TokenWithSpan| matches!(token.token, Token::LParen | Token::Comma);
    let names = |token: &TokenWithSpan| {
        matches!(token.token, Token::Word(_) | Token::SingleQuotedString(_))
    };
    rest.first()
        .is_some_and(|token| is_word(&token.token, "TABLE"))
        && out.last().is_some_and(opens)
        && rest.get(1).is_some_and(names)
}

/// `FOR …` behind a table: what sqlparser gives no place, or does not know.
fn refuse_for(rest: &[TokenWithSpan]) -> Result<(), Error> {
    let span = rest[0].span.union(&rest.get(1).unwrap_or(&rest[0]).span);
    if follow(rest, &["FOR", "SYSTEM_TIME"]) {
        let message = "FOR SYSTEM_TIME AS OF (a lookup join) is not available";
        let hint = "join before the rows come in, or UNION ALL rows of one shape";
        return Err(Error::invalid(message, span).hint(hint));
    }
    if follow(rest, &["FOR", "UPDATE"]) || follow(rest, &["FOR", "SHARE"]) {
        let error = Error::invalid("a stream has no rows to lock", span);
        return Err(error.hint("leave it out"));
    }
    Ok(())
}

fn partition_in_window(span: Span) -> Error {
    Error::invalid(
        "a window function with PARTITION BY (SESSION) is not available",
        span,
    )
    .hint("use TUMBLE or HOP, and GROUP BY window_start, window_end and the key")
}

/// How many tokens an EMIT clause has that changes nothing; 0 where the word is a name.
fn emit(rest: &[TokenWithSpan]) -> Result<usize, Error> {
    let span = rest[0].span;
    if follow(rest, &["EMIT", "ON", "WINDOW", "CLOSE"]) {
        if rest.len() == 4 {
            return Ok(4);
        }
        let error = Error::invalid("EMIT ON WINDOW CLOSE is not at the end of the query", span);
        return Err(error.hint("leave it out: it is the default"));
    }
    let refused = [
        "ON",
        "CHANGES",
        "FINAL",
        "AFTER",
        "STREAM",
        "WITHOUT",
        "EVERY",
        "IMMEDIATELY",
    ];
    if rest
        .get(1)
        .is_some_and(|next| refused.iter().any(|word| is_word(&next.token, word)))
    {
        let reason = "results are final rows, and none is ever taken back";
        let error = Error::invalid(format!("EMIT takes ON WINDOW CLOSE alone: {reason}"), span);
        return Err(error.hint("write EMIT ON WINDOW CLOSE, or leave it out"));
    }
    Ok(0)
}
