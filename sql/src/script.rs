//! A script as a whole: what it declares, what it inserts, what it sets.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableFactor, Visit, Visitor,
};

use crate::catalog::{Catalog, Overrides, normalised, parse_duration};
use crate::error::{Error, Result};
use crate::statement::{self, Insert, Spanned, Statement, StatementKind};

/// A job's text, read.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Its tables and views.
    pub catalog: Catalog,
    /// What it computes, in order.
    pub inserts: Vec<Insert>,
    /// What it only asks to be explained.
    pub explained: Vec<Insert>,
    /// What it sets.
    pub settings: Settings,
}

/// The keys of `SET`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `commit.interval`: how often results become final.
    pub commit_interval: Option<Duration>,
    /// `pipeline.name`: the job's name.
    pub name: Option<String>,
    /// `snapshot.rows`: after how many rows the state is stored, so that a recovery runs no more
    /// of them again.
    pub snapshot_rows: Option<u64>,
    /// `state.ttl`: a key whose next row comes more than this after its last starts afresh.
    pub state_ttl: Option<Duration>,
}

/// The shortest interval between commits: a Kafka transaction takes about half of it.
const SHORTEST_COMMIT: Duration = Duration::from_millis(10);

/// The keys of `SET`, Flink's among them.
const KEYS: [&str; 8] = [
    "commit.interval",
    "checkpoint.interval",
    "execution.checkpointing.interval",
    "job.name",
    "pipeline.name",
    "snapshot.rows",
    "state.ttl",
    "table.exec.state.ttl",
];

impl Script {
    /// Reads a script; the errors are all that can be told without planning its queries.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self> {
        let (script, errors) = Self::read(text, overrides);
        if errors.is_empty() {
            Ok(script)
        } else {
            Err(errors)
        }
    }

    /// What can be read of a script, and what is wrong with the rest. What is wrong with a table
    /// or view is not told again of what reads it.
    #[must_use]
    pub fn read(text: &str, overrides: &Overrides) -> (Self, Vec<Error>) {
        let (statements, mut errors) = statement::read(text);
        let overrides = overrides.clone().folded(&table_names(&statements));
        let mut script = Self {
            catalog: Catalog::new(overrides),
            ..Self::default()
        };
        script.catalog.incomplete = !errors.is_empty();
        let mut views = view_names(&statements);
        for Statement { kind, span } in statements {
            let done = match kind {
                StatementKind::CreateTable(table) => script.catalog.declare(&table),
                StatementKind::CreateView { name, query } => {
                    let known = views_in_order(&query, &views);
                    views.remove(&normalised(&name));
                    if known.is_err() {
                        script.catalog.declare_broken(&name);
                    }
                    known.and_then(|()| script.catalog.declare_view(&name, query))
                }
                StatementKind::Insert(insert) => {
                    script.inserts.push(insert);
                    Ok(())
                }
                StatementKind::Explain(insert) => {
                    script.explained.push(insert);
                    Ok(())
                }
                StatementKind::Query(_) => {
                    let error = Error::invalid("a query on its own has no place to go", span);
                    let hint = "write INSERT INTO table SELECT …, or run `millstream query`";
                    Err(vec![error.hint(hint)])
                }
                StatementKind::Set { key, value } => script
                    .settings
                    .set(&key, &value)
                    .map_err(|error| vec![error]),
            };
            errors.extend(done.err().into_iter().flatten());
        }
        script.catalog.state_ttl = script.settings.state_ttl;
        if !script.catalog.incomplete {
            errors.extend(script.catalog.check_overrides().err().unwrap_or_default());
        }
        errors.sort_by_key(|error| error.span.start);
        (script, errors)
    }

    /// The names of all tables and views that a query or a view reads.
    #[must_use]
    pub fn read_names(&self) -> BTreeSet<String> {
        let inserts = self.inserts.iter().chain(&self.explained);
        let queries = inserts.map(|insert| &insert.query);
        queries
            .chain(self.catalog.views.values())
            .flat_map(|query| relations(query))
            .map(|name| normalised(&name))
            .collect()
    }

    /// The names of all tables that an INSERT writes.
    #[must_use]
    pub fn written_names(&self) -> BTreeSet<String> {
        let inserts = self.inserts.iter().chain(&self.explained);
        inserts.map(|insert| normalised(&insert.table)).collect()
    }
}

