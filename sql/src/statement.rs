//! Statements of a script: our own DDL, and queries as sqlparser's AST.
//!
//! The text is cut into sqlparser's own tokens once; what no dialect parses is read from them
//! here (`create_table`) or taken out of them before sqlparser sees them (`rewrite`), so every
//! node of the AST keeps its place in the text.

mod create_table;
mod cursor;
mod names;
mod refused;
mod rewrite;
mod settings;
mod window;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::error::{Error, Result};
use cursor::Cursor;

pub use settings::settings;

/// One statement with its place in the text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first to its last token.
    pub span: Span,
}

/// What a statement says.
#[expect(
    clippy::large_enum_variant,
    reason = "a script has few, and each is read once"
)]
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `CREATE VIEW name AS query`.
    CreateView {
        /// The view's name.
        name: ast::Ident,
        /// What it stands for.
        query: Box<ast::Query>,
    },
    /// `INSERT INTO table [(columns)] query`.
    Insert(Insert),
    /// `EXPLAIN INSERT …`.
    Explain(Insert),
    /// A query on its own: for `millstream query`.
    Query(Box<ast::Query>),
    /// `SET 'key' = 'value'`.
    Set {
        /// What is set.
        key: Spanned,
        /// To what.
        value: Spanned,
    },
}

/// `INSERT INTO table [(columns)] query`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table written.
    pub table: ast::Ident,
    /// The columns written; empty: all, by position.
    pub columns: Vec<ast::Ident>,
    /// What is written.
    pub query: Box<ast::Query>,
}

/// `CREATE TABLE name (columns, WATERMARK FOR …) WITH (…)`.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// The table's name.
    pub name: ast::Ident,
    /// `IF NOT EXISTS`: a table declared before stays as it is.
    pub if_not_exists: bool,
    /// The columns, in order.
    pub columns: Vec<ColumnDefinition>,
    /// `WATERMARK FOR column AS expression`.
    pub watermark: Option<WatermarkDefinition>,
    /// `WITH (…)`, as written.
    pub options: Vec<(Spanned, Spanned)>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: ast::Ident,
    /// Where it comes from.
    pub kind: ColumnKind,
}

/// Where a column comes from.
#[expect(
    clippy::large_enum_variant,
    reason = "a script has few, and each is read once"
)]
#[derive(Debug, Clone)]
pub enum ColumnKind {
    /// `name TYPE [NOT NULL]`.
    Stored {
        /// The declared type.
        data_type: ast::DataType,
        /// Whether NULL is refused.
        not_null: bool,
    },
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        /// The declared type.
        data_type: ast::DataType,
        /// What is read; the column's name where `FROM` is left out.
        key: Spanned,
    },
    /// `name AS expression`.
    Computed(ast::Expr),
    /// `name AS PROCTIME()`.
    ProcTime,
}

/// `WATERMARK FOR column AS column - INTERVAL …`.
#[derive(Debug, Clone)]
pub struct WatermarkDefinition {
    /// The event-time column.
    pub column: ast::Ident,
    /// The expression, still to be understood by the catalog.
    pub expression: ast::Expr,
}

/// A word or string with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned {
    /// Without quotes.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// The statements of a text, or all errors in it.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    let (statements, errors) = read(text);
    if errors.is_empty() {
        Ok(statements)
    } else {
        Err(errors)
    }
}

