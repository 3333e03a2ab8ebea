//! A replay as it is asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use connectors::parquet::recorder;
use engine::Graph;
use engine::graph::Input;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::Problem;
use crate::auth::{Principal, Scope};
use crate::jobs::{Slot, Supervisor, plan};
use crate::places::real;
use crate::replay::{self, Manner, Origin};
use crate::state::AppState;
use crate::{cli, folder};

/// A replay to be: of a job's text or of another.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ReplayToBe)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// The id or the name of a job: its text, its options, and its recordings.
    job: Option<String>,
    /// A text; instead of `job`.
    sql: Option<String>,
    /// Options of tables that replace those of the text, by `table.key`.
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// Where tables are read from; of a job's tables, else from what it recorded.
    #[serde(default)]
    sources: BTreeMap<String, Source>,
    /// Leave out rows before this instant: arrival of recordings, event time of files.
    #[schema(example = "2024-01-02T14:30:00Z")]
    from: Option<String>,
    /// Leave out rows at and after this instant.
    to: Option<String>,
    /// `max` (default), `realtime`, or a multiple such as `10x`.
    #[schema(example = "max")]
    speed: Option<String>,
    /// Whether open windows close at the end; else they do unless a recording is read.
    end: Option<EndOf>,
}

/// Where the rows of a table come from.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ReplaySource)]
#[serde(deny_unknown_fields)]
struct Source {
    /// A recording or Parquet files of the server's machine: below a job's recordings, or, with
    /// the right `admin`, anywhere.
    #[schema(value_type = String)]
    path: PathBuf,
    /// As of the whole.
    from: Option<String>,
    /// As of the whole.
    to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ReplayEnd)]
#[serde(rename_all = "lowercase")]
enum EndOf {
    /// As a job that is stopped: nothing comes after the last row.
    Stop,
    /// As a bounded input: open windows close.
    Close,
}

/// What is to be replayed.
pub(super) struct Wish {
    pub(super) graph: Arc<Graph>,
    /// By table that is read.
    pub(super) origins: Vec<Origin>,
    pub(super) manner: Manner,
    /// The job whose text it is.
    pub(super) job: Option<String>,
}

impl Create {
    /// What it means, for who asks.
    pub(super) async fn read(
        self,
        state: &AppState,
        principal: &Principal,
    ) -> Result<Wish, Problem> {
        let whole = bounds(self.from.as_deref(), self.to.as_deref(), (None, None))?;
        let manner = Manner {
            speed: speed(self.speed.as_deref())?,
            close: self.end.map(|end| end == EndOf::Close),
        };
        let slot = self.job.as_deref().map(|job| state.jobs.get(job));
        let slot = slot.transpose()?;
        let graph = text(&self, slot.as_ref()).await?;
        let mut given = vec![];
        for (table, source) in self.sources {
            allow(state, principal, &source.path).await?;
            let (from, to) = bounds(source.from.as_deref(), source.to.as_deref(), whole)?;
            let path = source.path;
            given.push((table, Origin { path, from, to }));
        }
        let recorded = |input: &Input| {
            let path = recording(state, slot.as_deref(), input)?;
            let (from, to) = whole;
            Ok(Origin { path, from, to })
        };
        Ok(Wish {
            origins: replay::for_each_table(&graph, given, recorded)?,
            job: slot.as_ref().map(|slot| slot.name.clone()),
            graph,
            manner,
        })
    }
}

/// The graph of the text that is meant.
async fn text(create: &Create, slot: Option<&Arc<Slot>>) -> Result<Arc<Graph>, Problem> {
    let mut options = create.options.clone();
    let sql = match (slot, &create.sql) {
        (Some(slot), None) => {
            let mut of_job = slot.submission()?;
            of_job.options.append(&mut options);
            options = of_job.options;
            of_job.sql
        }
        (None, Some(sql)) => sql.clone(),
        _ => return Err(Problem::invalid("give either 'job' or 'sql'")),
    };
    Ok(plan(sql, options).await?.graph)
}

/// What a job recorded of a table.
fn recording(state: &AppState, slot: Option<&Slot>, input: &Input) -> engine::Result<PathBuf> {
    let table = &input.stream.name;
    let say = |why: &str| {
        engine::Error::invalid(format!(
            "{why}: say where its rows are: \"sources\": {{\"{table}\": {{\"path\": …}}}}"
        ))
    };
    let Some(slot) = slot else {
        return Err(say(&format!("the text also reads '{table}'")));
    };
    let Some(archive) = &input.archive else {
        let why = format!("table '{table}' has no 'archive', so nothing of it was recorded");
        return Err(say(&why));
    };
    let owner = folder::owner_in(&state.jobs.home(slot))?;
    let path = owner.map(|owner| recorder::of_job(Path::new(archive), table, &owner));
    match path.filter(|path| path.is_dir()) {
        Some(path) => Ok(path),
        None => Err(engine::Error::not_found(format!(
            "nothing of table '{table}' is recorded yet: a recording is there once its first file \
             is complete"
        ))),
    }
}

/// Refuses a path that is not below what a job records, but of an admin.
async fn allow(state: &AppState, principal: &Principal, path: &Path) -> Result<(), Problem> {
    if principal.scopes.hold(Scope::Admin) {
        return Ok(());
    }
    let (path, jobs) = (real(path), state.jobs.clone());
    let looking = tokio::task::spawn_blocking(move || archives(&jobs));
    let archives = looking.await.map_err(|error| {
        engine::Error::internal("the recordings cannot be found").caused_by(error)
    })?;
    if archives.iter().any(|archive| path.starts_with(archive)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "You may not",
        "the path is not below a recording of a job, and other paths need the right 'admin'",
    ))
}

/// The folders that jobs record in, one a table.
fn archives(jobs: &Supervisor) -> Vec<PathBuf> {
    let graphs = jobs.list().into_iter().filter_map(|slot| slot.graph());
    let of_graph = |graph: Arc<Graph>| -> Vec<PathBuf> {
        let inputs = graph.inputs.iter();
        let archives = inputs.filter_map(|input| {
            let archive = Path::new(input.archive.as_ref()?);
            Some(real(&recorder::folder(archive, &input.stream.name)))
        });
        archives.collect()
    };
    graphs.flat_map(of_graph).collect()
}

type Bounds = (Option<i64>, Option<i64>);

/// Instants in nanoseconds; those that are not given are those of the whole.
fn bounds(from: Option<&str>, to: Option<&str>, whole: Bounds) -> Result<Bounds, Problem> {
    let read = |name: &str, text: &str| {
        cli::instant(text).map_err(|hint| Problem::invalid(format!("{name} is '{text}': {hint}")))
    };
    let from = from.map(|text| read("from", text)).transpose()?.or(whole.0);
    let to = to.map(|text| read("to", text)).transpose()?.or(whole.1);
    match (from, to) {
        (Some(first), Some(end)) if first >= end => Err(Problem::invalid(
            "from is not before to: no row is between them",
        )),
        bounds => Ok(bounds),
    }
}

fn speed(text: Option<&str>) -> Result<engine::runtime::Speed, Problem> {
    let text = text.unwrap_or("max");
    cli::speed(text).map_err(|hint| Problem::invalid(format!("speed is '{text}': {hint}")))
}