fn table_names(statements: &[Statement]) -> Vec<String> {
    let names = statements
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::CreateTable(table) => Some(normalised(&table.name)),
            _ => None,
        });
    names.collect()
}

fn view_names(statements: &[Statement]) -> BTreeSet<String> {
    let names = statements
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::CreateView { name, .. } => Some(normalised(name)),
            _ => None,
        });
    names.collect()
}

/// An error where a view reads itself or a view that is declared later: `coming` has both.
fn views_in_order(query: &Query, coming: &BTreeSet<String>) -> Result<()> {
    let early = relations(query)
        .into_iter()
        .filter(|name| coming.contains(&normalised(name)));
    let errors: Vec<Error> = early
        .map(|name| {
            let message = format!("view {} is not declared yet", name.value);
            Error::invalid(message, name.span).hint("declare views before they are read")
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// The tables and views that a query names, without the names of its WITH clauses.
pub(crate) fn relations(query: &Query) -> Vec<Ident> {
    let mut names = names(query);
    names.retain(|name| name.quote_style != Some('\''));
    names
}

/// The tables, views and files that a query names, without the names of its WITH clauses.
pub(crate) fn names(query: &Query) -> Vec<Ident> {
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    names
        .found
        .retain(|name| !names.ctes.contains(&normalised(name)));
    names.found
}

/// What FROM clauses name, and the names of all WITH clauses.
#[derive(Default)]
struct Names {
    found: Vec<Ident>,
    ctes: BTreeSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes
            .extend(tables.map(|table| normalised(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => {
                self.found
                    .extend(name.0.first().and_then(|part| part.as_ident()).cloned());
            }
            // TUMBLE and HOP: the relation is the first argument.
            TableFactor::Table {
                args: Some(arguments),
                ..
            } => {
                if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))) =
                    arguments.args.first()
                {
                    self.found.push(name.clone());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Settings {
    fn set(&mut self, key: &Spanned, value: &Spanned) -> Result<(), Error> {
        match key.text.as_str() {
            "commit.interval" | "checkpoint.interval" | "execution.checkpointing.interval" => {
                let interval = parse_duration(&value.text);
                let interval = interval.filter(|interval| *interval >= SHORTEST_COMMIT);
                let wrong = || {
                    let message = format!("'{}' is not an interval from 10 ms up", value.text);
                    Error::invalid(message, value.span).hint("write '5 s', or '20 ms'")
                };
                self.commit_interval = Some(interval.ok_or_else(wrong)?);
            }
            "snapshot.rows" => {
                let rows = value.text.parse().ok().filter(|rows| *rows > 0);
                let wrong = || {
                    let message = format!("'{}' is not a number of rows", value.text);
                    Error::invalid(message, value.span).hint("write 2000000, the default, or less")
                };
                self.snapshot_rows = Some(rows.ok_or_else(wrong)?);
            }
            "state.ttl" | "table.exec.state.ttl" => {
                let wrong = || {
                    let message = format!("'{}' is no time to live", value.text);
                    Error::invalid(message, value.span).hint("write '1 h'; '0 s' keeps all keys")
                };
                let ttl = parse_duration(&value.text).ok_or_else(wrong)?;
                self.state_ttl = Some(ttl).filter(|ttl| !ttl.is_zero());
            }
            "job.name" | "pipeline.name" => self.name = Some(value.text.clone()),
            other => return Err(Error::unknown("setting", other, key.span, KEYS)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "CREATE TABLE t (a INT) WITH ('connector' = 'memory'); \
                          CREATE TABLE s (a INT) WITH ('connector' = 'memory');";

    fn errors(text: &str) -> Vec<String> {
        let read = Script::parse(text, &Overrides::default());
        read.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_script() {
        let text = format!(
            "{TABLES} SET 'execution.checkpointing.interval' = '5 s'; SET pipeline.name = 'bars';
             SET 'state.ttl' = '1 h';
             CREATE VIEW v AS WITH w AS (SELECT a FROM t) SELECT a FROM w;
             CREATE VIEW u AS SELECT a FROM TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '1' MINUTE);
             INSERT INTO s SELECT a FROM u; EXPLAIN INSERT INTO s SELECT a FROM t;"
        );
        let script = Script::parse(&text, &Overrides::default()).unwrap();
        assert_eq!(
            script.catalog.names().collect::<Vec<_>>(),
            ["s", "t", "u", "v"]
        );
        assert_eq!((script.inserts.len(), script.explained.len()), (1, 1));
        assert_eq!(
            script.settings.commit_interval,
            Some(Duration::from_secs(5))
        );
        assert_eq!(script.settings.name.as_deref(), Some("bars"));
        assert_eq!(script.catalog.state_ttl, Some(Duration::from_hours(1)));
    }

    #[test]
    fn wrong_settings_and_queries() {
        let found = errors(
            "SET 'comit.interval' = '5 s'; SET commit.interval = 'often'; SELECT 1;\n\
             SET commit.interval = '5 ms'; SET snapshot.rows = 'few'; SET state.ttl = 'soon';",
        );
        let start = "line 1, column 5: no setting is called 'comit.interval'; did you mean";
        assert!(found[0].starts_with(start), "{found:?}");
        assert!(found[1].contains("'often' is not an interval"), "{found:?}");
        assert!(found[2].contains("a query on its own"), "{found:?}");
        assert!(found[3].starts_with("line 2, column 23"), "{found:?}");
        let rows = "'few' is not a number of rows";
        assert!(found[4].contains(rows), "{found:?}");
        assert!(found[5].contains("'soon' is no time to live"), "{found:?}");
    }

    #[test]
    fn overrides_name_tables_as_queries_do() {
        let tables = "CREATE TABLE Trades (a INT) WITH ('connector' = 'memory');
                      CREATE TABLE \"Quotes\" (a INT) WITH ('connector' = 'memory');";
        let given = |option: &str| Overrides::parse(&[option]).unwrap();
        let option = |name: &str, table: &str| {
            let script = Script::parse(tables, &given(&format!("{name}.rate=5")));
            script.map(|script| {
                script.catalog.tables[table]
                    .stream
                    .options
                    .get("rate")
                    .cloned()
            })
        };
        let five = Ok(Some("5".to_owned()));
        for name in ["trades", "TRADES", "Trades"] {
            assert_eq!(option(name, "trades"), five, "{name}");
        }
        assert_eq!(option("Quotes", "Quotes"), five);
        let unknown = option("quotes", "Quotes").unwrap_err();
        assert_eq!(unknown[0].option.as_deref(), Some("quotes.rate"));
    }

    #[test]
    fn views_cannot_be_circles() {
        let circle =
            format!("{TABLES} CREATE VIEW a AS SELECT * FROM b; CREATE VIEW b AS SELECT * FROM a;");
        assert!(errors(&circle)[0].contains("view b is not declared yet"));
        let own = "CREATE VIEW a AS SELECT * FROM a;";
        assert!(errors(own)[0].contains("view a is not declared yet"));
    }

    #[test]
    fn what_is_whole_stays() {
        let text = format!(
            "{TABLES} CREATE TABLE broken (a STRNG) WITH ('connector' = 'memory');
             INSERT INTO s SELECT a FROM broken; INSERT INTO s SELECT nothing FROM t;"
        );
        let (script, errors) = Script::read(&text, &Overrides::default());
        assert_eq!(errors.len(), 1, "{errors:?}");
        let inserts = &script.inserts[..1];
        assert!(crate::compile(&script.catalog, inserts).is_ok());
        let found = crate::compile(&script.catalog, &script.inserts[1..]).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .to_string()
                .contains("no column is called 'nothing'")
        );
    }
}
