//! Reading tokens one after the other: sqlparser's parser with our errors and their places.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, Query};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, Word,
};

use super::Spanned;
use crate::error::Error;

static DIALECT: GenericDialect = GenericDialect {};

/// All tokens but blanks and comments, up to the first that is none, and then the error.
pub(super) fn tokens(text: &str) -> (Vec<TokenWithSpan>, Option<Error>) {
    let mut tokens = vec![];
    let read = Tokenizer::new(&DIALECT, text).tokenize_with_location_into_buf(&mut tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let broken = read.err().map(|error| {
        let span = Span::new(error.location, error.location);
        Error::invalid(lower_first(&error.message), span)
    });
    (tokens, broken)
}

pub(super) fn is_semicolon(token: &TokenWithSpan) -> bool {
    token.token == Token::SemiColon
}

/// Whether the token is this word, unquoted, in upper or lower case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. })
        if value.eq_ignore_ascii_case(word))
}

/// A place in the tokens of one statement.
pub(super) struct Cursor<'a> {
    parser: Parser<'static>,
    text: &'a str,
    end: Span,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: Vec<TokenWithSpan>, text: &'a str) -> Self {
        let end = tokens
            .last()
            .map_or(Location::empty(), |token| token.span.end);
        let parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        Self {
            parser,
            text,
            end: Span::new(end, end),
        }
    }

    /// The place of the next token; behind the last one where there is none.
    pub(super) fn here(&self) -> Span {
        let next = self.parser.peek_token_ref();
        if next.token == Token::EOF {
            self.end
        } else {
            next.span
        }
    }

    pub(super) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether these words come next.
    pub(super) fn sees(&self, words: &[&str]) -> bool {
        let next = |n| &self.parser.peek_nth_token_ref(n).token;
        words
            .iter()
            .enumerate()
            .all(|(n, word)| is_word(next(n), word))
    }

    /// Steps over these words if they come next, all of them.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = self.sees(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    /// Steps over this token if it comes next.
    pub(super) fn token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn sees_left_parenthesis(&self) -> bool {
        self.parser.peek_token_ref().token == Token::LParen
    }

    /// The next token, stepped over.
    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// Whether a query begins here, also one in parentheses.
    pub(super) fn starts_query(&self) -> bool {
        let next = |n| &self.parser.peek_nth_token_ref(n).token;
        let mut first = 0;
        while *next(first) == Token::LParen {
            first += 1;
        }
        ["SELECT", "WITH", "VALUES", "FROM"]
            .iter()
            .any(|word| is_word(next(first), word))
    }

    /// Whether `name()` comes next.
    pub(super) fn sees_call(&self, name: &str) -> bool {
        let next = |n| &self.parser.peek_nth_token_ref(n).token;
        is_word(next(0), name) && *next(1) == Token::LParen && *next(2) == Token::RParen
    }

    /// Whether a word that could begin a constraint is a column: a type or `AS` is behind it.
    pub(super) fn names_column(&self) -> bool {
        let behind = &self.parser.peek_nth_token_ref(1).token;
        matches!(behind, Token::Word(word) if word.keyword != Keyword::NoKeyword)
            && !["CHECK", "PRIMARY", "UNIQUE", "FOREIGN"]
                .iter()
                .any(|word| is_word(behind, word))
    }

    /// What was expected here, and what there is instead.
    pub(super) fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            Token::EOF => "the end of the statement".to_owned(),
            token => token.to_string(),
        };
        Error::invalid(format!("expected {what}, found {found}"), self.here())
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), Error> {
        if self.words(&[word]) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), Error> {
        if self.token(token) {
            Ok(())
        } else {
            Err(self.expected(&token.to_string()))
        }
    }

    pub(super) fn expect_equals(&mut self) -> Result<(), Error> {
        self.expect_token(&Token::Eq)
    }

    /// An error unless everything is read.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.at_end() {
            Ok(())
        } else {
            Err(self.expected("the end of the statement"))
        }
    }

    /// A name; any word will do, keywords too.
    pub(super) fn identifier(&mut self, what: &str) -> Result<Ident, Error> {
        match &self.parser.peek_token_ref().token {
            Token::Word(word) => {
                let ident = word.to_ident(self.here());
                self.parser.advance_token();
                Ok(ident)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// The name of a table or view: one part.
    pub(super) fn table_name(&mut self) -> Result<Ident, Error> {
        let name = self.identifier("a name")?;
        if *self.peek() == Token::Period {
            let error = Error::invalid("there are no catalogs or databases here", self.here());
            return Err(error.hint("write the table's name alone"));
        }
        Ok(name)
    }

    /// `(a, b)`, or nothing; parentheses around a query are left alone.
    pub(super) fn column_list(&mut self) -> Result<Vec<Ident>, Error> {
        let mut columns = vec![];
        if !self.sees_left_parenthesis() || self.starts_query() {
            return Ok(columns);
        }
        self.expect_token(&Token::LParen)?;
        loop {
            columns.push(self.identifier("a column")?);
            if !self.token(&Token::Comma) {
                break;
            }
        }
        self.expect_token(&Token::RParen)?;
        Ok(columns)
    }

    /// A string, or what stands there without quotes up to the next `=`, `,`, `)` or end.
    pub(super) fn setting(&mut self, what: &str) -> Result<Spanned, Error> {
        let span = self.here();
        if let Token::SingleQuotedString(text) = self.peek() {
            let text = text.clone();
            self.parser.advance_token();
            return Ok(Spanned { text, span });
        }
        let mut to = span;
        while !matches!(
            self.peek(),
            Token::Eq | Token::Comma | Token::RParen | Token::EOF
        ) {
            to = self.next().span;
        }
        let span = Span::new(span.start, to.end);
        let text = slice(self.text, span).trim().trim_matches(['"', '`']);
        if text.is_empty() {
            return Err(self.expected(what));
        }
        Ok(Spanned {
            text: text.to_owned(),
            span,
        })
    }

    pub(super) fn string(&mut self, what: &str) -> Result<Spanned, Error> {
        let span = self.here();
        if let Token::SingleQuotedString(text) = self.peek() {
            let text = text.clone();
            self.parser.advance_token();
            return Ok(Spanned { text, span });
        }
        Err(self.expected(what))
    }

    pub(super) fn expression(&mut self) -> Result<Expr, Error> {
        self.parser
            .parse_expr()
            .map_err(|error| self.translate(error))
    }

    pub(super) fn data_type(&mut self) -> Result<DataType, Error> {
        self.parser
            .parse_data_type()
            .map_err(|error| self.translate(error))
    }

    pub(super) fn query(&mut self) -> Result<Box<Query>, Error> {
        self.parser
            .parse_query()
            .map_err(|error| self.translate(error))
    }

    /// sqlparser writes the place into its message: it is taken out again.
    fn translate(&self, error: ParserError) -> Error {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => {
                let error = Error::invalid("the statement is nested too deeply", self.here());
                return error.hint("name the inner parts in a WITH clause or in views");
            }
        };
        let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((&text, ""));
        let location = place.split_once(", Column: ").and_then(|(line, column)| {
            Some(Location::new(line.parse().ok()?, column.parse().ok()?))
        });
        let span = match location {
            Some(location) => Span::new(location, location),
            None if message.ends_with("found: EOF") => self.end,
            None => self.here(),
        };
        let message = message.replacen("Expected: ", "expected ", 1);
        let message = message.replacen("found: EOF", "found the end of the statement", 1);
        Error::invalid(lower_first(&message.replacen("found: ", "found ", 1)), span)
    }
}

/// Messages begin in lower case, unless the first word is a keyword.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// The text of a span.
fn slice(text: &str, span: Span) -> &str {
    let offset = |place: Location| {
        let line = text
            .split_inclusive('\n')
            .take(place.line.saturating_sub(1) as usize);
        let start = line.map(str::len).sum::<usize>();
        let rest = text.get(start..).unwrap_or_default();
        let column = place.column.saturating_sub(1) as usize;
        start + rest.chars().take(column).map(char::len_utf8).sum::<usize>()
    };
    text.get(offset(span.start)..offset(span.end))
        .unwrap_or_default()
}
