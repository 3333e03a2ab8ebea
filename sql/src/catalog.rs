//! The tables and views that a script declares.

mod data_type;
mod duration;
mod options;
mod overrides;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Span;
use engine::graph::Timing;
use engine::stream::{ARRIVED_AT, LATE, MetadataColumn, SPLIT};
use engine::time::TIMESTAMP;
use engine::{Emit, StreamSpec};

use crate::error::{Error, Result};
use crate::statement::{ColumnDefinition, ColumnKind, CreateTable, WatermarkDefinition};

pub use data_type::sql as sql_type;
pub use duration::parse as parse_duration;
pub use overrides::Overrides;

/// Tables and views by normalised name (lower case unless quoted).
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// `CREATE TABLE`.
    pub tables: BTreeMap<String, Table>,
    /// `CREATE VIEW`.
    pub views: BTreeMap<String, Box<ast::Query>>,
    /// Options that replace those of the DDL.
    pub overrides: Overrides,
    /// Views that are declared, but wrongly: their columns are not known.
    pub broken: BTreeSet<String>,
    /// Whether a statement could not be read, which may have declared any name.
    pub incomplete: bool,
    /// `state.ttl` of the job.
    pub state_ttl: Option<Duration>,
}

/// A table as declared, its options read.
#[derive(Debug, Clone)]
pub struct Table {
    /// What the connector is told.
    pub stream: StreamSpec,
    /// Every column, in the order of the DDL.
    pub columns: Vec<Column>,
    /// `WATERMARK FOR`.
    pub watermark: Option<Watermark>,
    /// The `watermark.*` options.
    pub timing: Timing,
    /// The `archive` option.
    pub archive: Option<String>,
    /// The `emit` option: when the live stream of a table that is written shows its rows.
    pub emit: Emit,
    /// Where the table and its options are declared.
    pub places: Places,
    /// Whether its columns are well: if not, their names are known, and not all of their types.
    pub sound: bool,
}

/// Where a table's name and its options stand in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The name.
    pub name: Span,
    /// Every option's key; `connector` stands for its value.
    pub options: BTreeMap<String, Span>,
    /// The keys that were given beside the text, whatever stands in it.
    pub given: BTreeSet<String>,
}

/// A column and where it comes from.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name, type and nullability. The type of a computed column is known once it is planned;
    /// until then it is `DataType::Null`.
    pub field: FieldRef,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a column comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Decoded or encoded by the format.
    Stored,
    /// From the message's envelope; only read.
    Metadata,
    /// From other columns of the row; only read.
    Computed(Box<ast::Expr>),
    /// The arrival time; only read.
    ProcTime,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The event-time column.
    pub column: String,
    /// How long rows may come out of order.
    pub delay: Duration,
}

impl Table {
    /// All columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .map(|column| FieldRef::clone(&column.field));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// What is wrong with an option: at its place, in the text or beside it, or at the connector
    /// where it is missing. The message may end with a remedy.
    #[must_use]
    pub fn error_at(&self, option: &str, message: impl Into<String>) -> Error {
        let (message, hint) = remedied(&message.into());
        let Places {
            name,
            options,
            given,
        } = &self.places;
        let is_there = |key: &&str| options.contains_key(*key) || given.contains(*key);
        let place = [option, "connector"].into_iter().find(is_there);
        let span = place.and_then(|key| options.get(key)).unwrap_or(name);
        let error = Error {
            hint,
            ..Error::invalid(message, *span)
        };
        match place.filter(|key| given.contains(*key)) {
            Some(key) => error.of_option(format!("{}.{key}", self.stream.name)),
            None => error,
        }
    }

    /// The option, given for this table, that a message names first in quotes.
    #[must_use]
    pub fn option_in(&self, message: &str) -> Option<&str> {
        let keys = self.places.options.keys().chain(&self.places.given);
        let keys = keys.filter(|key| *key != "connector");
        let named = keys.filter_map(|key| Some((message.find(&format!("'{key}'"))?, key)));
        named.min_by_key(|(at, _)| *at).map(|(_, key)| key.as_str())
    }

    /// What a connector says about this table as a whole, at the option that it names first in
    /// quotes, or at the table's name. The connector comes last, because every message names it.
    #[must_use]
    pub fn place(&self, error: &engine::Error) -> Error {
        let (message, hint) = remedied(&error.chain());
        let Places {
            name,
            options,
            given,
        } = &self.places;
        let by_connector = message.contains(&format!("'{}'", self.stream.connector));
        let connector = by_connector.then_some("connector");
        let key = self.option_in(&message).or(connector);
        let span = key.and_then(|key| options.get(key)).unwrap_or(name);
        let placed = Error {
            kind: error.kind(),
            hint,
            ..Error::invalid(message, *span)
        };
        match key.filter(|key| given.contains(*key)) {
            Some(key) => placed.of_option(format!("{}.{key}", self.stream.name)),
            None => placed,
        }
    }
}

