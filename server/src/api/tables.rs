//! `/tables`: what running jobs read and write.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use engine::graph::Graph;
use serde::Serialize;
use sql::catalog::{Column, Origin, sql_type};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{List, Page};
use super::{Params, Problem, Segment};
use crate::auth::{Principal, Scope};
use crate::jobs::view::{Figures, InputFigures, OutputFigures, masked, now};
use crate::jobs::{Running, Slot};
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

/// A table of a running job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Table {
    /// Its name.
    name: String,
    /// The name of the job whose table it is.
    job: String,
    /// `kafka`, `parquet`, …
    connector: String,
    /// Its columns, in order.
    columns: Vec<TableColumn>,
    /// The columns of the `key` option.
    key: Vec<String>,
    /// The column with the event time, where rows have a watermark.
    event_time: Option<String>,
    /// Where its input is recorded.
    archive: Option<String>,
    /// The connector's options, secrets starred.
    options: BTreeMap<String, String>,
    /// What is counted where it is read.
    input: Option<InputFigures>,
    /// What is counted where it is written.
    output: Option<OutputFigures>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct TableColumn {
    /// Its name.
    name: String,
    /// Its type in SQL.
    #[serde(rename = "type")]
    #[schema(example = "DOUBLE")]
    data_type: String,
    /// Whether it may be NULL.
    nullable: bool,
    /// `stored`, `metadata`, `computed` or `proctime`.
    origin: &'static str,
}

/// List tables
///
/// Those that running jobs read or write.
#[utoipa::path(
    get, path = "/tables", tag = "tables", params(Page),
    responses(
        (status = 200, description = "A page of them, by name and job", body = List<Table>),
        (status = 400, description = "A value is wrong", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(state): State<AppState>,
    Params(page): Params<Page>,
) -> Result<Json<List<Table>>, Problem> {
    principal.require(Scope::Read)?;
    let mut all: Vec<Table> = state
        .jobs
        .list()
        .iter()
        .flat_map(|slot| tables(slot))
        .collect();
    all.sort_by_cached_key(key);
    Ok(Json(page.of(all, key)?))
}

/// Sorts tables and stands for one in a cursor.
fn key(table: &Table) -> String {
    format!("{}\0{}", table.name, table.job)
}

/// Look at a table
#[utoipa::path(
    get, path = "/tables/{name}", tag = "tables",
    params(("name" = String, Path,
        description = "Its name, or `job.table` where several jobs have one of that name")),
    responses(
        (status = 200, description = "The table", body = Table),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "No running job has it", body = Problem),
        (status = 409, description = "Several jobs have it", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(state): State<AppState>,
    Segment(name): Segment<String>,
) -> Result<Json<Table>, Problem> {
    principal.require(Scope::Read)?;
    let all = state.jobs.list().into_iter().flat_map(|slot| tables(&slot));
    let means = |table: &Table| {
        table.name == name || name.split_once('.') == Some((&table.job, &table.name))
    };
    let mut found: Vec<Table> = all.filter(means).collect();
    if found.len() > 1 {
        let names: Vec<String> = found
            .iter()
            .map(|table| format!("'{}.{}'", table.job, table.name))
            .collect();
        let message = format!(
            "several jobs have a table '{name}': write {}",
            names.join(" or ")
        );
        return Err(Problem::conflict(message));
    }
    let none = || Problem::not_found(format!("no running job has a table '{name}'"));
    found.pop().map(Json).ok_or_else(none)
}

/// The tables of a job; none where it does not run.
fn tables(slot: &Slot) -> Vec<Table> {
    let Some(Running {
        observer,
        catalog,
        graph,
        ..
    }) = slot.running()
    else {
        return vec![];
    };
    let figures = Figures::of(&observer.status(), now());
    let named = |name: &String| {
        let input = figures
            .tables
            .iter()
            .find(|input| input.name == *name)
            .cloned();
        let output = figures
            .outputs
            .iter()
            .find(|output| output.name == *name)
            .cloned();
        (input, output)
    };
    let used = catalog
        .tables
        .iter()
        .map(|(name, table)| (table, named(name)));
    let used = used.filter(|(_, (input, output))| input.is_some() || output.is_some());
    used.map(|(table, (input, output))| Table {
        name: table.stream.name.clone(),
        job: slot.name.clone(),
        connector: table.stream.connector.clone(),
        columns: table
            .columns
            .iter()
            .map(|column| shown(column, table, &graph))
            .collect(),
        key: table.stream.key.clone(),
        event_time: table
            .watermark
            .as_ref()
            .map(|watermark| watermark.column.clone()),
        archive: table.archive.clone(),
        options: masked(table.stream.options.clone()),
        input,
        output,
    })
    .collect()
}

fn shown(column: &Column, table: &sql::catalog::Table, graph: &Graph) -> TableColumn {
    let name = column.field.name();
    // The type of a computed column is known once it is planned.
    let planned = graph
        .inputs
        .iter()
        .find(|input| input.stream.name == table.stream.name);
    let planned = planned.and_then(|input| input.schema.field_with_name(name).ok());
    let field = planned.unwrap_or(&column.field);
    TableColumn {
        name: name.clone(),
        data_type: sql_type(field.data_type()),
        nullable: field.is_nullable(),
        origin: match column.origin {
            Origin::Stored => "stored",
            Origin::Metadata => "metadata",
            Origin::Computed(_) => "computed",
            Origin::ProcTime => "proctime",
        },
    }
}
