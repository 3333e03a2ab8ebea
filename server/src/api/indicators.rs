//! `/indicators`: the catalogue.

use axum::Json;
use connectors::options::nearest;
use engine::indicator::{Entry, catalog, find};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{List, Page};
use super::{Params, Problem, Segment};
use crate::auth::{Principal, Scope};
use crate::state::AppState;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

/// An indicator.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Indicator {
    /// Its name in the catalogue; `ta_` before it always works in SQL.
    name: &'static str,
    /// What SQL calls it.
    function: String,
    /// A call with the defaults.
    #[schema(example = "rsi(close, 14)")]
    call: String,
    /// `overlap`, `momentum`, `volatility`, `volume` or `statistic`.
    group: String,
    /// What it says.
    description: &'static str,
    /// Its name in TA-Lib, where that has it.
    talib: Option<&'static str>,
    /// Its arguments, in order.
    inputs: Vec<&'static str>,
    /// The literals after them; trailing ones may be left out.
    parameters: Vec<Parameter>,
    /// One output is a DOUBLE, several are a STRUCT of DOUBLE.
    outputs: Vec<&'static str>,
    /// Rows that give NULL before the first value, with the defaults.
    warm_up: Option<usize>,
}

/// A literal that shapes an indicator.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Parameter {
    /// Its name.
    name: &'static str,
    /// Whether it must be a whole number.
    integer: bool,
    /// Its value where the call leaves it out.
    default: f64,
    /// The least.
    min: f64,
    /// The greatest.
    max: f64,
}

impl From<&'static Entry> for Indicator {
    fn from(entry: &'static Entry) -> Self {
        let parameter = |parameter: &engine::indicator::Parameter| Parameter {
            name: parameter.name,
            integer: parameter.integer,
            default: parameter.default,
            min: parameter.min,
            max: parameter.max,
        };
        Self {
            name: entry.name,
            function: entry.function(),
            call: entry.call(),
            group: entry.group.to_string(),
            description: entry.description,
            talib: entry.talib,
            inputs: entry.inputs.to_vec(),
            parameters: entry.parameters.iter().map(parameter).collect(),
            outputs: entry.outputs.to_vec(),
            warm_up: entry.lookback(&[]).ok(),
        }
    }
}

/// List the indicators
#[utoipa::path(
    get, path = "/indicators", tag = "indicators", params(Page),
    responses(
        (status = 200, description = "A page of them, by name", body = List<Indicator>),
        (status = 400, description = "A value is wrong", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    Params(page): Params<Page>,
) -> Result<Json<List<Indicator>>, Problem> {
    principal.require(Scope::Read)?;
    let mut entries = catalog().to_vec();
    entries.sort_by_key(|entry| entry.name);
    let entries = page.of(entries, |entry| entry.name.to_owned())?;
    Ok(Json(entries.map(Indicator::from)))
}

/// Look at an indicator
#[utoipa::path(
    get, path = "/indicators/{name}", tag = "indicators",
    params(("name" = String, Path, description = "Its name in the catalogue")),
    responses(
        (status = 200, description = "The indicator", body = Indicator),
        (status = 400, description = "The path is wrong", body = Problem),
        (status = 404, description = "There is none", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    Segment(name): Segment<String>,
) -> Result<Json<Indicator>, Problem> {
    principal.require(Scope::Read)?;
    let lower = name.to_lowercase();
    let plain = lower.strip_prefix("ta_").unwrap_or(&lower);
    let entry = find(&lower).or_else(|| find(plain)).ok_or_else(|| {
        let near = nearest(&name, catalog().iter().map(|entry| entry.name));
        let hint = near
            .map(|near| format!("; did you mean '{near}'?"))
            .unwrap_or_default();
        Problem::not_found(format!("no indicator is called '{name}'{hint}"))
    })?;
    Ok(Json(entry.into()))
}
