//! What a text sets, whether or not it can be read otherwise.

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::cursor::tokens;

/// Every `key = value` of a text with a string or bare words on both sides, and the value's
/// place. Some are conditions of queries; a string without its end reaches to the text's.
#[must_use]
pub fn settings(text: &str) -> Vec<(String, Span)> {
    let (tokens, broken) = tokens(text);
    let mut found = vec![];
    for (at, _) in tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| t.token == Token::Eq)
    {
        let key = key(&tokens[..at]);
        let value = tokens[at + 1..].iter().take_while(|token| !is_end(token));
        let value: Vec<&TokenWithSpan> = value.collect();
        let span = match value.as_slice() {
            [] if broken.is_some() && at + 1 == tokens.len() => {
                let lines = u64::try_from(text.lines().count()).unwrap_or(u64::MAX);
                Span::new(tokens[at].span.end, Location::new(lines, u64::MAX))
            }
            [] => continue,
            [first, ..] if matches!(first.token, Token::SingleQuotedString(_)) => first.span,
            [first, .., last] => Span::new(first.span.start, last.span.end),
            [one] => one.span,
        };
        found.push((key, span));
    }
    found
}

fn is_end(token: &TokenWithSpan) -> bool {
    matches!(
        token.token,
        Token::Comma | Token::RParen | Token::SemiColon | Token::EOF
    )
}

/// The key that these tokens end with.
fn key(tokens: &[TokenWithSpan]) -> String {
    if let Some(Token::SingleQuotedString(key)) = tokens.last().map(|token| &token.token) {
        return key.clone();
    }
    let parts = tokens
        .iter()
        .rev()
        .take_while(|token| !matches!(token.token, Token::LParen) && !is_end(token));
    let mut parts: Vec<String> = parts.map(|token| token.token.to_string()).collect();
    parts.reverse();
    parts.concat()
}
