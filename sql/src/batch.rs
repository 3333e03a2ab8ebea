//! Plain SQL over files: DataFusion executes, with the functions that streams have.
//!
//! `FROM 'bars.parquet'` reads a file, a folder or a glob; system tables are folders of Parquet
//! given by name.

mod closed;
mod explain;
mod files;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::options::{
    CsvReadOptions, JsonReadOptions, ParquetReadOptions, ReadOptions,
};
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{
    FunctionArg, FunctionArgExpr, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::check;
use crate::error::{Error, Result};
use crate::functions;
use crate::script;
use crate::session;
use crate::statement::{self, StatementKind};

pub use closed::tables;
use explain::explain;
pub use explain::is_exhausted;
use turns::taking_turns;

/// A place for batch queries: files by path, and tables by name.
pub struct Batch {
    context: SessionContext,
    folders: BTreeMap<String, PathBuf>,
    known: Vec<String>,
    /// Whether files are out of reach.
    closed: bool,
    verify: Verify,
}

/// What is asked of every Parquet file before a query reads it.
pub type Verify = fn(&Path) -> engine::Result<()>;

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// The rows of a query, as they are computed.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows; an error ends them.
    pub batches: BoxStream<'static, Result<RecordBatch, Error>>,
    /// How far the query has come.
    pub scan: Scan,
}

/// What a query reads.
#[derive(Debug, Clone)]
pub struct Scan(Arc<dyn ExecutionPlan>);

impl Scan {
    /// The rows that were read so far from all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let read = |leaf: &dyn ExecutionPlan| leaf.metrics()?.output_rows();
        leaves(self.0.as_ref())
            .into_iter()
            .map(|leaf| read(leaf).unwrap_or_default() as u64)
            .sum()
    }

    /// About how many rows there are to be read, where all files tell how many they have. It may be
    /// more than are read: a filter leaves out row groups, a `LIMIT` what follows.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let rows = |leaf: &dyn ExecutionPlan| {
            let known = StatisticsContext::new().compute(leaf, &StatisticsArgs::new());
            known.ok()?.num_rows.get_value().map(|rows| *rows as u64)
        };
        leaves(self.0.as_ref()).into_iter().map(rows).sum()
    }
}

