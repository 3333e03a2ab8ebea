//! `millstream redrive`: gives dead rows back, to a job of a running server, or to one that `run` ran.

use std::fmt::Write;
use std::time::Duration;

use engine::runtime::status::State;
use serde_json::{Value, json};

use super::asked::asked;
use super::local::Local;
use crate::cli;
use crate::exit::Failure;
use crate::folder::Past;
use crate::jobs::view::rfc3339;
use crate::launch::{Grounded, Launch};
use crate::paused::Paused;
use crate::progress::EVERY;
use crate::redrive::{self, Summary, Wish};
use crate::supervise::supervise;
use crate::{bind, terminal};

pub(super) async fn redrive(arguments: &cli::Redrive) -> Result<(), Failure> {
    let answer = match arguments.whose.script() {
        None => of_server(arguments).await?,
        Some(script) => {
            let job = Local::read(&script, arguments.whose.data.as_ref())?;
            let summary = at_home(arguments, &job).await?;
            json!({
                "matched": summary.matched,
                "redriven": summary.redriven,
                "known": summary.known,
                "unreadable": summary.unreadable,
                "unplaced": summary.unplaced,
                "epoch": summary.epoch.map(|epoch| epoch.0),
            })
        }
    };
    if arguments.whose.json {
        return terminal::print(&format!("{answer}\n"));
    }
    terminal::print(&told(&answer))
}

async fn of_server(arguments: &cli::Redrive) -> Result<Value, Failure> {
    let mut wish = json!({"again": arguments.again});
    let until = arguments.until.map(rfc3339);
    let said = [
        ("table", &arguments.table),
        ("reason", &arguments.reason),
        ("where", &arguments.condition),
        ("until", &until),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            wish[name] = json!(value);
        }
    }
    let path = format!("/jobs/{}/redrive", arguments.whose.job);
    asked("POST", &arguments.whose.url, &path, Some(&wish)).await
}

fn told(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    let mut text = format!(
        "{} of {} dead rows came in again",
        count("redriven"),
        count("matched")
    );
    let left = [
        ("known", "had been given back before"),
        ("unreadable", "still cannot be read"),
        ("unplaced", "are of no known split"),
    ];
    for (name, why) in left {
        if count(name) > 0 {
            let _ = write!(text, "; {} {why}", count(name));
        }
    }
    text + "\n"
}

/// Starts the job for as long as it takes, with sources that have nothing new.
async fn at_home(arguments: &cli::Redrive, job: &Local) -> Result<Summary, Failure> {
    let graph = &job.plan.graph;
    bind::refuse_pushed(graph).map_err(|error| Failure::input(&error))?;
    let condition = arguments.condition.as_deref().map(redrive::condition);
    let condition = condition.transpose().map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::usage(&format!("--where: {}", errors.join("; ")))
    })?;
    let table = redrive::table(graph, arguments.table.as_deref());
    let table = table.map_err(|error| Failure::input(&error))?;
    let wish = Wish {
        reason: arguments.reason.clone(),
        condition,
        until: arguments.until,
        again: arguments.again,
    };
    let folder = job.open()?;
    let launch = Launch::prepare(&job.plan, &job.name, &folder, false).await;
    let mut launch = launch.map_err(|grounded| match grounded {
        Grounded::Folder(error) => job.failed(&error),
        Grounded::Ends(error) => Failure::input(&error),
    })?;
    if launch.past == Past::Finished {
        return Err(Failure::usage(&format!(
            "job '{}' has finished: all its inputs are at their end, and nothing enters it any more",
            job.name
        )));
    }
    let sources = std::mem::take(&mut launch.bindings.sources);
    launch.bindings.sources = sources.into_iter().map(Paused::source).collect();
    let mut running = launch.start(&folder);
    let (redriver, observer) = (running.redriver(), running.observer());
    let giving = async {
        // Only a job that has recovered knows what was given back before.
        while observer.status().state == State::Recovering {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let job = redrive::Job {
            graph,
            redriver: &redriver,
            committed: observer.status().committed,
            home: &job.data,
        };
        redrive::redrive(&job, table, &wish).await
    };
    let given = tokio::select! {
        given = giving => given,
        ended = supervise(&mut running, None, EVERY, |_| {}) => {
            ended?;
            return Err(Failure::failed(
                "the job was stopped before all rows had come in: the same command goes on",
            ));
        }
    };
    running.stop();
    supervise(&mut running, None, EVERY, |_| {}).await?;
    given.map_err(|error| job.failed(&error))
}
