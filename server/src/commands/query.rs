//! `millstream query`: one SELECT over files and over the late and dead rows of jobs.
//!
//! The footer of every Parquet file is checked against its checksum before the query begins, its
//! pages are not: a query reads some columns of some row groups, and hashing every byte of an
//! archive for them would take longer than the query. `millstream replay` reads every byte anyway
//! and does.

mod output;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use connectors::parquet;
use engine::ErrorKind;
use futures::StreamExt;
use sql::batch::Batch;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{self, Format};
use crate::exit::Failure;
use crate::progress::{EVERY, Progress};
use crate::script::render_query;
use crate::terminal;
use output::{Output, Writer};

/// What a query may hold in memory; beyond that it goes to the temporary folder.
const MEMORY: usize = 2 << 30;

pub(super) async fn query(arguments: &cli::Query) -> Result<(), Failure> {
    let wrong = |errors: Vec<sql::Error>| {
        // Damage is no mistake in the query, whenever it is met.
        let damaged = errors.iter().any(|error| error.kind == ErrorKind::Corrupt);
        let text = render_query(&arguments.text, errors);
        match damaged {
            true => Failure::damaged(text),
            false => Failure::script(text),
        }
    };
    let format = format(arguments)?;
    let mut batch = Batch::new(MEMORY, parquet::read::verify).map_err(wrong)?;
    add_tables(&mut batch, arguments.data.as_deref())?;
    let mut rows = batch.query(&arguments.text).await.map_err(wrong)?;
    let failed = |error: engine::Error| Failure::run(&error);
    let mut output = Output::open(arguments.output.as_deref()).map_err(failed)?;
    let told = output.told();
    let failed = |error| Failure::run(&told.error(error));
    let mut writer = Writer::new(format, output.bytes(), &rows.schema).map_err(failed)?;
    let mut progress = Progress::new(rows.scan.total());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let batch = tokio::select! {
            batch = rows.batches.next() => batch,
            _ = ticks.tick() => {
                progress.show_read(rows.scan.rows());
                continue;
            }
        };
        let Some(batch) = batch else { break };
        let batch = batch.map_err(|error| Failure::failed(&error.to_string()))?;
        if arguments.output.is_none() {
            terminal::clear_status();
        }
        writer.write(batch).map_err(failed)?;
        if told.is_closed() {
            return Ok(());
        }
    }
    terminal::clear_status();
    writer.finish(&rows.schema).map_err(failed)?;
    output.finish().map_err(|error| Failure::run(&error))
}

/// The format that was asked for, or that the output's name says.
fn format(arguments: &cli::Query) -> Result<Format, Failure> {
    let extension = arguments.output.as_ref().and_then(|path| path.extension());
    let named = match extension.and_then(|extension| extension.to_str()) {
        Some("json" | "jsonl" | "ndjson") => Some(Format::Json),
        Some("csv") => Some(Format::Csv),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    };
    if let (Some(format), Some(named), Some(path)) = (arguments.format, named, &arguments.output)
        && format != named
    {
        let message = format!(
            "'{}' is a name for another format than the one of --format: leave --format out, or \
             choose another name",
            path.display()
        );
        return Err(Failure::usage(&message));
    }
    let format = arguments.format.or(named).unwrap_or(Format::Table);
    if format == Format::Parquet && arguments.output.is_none() && io::stdout().is_terminal() {
        let message = "Parquet on a terminal helps nobody: name a file with --output";
        return Err(Failure::usage(message));
    }
    Ok(format)
}

/// Makes the tables of the data folder readable by name, or, without one, those of `./data`
/// whose name is there once.
fn add_tables(batch: &mut Batch, data: Option<&Path>) -> Result<(), Failure> {
    let folders = match data {
        Some(data) if data.is_dir() => vec![data.to_owned()],
        Some(data) => {
            let message = format!("there is no data folder '{}'", data.display());
            return Err(Failure::usage(&message));
        }
        None => subfolders(Path::new("data")),
    };
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for table in folders
        .iter()
        .flat_map(|folder| subfolders(&folder.join("tables")))
    {
        let name = table
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.entry(name).or_default().push(table);
    }
    for (name, mut folders) in found {
        let (Some(folder), true) = (folders.pop(), folders.is_empty()) else {
            continue;
        };
        batch.add_folder(&name, folder);
    }
    Ok(())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
