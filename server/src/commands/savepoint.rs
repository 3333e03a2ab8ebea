//! `millstream savepoint`: states that are kept by name, of a server's job or of one that `run` ran.

use serde_json::{Value, json};

use super::asked::asked;
use super::local::Local;
use crate::cli::{self, SavepointCommand, Whose};
use crate::exit::Failure;
use crate::jobs::check_name;
use crate::jobs::view::rfc3339;
use crate::{figures, savepoints, terminal};

pub(super) async fn savepoint(arguments: &cli::Savepoint) -> Result<(), Failure> {
    match &arguments.command {
        SavepointCommand::Create { whose, name } => create(whose, name).await,
        SavepointCommand::List { whose } => list(whose).await,
        SavepointCommand::Remove { whose, name } => remove(whose, name).await,
    }
}

async fn create(whose: &Whose, name: &str) -> Result<(), Failure> {
    let kept = match whose.script() {
        None => {
            let path = format!("/jobs/{}/savepoint", whose.job);
            asked("POST", &whose.url, &path, Some(&json!({"name": name}))).await?
        }
        Some(script) => {
            check_name(name).map_err(|error| Failure::input(&error))?;
            let job = Local::read(&script, whose.data.as_ref())?;
            // Nobody starts it meanwhile.
            let _open = job.open()?;
            let graph = &job.plan.graph;
            let keeping = async {
                let state = savepoints::at_rest(&job.data, graph).await?;
                savepoints::keep(&job.data, graph, name, state).await
            };
            let kept = keeping.await.map_err(|error| job.failed(&error))?;
            json!({"name": kept.name, "epoch": kept.epoch.0, "bytes": kept.bytes})
        }
    };
    if whose.json {
        return terminal::print(&format!("{kept}\n"));
    }
    terminal::print(&format!(
        "savepoint '{name}' of epoch {} is kept ({})\n",
        kept["epoch"],
        size(&kept)
    ))
}

async fn list(whose: &Whose) -> Result<(), Failure> {
    let listed = match whose.script() {
        None => {
            let path = format!("/jobs/{}/savepoints", whose.job);
            asked("GET", &whose.url, &path, None).await?
        }
        Some(script) => {
            let job = Local::read(&script, whose.data.as_ref())?;
            let listed = savepoints::list(&job.data).await;
            let listed = listed.map_err(|error| job.failed(&error))?;
            let items = listed.iter().map(|kept| {
                let at = rfc3339(kept.stored_at);
                json!({"name": kept.name, "bytes": kept.bytes, "stored_at": at})
            });
            json!({"items": items.collect::<Vec<_>>()})
        }
    };
    if whose.json {
        return terminal::print(&format!("{listed}\n"));
    }
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    let line = |kept: &Value| {
        let text = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
        format!("{}  {}  {}\n", text("name"), size(kept), text("stored_at"))
    };
    terminal::print(&items.iter().map(line).collect::<String>())
}

async fn remove(whose: &Whose, name: &str) -> Result<(), Failure> {
    match whose.script() {
        None => {
            let path = format!("/jobs/{}/savepoints/{name}", whose.job);
            asked("DELETE", &whose.url, &path, None).await?;
        }
        Some(script) => {
            let job = Local::read(&script, whose.data.as_ref())?;
            let _open = job.open()?;
            let removed = async { savepoints::of(&job.data)?.remove(name).await }.await;
            removed.map_err(|error| job.failed(&error))?;
        }
    }
    terminal::print(&format!("savepoint '{name}' is removed\n"))
}

fn size(kept: &Value) -> String {
    let bytes = kept["bytes"].as_u64().unwrap_or_default();
    format!("{} bytes", figures::count(bytes))
}