/// A message, and the remedy it ends with.
fn remedied(text: &str) -> (String, Option<String>) {
    let remedies = ["; did you mean ", "; write ", "; it has "];
    match remedies.iter().find_map(|remedy| text.rfind(remedy)) {
        Some(at) => (text[..at].to_owned(), Some(text[at + 2..].to_owned())),
        None => (text.to_owned(), None),
    }
}

/// The name that an identifier stands for: in lower case unless it is quoted.
#[must_use]
pub fn normalised(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The table that a name beside the text stands for: the one that is called exactly so, else the
/// one in lower case, as an identifier without quotes in the text.
#[must_use]
pub fn named<'a>(name: &str, tables: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let mut folded = None;
    for table in tables {
        if table == name {
            return Some(table);
        }
        if table == lower {
            folded = Some(table);
        }
    }
    folded
}

impl Catalog {
    /// An empty catalog whose tables will have these options in place of their own.
    #[must_use]
    pub fn new(overrides: Overrides) -> Self {
        Self {
            overrides,
            ..Self::default()
        }
    }

    /// Declares a table. Where something is wrong with it it is declared all the same, so that
    /// the queries over it can be checked.
    pub fn declare(&mut self, table: &CreateTable) -> Result<()> {
        let name = normalised(&table.name);
        if table.if_not_exists && self.tables.contains_key(&name) {
            return Ok(());
        }
        self.vacant(&name, table.name.span)?;
        let (columns, mut errors) = columns(&table.columns);
        let sound = errors.is_empty();
        let watermark = table.watermark.as_ref().and_then(|definition| {
            watermark(definition, &columns)
                .map_err(|error| errors.push(error))
                .ok()
        });
        let options = options::read(table, &name, &columns, &self.overrides, &mut errors);
        let places = Places {
            name: table.name.span,
            options: options.places,
            given: options.given,
        };
        let stream = StreamSpec {
            name: name.clone(),
            connector: options.connector,
            options: options.own,
            schema: stored(&columns),
            metadata: metadata(&table.columns, &columns),
            key: options.key,
        };
        let (timing, archive) = (options.timing, options.archive);
        let emit = options.emit.unwrap_or(Emit::Now);
        self.tables.insert(
            name,
            Table {
                stream,
                columns,
                watermark,
                timing,
                archive,
                emit,
                places,
                sound,
            },
        );
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Declares a view.
    pub fn declare_view(&mut self, name: &ast::Ident, query: Box<ast::Query>) -> Result<()> {
        let normal = normalised(name);
        self.vacant(&normal, name.span)?;
        self.views.insert(normal, query);
        Ok(())
    }

    /// Keeps the name of a view that cannot be declared.
    pub fn declare_broken(&mut self, name: &ast::Ident) {
        self.broken.insert(normalised(name));
    }

    /// Every table and view.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables
            .keys()
            .chain(self.views.keys())
            .chain(&self.broken)
            .map(String::as_str)
    }

