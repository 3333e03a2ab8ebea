//! Statements of other systems: what they are, and what to write instead.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::error::{Error, nearest};

/// First words of a statement, what it is, what to write instead. Longer ones first.
const KNOWN: [(&[&str], &str, &str); 30] = [
    (
        &["CREATE", "MATERIALIZED", "VIEW"],
        "CREATE MATERIALIZED VIEW",
        "write CREATE TABLE … WITH ('connector' = 'parquet', …) and INSERT INTO … SELECT",
    ),
    (
        &["CREATE", "OR", "REPLACE"],
        "CREATE OR REPLACE",
        "write CREATE: a script starts empty",
    ),
    (
        &["CREATE", "SOURCE"],
        "CREATE SOURCE",
        "write CREATE TABLE: its use decides",
    ),
    (
        &["CREATE", "SINK"],
        "CREATE SINK",
        "write CREATE TABLE and INSERT INTO … SELECT",
    ),
    (&["CREATE", "STREAM"], "CREATE STREAM", "write CREATE TABLE"),
    (
        &["CREATE", "FUNCTION"],
        "CREATE FUNCTION",
        "write the expression, or put it in a view",
    ),
    (
        &["CREATE", "TEMPORARY"],
        "CREATE TEMPORARY …",
        "write CREATE TABLE or CREATE VIEW",
    ),
    (
        &["CREATE"],
        "CREATE of this kind",
        "write CREATE TABLE or CREATE VIEW",
    ),
    (
        &["INSERT", "OVERWRITE"],
        "INSERT OVERWRITE",
        "write INSERT INTO: a stream only appends",
    ),
    (
        &["INSERT"],
        "INSERT of this kind",
        "write INSERT INTO table SELECT …",
    ),
    (
        &["DELETE"],
        "DELETE",
        "filter with WHERE in a query: a stream only appends",
    ),
    (
        &["UPDATE"],
        "UPDATE",
        "compute the new value in a query: a stream only appends",
    ),
    (
        &["MERGE"],
        "MERGE",
        "write INSERT INTO … SELECT: a stream only appends",
    ),
    (
        &["UPSERT"],
        "UPSERT",
        "write INSERT INTO: a stream only appends",
    ),
    (&["TRUNCATE"], "TRUNCATE", "start the job with --fresh"),
    (&["DROP"], "DROP", "take the CREATE out of the script"),
    (&["ALTER"], "ALTER", "change the CREATE in the script"),
    (&["SHOW"], "SHOW", "run `millstream check` on the script"),
    (
        &["DESCRIBE"],
        "DESCRIBE",
        "run `millstream explain` on the script",
    ),
    (&["DESC"], "DESC", "run `millstream explain` on the script"),
    (
        &["USE"],
        "USE",
        "leave it out: there are no catalogs or databases here",
    ),
    (&["RESET"], "RESET", "take the SET out of the script"),
    (&["ADD"], "ADD JAR", "leave it out: connectors are built in"),
    (
        &["COPY"],
        "COPY",
        "write INSERT INTO a table with 'connector' = 'parquet'",
    ),
    (
        &["ANALYZE"],
        "ANALYZE",
        "leave it out: there are no statistics to gather",
    ),
    (
        &["BEGIN"],
        "BEGIN",
        "leave it out: the whole script commits together",
    ),
    (
        &["START"],
        "START",
        "leave it out: the whole script commits together",
    ),
    (
        &["COMMIT"],
        "COMMIT",
        "leave it out: SET 'commit.interval' says how often",
    ),
    (
        &["ROLLBACK"],
        "ROLLBACK",
        "leave it out: the whole script commits together",
    ),
    (
        &["END"],
        "END without a statement set",
        "write EXECUTE STATEMENT SET BEGIN before it",
    ),
];

const STARTS: [&str; 9] = [
    "CREATE", "INSERT", "EXPLAIN", "SET", "SELECT", "WITH", "VALUES", "EXECUTE", "BEGIN",
];

/// Whether the text begins with a statement of another system: the remedies here are for scripts.
pub(super) fn is_known(cursor: &Cursor<'_>) -> bool {
    KNOWN.iter().any(|(words, ..)| cursor.sees(words))
}

/// Why the statement that begins here is refused.
pub(super) fn refuse(cursor: &Cursor<'_>) -> Error {
    let span = cursor.here();
    if let Some((_, what, instead)) = KNOWN.iter().find(|(words, ..)| cursor.sees(words)) {
        return Error::invalid(format!("{what} is not available"), span).hint(*instead);
    }
    let Token::Word(word) = cursor.peek() else {
        return cursor.expected("a statement");
    };
    let error = Error::invalid(format!("no statement begins with {}", word.value), span);
    match nearest(&word.value, STARTS) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("statements: CREATE TABLE, CREATE VIEW, INSERT INTO, EXPLAIN, SET"),
    }
}