/// The steps that read.
fn leaves(plan: &dyn ExecutionPlan) -> Vec<&dyn ExecutionPlan> {
    let inputs = plan.children();
    if inputs.is_empty() {
        return vec![plan];
    }
    inputs
        .into_iter()
        .flat_map(|input| leaves(input.as_ref()))
        .collect()
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// A place whose queries hold at most `memory_bytes`; sorts and groups beyond that are
    /// spilled to the temporary folder or fail. An error of `verify` is one of the query, with its
    /// kind.
    pub fn new(memory_bytes: usize, verify: Verify) -> Result<Self> {
        Self::build(
            RuntimeEnvBuilder::new().with_memory_limit(memory_bytes, 1.0),
            false,
            verify,
        )
    }

    fn build(runtime: RuntimeEnvBuilder, closed: bool, verify: Verify) -> Result<Self> {
        let runtime = runtime.build_arc();
        let mut config = session::config();
        let execution = &mut config.options_mut().execution;
        execution.listing_table_ignore_subdirectory = false;
        execution.parquet.schema_force_view_types = false;
        let internal = |error| vec![explain(&error, Span::empty())];
        let context = SessionContext::new_with_config_rt(config, runtime.map_err(internal)?);
        functions::register(&context).map_err(internal)?;
        Ok(Self {
            context,
            folders: BTreeMap::new(),
            known: vec![],
            closed,
            verify,
        })
    }

    /// Makes a folder of Parquet readable by name, as `trades$late`. It may be empty or missing
    /// until a query names it.
    pub fn add_folder(&mut self, name: &str, folder: PathBuf) {
        self.folders.insert(name.to_owned(), folder);
        self.known.push(name.to_owned());
    }

    /// Makes rows readable by name.
    pub fn add_rows(
        &mut self,
        name: &str,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
    ) -> Result<()> {
        let table = MemTable::try_new(schema, vec![rows]);
        let table = table.and_then(|table| {
            self.context
                .register_table(TableReference::bare(name), Arc::new(table))
        });
        table.map_err(|error| vec![explain(&error, Span::empty())])?;
        self.known.push(name.to_owned());
        Ok(())
    }

    /// Runs one query.
    pub async fn query(&self, text: &str) -> Result<Rows> {
        let (mut query, span) = parse(text)?;
        self.register(&query, text).await?;
        let _ = query.visit(&mut Visible);
        let state = self.context.state();
        let failed = |error: DataFusionError| {
            let error = explain(&error, span);
            let function = check::unknown_function(&error.message, error.span, &state);
            vec![function.unwrap_or(error)]
        };
        let statement = PlannedStatement::Statement(Box::new(ast::Statement::Query(query)));
        let plan = self
            .context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(failed)?;
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(failed)?;
        let frame = self
            .context
            .execute_logical_plan(plan)
            .await
            .map_err(failed)?;
        let tasks = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await;
        let plan = plan.and_then(taking_turns).map_err(failed)?;
        let stream = execute_stream(Arc::clone(&plan), tasks).map_err(failed)?;
        let schema = stream.schema();
        let batches = stream.map(move |batch| batch.map_err(|error| explain(&error, span)));
        Ok(Rows {
            schema,
            batches: batches.boxed(),
            scan: Scan(plan),
        })
    }

    /// Makes the files and folders that a query names readable.
    async fn register(&self, query: &ast::Query, text: &str) -> Result<()> {
        let mut errors = vec![];
        for ident in script::names(query) {
            let quoted = ident.quote_style == Some('\'');
            let name = if quoted {
                ident.value.clone()
            } else {
                crate::catalog::normalised(&ident)
            };
            let path = if quoted {
                Some(PathBuf::from(&name))
            } else {
                self.folders.get(&name).cloned()
            };
            let done = match path {
                Some(_) if quoted && self.closed => Err(self.no_files(ident.span)),
                Some(path) => self.register_path(&name, &path).await,
                None if self.known.contains(&name) => Ok(()),
                None => {
                    let known = self.known.iter().map(String::as_str);
                    let error = Error::unknown("table", &name, ident.span, known);
                    let hint = error.hint.is_none() && !self.closed;
                    Err(if hint {
                        error.hint("write a file: FROM 'bars.parquet'")
                    } else {
                        error
                    })
                }
            };
            let place = if ident.span == Span::empty() {
                statement::place_of(text, &ident.value)
            } else {
                ident.span
            };
            errors.extend(done.err().map(|error| Error {
                span: place,
                ..error
            }));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    async fn register_path(&self, name: &str, path: &Path) -> Result<(), Error> {
        let reference = TableReference::bare(name);
        let failed = |error: DataFusionError| explain(&error, Span::empty());
        if self
            .context
            .table_exist(reference.clone())
            .map_err(failed)?
        {
            return Ok(());
        }
        let found = files::find(name, path)?;
        if found.extension == "parquet" {
            for file in &found.all {
                (self.verify)(file).map_err(|error| Error {
                    kind: error.kind(),
                    ..Error::invalid(error.chain(), Span::empty())
                })?;
            }
        }
        let (config, tables) = (
            self.context.copied_config(),
            self.context.copied_table_options(),
        );
        let options = match found.extension.as_str() {
            "parquet" => ParquetReadOptions::default().to_listing_options(&config, tables),
            "csv" => CsvReadOptions::default().to_listing_options(&config, tables),
            other => JsonReadOptions::default()
                .file_extension(other)
                .to_listing_options(&config, tables),
        };
        let mut urls = vec![];
        for path in &found.paths {
            let folder = if path.is_dir() { "/" } else { "" };
            let url = format!("{}{folder}", path.to_string_lossy().trim_end_matches('/'));
            urls.push(ListingTableUrl::parse(url).map_err(failed)?);
        }
        let state = self.context.state();
        let mut schemas = vec![];
        for url in &urls {
            let schema = options.infer_schema(&state, url).await.map_err(failed)?;
            schemas.push(Schema::clone(&schema).with_metadata(HashMap::new()));
        }
        let schema = Schema::try_merge(schemas).map_err(|error| failed(error.into()))?;
        // Folders named `key=value` are columns, unless the files hold columns of that name.
        let held = |key: &String| schema.field_with_name(key).is_ok();
        let options = if found.keys.iter().any(held) {
            options
        } else {
            let columns = found.keys.into_iter().map(|key| (key, DataType::Utf8));
            options.with_table_partition_cols(columns.collect())
        };
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(Arc::new(schema));
        let table = ListingTable::try_new(config).map_err(failed)?;
        let registered = self.context.register_table(reference, Arc::new(table));
        registered.map(drop).map_err(failed)
    }
}

/// The one query of a text, and where it stands.
fn parse(text: &str) -> Result<(Box<ast::Query>, Span)> {
    let mut statements = statement::parse(text).map_err(|errors| {
        // Their remedies are for scripts.
        let first = errors.first().filter(|_| statement::is_no_query(text));
        match first.cloned() {
            Some(error) => vec![error.hint("write SELECT …: a query only reads")],
            None => errors,
        }
    })?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
        let error = Error::invalid("the text is not one query", Span::empty());
        return Err(vec![error.hint("write one SELECT")]);
    };
    let span = statement.span;
    let StatementKind::Query(query) = statement.kind else {
        let error = Error::invalid("this is not a query", span);
        return Err(vec![
            error.hint("write SELECT …; scripts are for `millstream run`"),
        ]);
    };
    Ok((query, span))
}

/// Writes `TUMBLE(t, …)` as `TUMBLE((SELECT * FROM t), …)`: DataFusion looks tables up by the
/// FROM clauses that it sees before it plans.
struct Visible;

impl VisitorMut for Visible {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            args: Some(arguments),
            ..
        } = factor
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) =
                arguments.args.first_mut()
            && let ast::Expr::Identifier(name) = first
            && let Some(whole) = statement::whole(name)
        {
            *first = ast::Expr::Subquery(whole);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