    /// An error for every override of a table that there is not.
    pub fn check_overrides(&self) -> Result<()> {
        let tables = || self.tables.keys().map(String::as_str);
        let unknown = self
            .overrides
            .names()
            .filter(|(table, _)| !self.tables.contains_key(*table));
        let errors: Vec<Error> = unknown
            .map(|(table, option)| {
                Error::unknown("table", table, Span::empty(), tables()).of_option(option)
            })
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn vacant(&self, name: &str, span: Span) -> Result<()> {
        let error = if self.names().any(|known| known == name) {
            Error::invalid(format!("{name} is declared twice"), span).hint("give it another name")
        } else if name.contains('$') {
            let message = format!("the name {name} has a $, which marks system tables");
            Error::invalid(message, span).hint("give it another name")
        } else {
            return Ok(());
        };
        Err(vec![error])
    }
}

/// The columns, and what is wrong with them: where it is the type, that is `DataType::Null`.
fn columns(definitions: &[ColumnDefinition]) -> (Vec<Column>, Vec<Error>) {
    let (mut columns, mut errors) = (Vec::<Column>::new(), vec![]);
    for ColumnDefinition { name: ident, kind } in definitions {
        let name = normalised(ident);
        if columns.iter().any(|column| *column.field.name() == name) {
            let message = format!("column {name} is declared twice");
            errors.push(Error::invalid(message, ident.span).hint("give it another name"));
            continue;
        }
        if [ARRIVED_AT, SPLIT, LATE].contains(&name.as_str()) {
            let message = format!("{name} is the name of a system column");
            errors.push(Error::invalid(message, ident.span).hint("give it another name"));
        }
        let (data_type, nullable, origin) = match kind {
            ColumnKind::Stored {
                data_type,
                not_null,
            } => (
                data_type::arrow(data_type, ident.span),
                !not_null,
                Origin::Stored,
            ),
            ColumnKind::Metadata { data_type, key } => {
                let known = METADATA.iter().any(|known| *known == key.text);
                let error = Error::unknown("metadata", &key.text, key.span, METADATA);
                errors.extend((!known).then_some(error));
                (
                    data_type::arrow(data_type, ident.span),
                    true,
                    Origin::Metadata,
                )
            }
            ColumnKind::Computed(expression) => (
                Ok(DataType::Null),
                true,
                Origin::Computed(Box::new(expression.clone())),
            ),
            ColumnKind::ProcTime => (Ok(TIMESTAMP), false, Origin::ProcTime),
        };
        let data_type = data_type.unwrap_or_else(|error| {
            errors.push(error);
            DataType::Null
        });
        let field = Arc::new(Field::new(name, data_type, nullable));
        columns.push(Column { field, origin });
    }
    (columns, errors)
}

/// What `METADATA FROM` can name.
const METADATA: [&str; 5] = ["partition", "offset", "timestamp", "key", "headers"];

fn stored(columns: &[Column]) -> SchemaRef {
    let stored = columns
        .iter()
        .filter(|column| matches!(column.origin, Origin::Stored));
    let fields = stored.map(|column| FieldRef::clone(&column.field));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn metadata(definitions: &[ColumnDefinition], columns: &[Column]) -> Vec<MetadataColumn> {
    let both = definitions.iter().zip(columns);
    let metadata = both.filter_map(|(definition, column)| match &definition.kind {
        ColumnKind::Metadata { key, .. } => Some(MetadataColumn {
            field: Arc::clone(&column.field),
            key: key.text.clone(),
        }),
        _ => None,
    });
    metadata.collect()
}

fn watermark(definition: &WatermarkDefinition, columns: &[Column]) -> Result<Watermark, Error> {
    let WatermarkDefinition {
        column: ident,
        expression,
    } = definition;
    let name = normalised(ident);
    let known = || columns.iter().map(|column| column.field.name().as_str());
    let Some(column) = columns.iter().find(|column| *column.field.name() == name) else {
        return Err(Error::unknown("column", &name, ident.span, known()));
    };
    let type_name = column.field.data_type();
    match column.origin {
        Origin::ProcTime => {
            let error = Error::invalid("PROCTIME() needs no watermark", ident.span);
            return Err(error.hint("leave WATERMARK FOR out: rows are in order of arrival"));
        }
        Origin::Computed(_) => {}
        // An unknown type is an error of its own.
        Origin::Stored | Origin::Metadata
            if *type_name == TIMESTAMP || *type_name == DataType::Null => {}
        Origin::Stored | Origin::Metadata => {
            let message = format!("the event time {name} is not a TIMESTAMP");
            let hint = format!(
                "declare it so, or compute one: event_time AS CAST({name} AS TIMESTAMP), \
                 WATERMARK FOR event_time AS event_time"
            );
            return Err(Error::invalid(message, ident.span).hint(hint));
        }
    }
    let delay = delay(expression, &name).ok_or_else(|| {
        let message = format!("the watermark is neither {name} nor {name} minus an interval");
        let hint = format!("write {name} - INTERVAL '2' SECOND");
        Error::invalid(message, ident.span).hint(hint)
    })?;
    Ok(Watermark {
        column: name,
        delay,
    })
}

/// The delay in `column` or `column - INTERVAL …`.
fn delay(expression: &ast::Expr, column: &str) -> Option<Duration> {
    match expression {
        ast::Expr::Identifier(ident) => (normalised(ident) == column).then_some(Duration::ZERO),
        ast::Expr::Nested(inner) => delay(inner, column),
        ast::Expr::BinaryOp {
            left,
            op: ast::BinaryOperator::Minus,
            right,
        } => delay(left, column)?.checked_add(duration::interval(right)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