/// The statements that can be read, and the errors of the others: after one the reading goes on
/// behind the next semicolon.
#[must_use]
pub fn read(text: &str) -> (Vec<Statement>, Vec<Error>) {
    let (tokens, broken) = cursor::tokens(text);
    let mut cut: Vec<&[TokenWithSpan]> = tokens.split(cursor::is_semicolon).collect();
    if broken.is_some() {
        cut.pop();
    }
    let (mut statements, mut errors, mut set) = (vec![], vec![], None);
    for tokens in cut.into_iter().filter(|tokens| !tokens.is_empty()) {
        match statement(tokens, text, &mut set) {
            Ok(found) => statements.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    if let (Some(span), None) = (set, &broken) {
        let error = Error::invalid("this statement set does not end", span);
        errors.push(error.hint("write END; after its last INSERT"));
    }
    errors.extend(broken);
    (statements, errors)
}

/// The one expression that a text is.
pub(crate) fn expression(text: &str) -> Result<ast::Expr, Error> {
    let (tokens, broken) = cursor::tokens(text);
    if let Some(error) = broken {
        return Err(error);
    }
    let mut cursor = Cursor::new(tokens, text);
    let expression = cursor.expression()?;
    cursor.finish()?;
    Ok(expression)
}

/// One statement, or none where the tokens only open or close a statement set.
fn statement(
    tokens: &[TokenWithSpan],
    text: &str,
    set: &mut Option<Span>,
) -> Result<Option<Statement>> {
    let tokens = rewrite::rewrite(tokens).map_err(|error| vec![error])?;
    let mut cursor = Cursor::new(tokens, text);
    let opening = cursor.here();
    if cursor.words(&["EXECUTE", "STATEMENT", "SET"])
        || cursor.words(&["BEGIN", "STATEMENT", "SET"])
    {
        cursor.words(&["BEGIN"]);
        if set.replace(opening).is_some() {
            let error = Error::invalid("a statement set stands inside a statement set", opening);
            return Err(vec![error.hint("write END; before it")]);
        }
    } else if set.is_some() && cursor.words(&["END"]) {
        *set = None;
        return cursor.finish().map(|()| None).map_err(|error| vec![error]);
    }
    if cursor.at_end() {
        return Ok(None);
    }
    let start = cursor.here();
    if set.is_some() && !cursor.sees(&["INSERT"]) {
        let error = Error::invalid("a statement set holds INSERTs alone", start);
        return Err(vec![error.hint("write the other statements before it")]);
    }
    let kind = kind(&mut cursor)?;
    cursor.finish().map_err(|error| vec![error])?;
    Ok(Some(Statement {
        kind,
        span: start.union(&cursor.here()),
    }))
}

fn kind(cursor: &mut Cursor) -> Result<StatementKind> {
    let one = |error| vec![error];
    if cursor.words(&["CREATE", "TABLE"]) || cursor.words(&["CREATE", "TEMPORARY", "TABLE"]) {
        create_table::create_table(cursor)
            .map(StatementKind::CreateTable)
            .map_err(one)
    } else if cursor.words(&["CREATE", "VIEW"]) || cursor.words(&["CREATE", "TEMPORARY", "VIEW"]) {
        create_view(cursor)
    } else if cursor.sees(&["INSERT", "INTO"]) {
        insert(cursor).map(StatementKind::Insert)
    } else if cursor.sees(&["EXPLAIN"]) {
        cursor.words(&["EXPLAIN"]);
        cursor.words(&["PLAN", "FOR"]);
        if !cursor.sees(&["INSERT", "INTO"]) {
            let error = cursor.expected("INSERT INTO");
            return Err(vec![error.hint("write EXPLAIN INSERT INTO table SELECT …")]);
        }
        insert(cursor).map(StatementKind::Explain)
    } else if cursor.words(&["SET"]) {
        set(cursor).map_err(one)
    } else if cursor.starts_query() {
        query(cursor).map(StatementKind::Query)
    } else {
        Err(vec![refused::refuse(cursor)])
    }
}

/// Whether a text begins with a statement that writes or manages, here or in other systems.
pub(crate) fn is_no_query(text: &str) -> bool {
    let (tokens, _) = cursor::tokens(text);
    refused::is_known(&Cursor::new(tokens, text))
}

/// Where a string stands in a text: sqlparser gives the name in `FROM 'file'` no place.
pub(crate) fn place_of(text: &str, string: &str) -> Span {
    let (tokens, _) = cursor::tokens(text);
    let found = tokens
        .iter()
        .find(|token| matches!(&token.token, Token::SingleQuotedString(value) if value == string));
    found.map_or(Span::empty(), |token| token.span)
}

/// `SELECT * FROM name`.
pub(crate) fn whole(name: &ast::Ident) -> Option<Box<ast::Query>> {
    let (tokens, _) = cursor::tokens("SELECT * FROM t");
    let mut query = Cursor::new(tokens, "").query().ok()?;
    let _ = ast::visit_relations_mut(&mut query, |relation| {
        *relation = ast::ObjectName::from(vec![name.clone()]);
        std::ops::ControlFlow::<()>::Continue(())
    });
    Some(query)
}

fn query(cursor: &mut Cursor) -> Result<Box<ast::Query>> {
    let mut query = cursor.query().map_err(|error| vec![error])?;
    let errors = window::resolve(&mut query);
    if errors.is_empty() {
        Ok(query)
    } else {
        Err(errors)
    }
}

fn create_view(cursor: &mut Cursor) -> Result<StatementKind> {
    let one = |error| vec![error];
    let name = cursor.table_name().map_err(one)?;
    if cursor.sees_left_parenthesis() {
        let error = Error::invalid(
            "a view takes its column names from its query",
            cursor.here(),
        );
        return Err(vec![error.hint("name them there: SELECT price AS close")]);
    }
    cursor.expect("AS").map_err(one)?;
    Ok(StatementKind::CreateView {
        name,
        query: query(cursor)?,
    })
}

fn insert(cursor: &mut Cursor) -> Result<Insert> {
    let one = |error| vec![error];
    cursor.words(&["INSERT", "INTO"]);
    cursor.words(&["TABLE"]);
    let table = cursor.table_name().map_err(one)?;
    if cursor.sees(&["PARTITION"]) {
        let error = Error::invalid("INSERT INTO … PARTITION is not available", cursor.here());
        return Err(vec![
            error.hint("set the option 'partition' of the parquet table"),
        ]);
    }
    let columns = cursor.column_list().map_err(one)?;
    if !cursor.starts_query() {
        return Err(vec![cursor.expected("SELECT, WITH or VALUES")]);
    }
    let mut query = query(cursor)?;
    names::make_distinct(&mut query.body);
    Ok(Insert {
        table,
        columns,
        query,
    })
}

fn set(cursor: &mut Cursor) -> Result<StatementKind, Error> {
    let key = cursor.setting("a key, as in SET 'commit.interval' = '5 s'")?;
    cursor.expect_equals()?;
    let value = cursor.setting("a value, as in SET 'commit.interval' = '5 s'")?;
    Ok(StatementKind::Set { key, value })
}

#[cfg(test)]
mod tests;
