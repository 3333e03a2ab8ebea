//! `CREATE TABLE`, read from the tokens: Flink's form, which no dialect of sqlparser parses.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{ColumnDefinition, ColumnKind, CreateTable, Spanned, WatermarkDefinition};
use crate::error::Error;

/// What follows `CREATE TABLE`.
pub(super) fn create_table(cursor: &mut Cursor<'_>) -> Result<CreateTable, Error> {
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    refuse_query(cursor)?;
    cursor.expect_token(&Token::LParen)?;
    let (columns, watermark) = items(cursor)?;
    comment(cursor)?;
    if cursor.sees(&["PARTITIONED", "BY"]) {
        let error = Error::invalid("PARTITIONED BY is not available", cursor.here());
        return Err(error.hint("set the option 'partition' of the parquet table"));
    }
    let options = if cursor.words(&["WITH"]) {
        options(cursor)?
    } else {
        vec![]
    };
    refuse_query(cursor)?;
    Ok(CreateTable {
        name,
        if_not_exists,
        columns,
        watermark,
        options,
    })
}

fn refuse_query(cursor: &Cursor<'_>) -> Result<(), Error> {
    if cursor.sees(&["AS"]) {
        let error = Error::invalid("CREATE TABLE … AS is not available", cursor.here());
        return Err(error.hint("write CREATE TABLE with its columns and INSERT INTO … SELECT"));
    }
    if cursor.sees(&["LIKE"]) {
        let error = Error::invalid("CREATE TABLE … LIKE is not available", cursor.here());
        return Err(error.hint("write the columns and options out"));
    }
    Ok(())
}

type Items = (Vec<ColumnDefinition>, Option<WatermarkDefinition>);

/// Columns and the watermark, up to and with the right parenthesis.
fn items(cursor: &mut Cursor<'_>) -> Result<Items, Error> {
    let (mut columns, mut watermark) = (vec![], None);
    loop {
        refuse_constraint(cursor)?;
        let start = cursor.here();
        if cursor.words(&["WATERMARK", "FOR"]) {
            let column = cursor.identifier("the event-time column")?;
            cursor.expect("AS")?;
            let expression = cursor.expression()?;
            if watermark
                .replace(WatermarkDefinition { column, expression })
                .is_some()
            {
                let error = Error::invalid("the table has a second WATERMARK", start);
                return Err(error.hint("keep one: a table has one event time"));
            }
        } else {
            columns.push(column(cursor)?);
        }
        if cursor.token(&Token::RParen) {
            return Ok((columns, watermark));
        }
        if !cursor.token(&Token::Comma) {
            return Err(cursor.expected("a comma or ) after the column"));
        }
    }
}

/// Constraints of a table; `key` and `check` are column names as well.
fn refuse_constraint(cursor: &Cursor<'_>) -> Result<(), Error> {
    let span = cursor.here();
    if cursor.sees(&["PRIMARY", "KEY"]) {
        let reason = "rows are only appended, so none can replace another";
        let error = Error::invalid(format!("PRIMARY KEY is not available: {reason}"), span);
        return Err(error
            .hint("leave it out; the option 'key' keys the messages of a table that is written"));
    }
    for words in [
        &["CONSTRAINT"][..],
        &["UNIQUE"],
        &["FOREIGN", "KEY"],
        &["REFERENCES"],
    ] {
        // A type behind the word makes it a column.
        if cursor.sees(words) && !cursor.names_column() {
            let error = Error::invalid(format!("{} is not available", words.join(" ")), span);
            return Err(error.hint("leave it out, and filter with WHERE in a query"));
        }
    }
    Ok(())
}

fn column(cursor: &mut Cursor<'_>) -> Result<ColumnDefinition, Error> {
    let name = cursor.identifier("a column or WATERMARK FOR")?;
    if cursor.words(&["AS"]) {
        let kind = if cursor.sees_call("PROCTIME") {
            cursor.expression()?;
            ColumnKind::ProcTime
        } else {
            ColumnKind::Computed(cursor.expression()?)
        };
        comment(cursor)?;
        return Ok(ColumnDefinition { name, kind });
    }
    refuse_nested_type(cursor)?;
    let data_type = cursor.data_type()?;
    if cursor.words(&["METADATA"]) {
        let key = if cursor.words(&["FROM"]) {
            cursor.string("the metadata key, as in METADATA FROM 'offset'")?
        } else {
            metadata_key(&name)
        };
        cursor.words(&["VIRTUAL"]);
        comment(cursor)?;
        return Ok(ColumnDefinition {
            name,
            kind: ColumnKind::Metadata { data_type, key },
        });
    }
    let mut not_null = false;
    loop {
        if cursor.words(&["NOT", "NULL"]) {
            not_null = true;
        } else if !cursor.words(&["NULL"]) {
            break;
        }
    }
    comment(cursor)?;
    refuse_constraint(cursor)?;
    if cursor.sees(&["DEFAULT"]) {
        let error = Error::invalid("DEFAULT is not available", cursor.here());
        return Err(error.hint("write COALESCE(column, value) in a query"));
    }
    Ok(ColumnDefinition {
        name,
        kind: ColumnKind::Stored {
            data_type,
            not_null,
        },
    })
}

fn metadata_key(name: &Ident) -> Spanned {
    let text = match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    Spanned {
        text,
        span: name.span,
    }
}

/// Documentation for who reads the script.
fn comment(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    if cursor.words(&["COMMENT"]) {
        cursor.token(&Token::Eq);
        cursor.string("the comment, in quotes")?;
    }
    Ok(())
}

fn refuse_nested_type(cursor: &Cursor<'_>) -> Result<(), Error> {
    for name in ["ROW", "ARRAY", "MAP", "MULTISET", "STRUCT"] {
        if cursor.sees(&[name]) {
            let error = Error::invalid(format!("{name} columns are not available"), cursor.here());
            return Err(error.hint("declare the inner fields as columns, or the whole as STRING"));
        }
    }
    Ok(())
}

/// `('key' = 'value', …)`; keys and values with quotes or without.
fn options(cursor: &mut Cursor<'_>) -> Result<Vec<(Spanned, Spanned)>, Error> {
    cursor.expect_token(&Token::LParen)?;
    let mut options = vec![];
    loop {
        let key = cursor.setting("an option, as in 'connector' = 'kafka'")?;
        cursor.expect_equals()?;
        let value = cursor.setting("the option's value in quotes")?;
        options.push((key, value));
        if cursor.token(&Token::RParen) {
            return Ok(options);
        }
        if !cursor.token(&Token::Comma) {
            return Err(cursor.expected("a comma or ) after the option"));
        }
    }
}
