//! `millstream log`: what a job's log holds, and whether a start could go on from it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::Path;
use std::sync::Arc;

use engine::log::Log;
use engine::log::inspect::{Fault, Inspection, RecordView, SnapshotView};
use engine::source::{END, Position};
use engine::{Error, Timestamp};
use object_store::local::LocalFileSystem;

use crate::cli::{self, LogCommand};
use crate::exit::Failure;
use crate::terminal;

pub(super) async fn log(arguments: &cli::Log) -> Result<(), Failure> {
    match &arguments.command {
        LogCommand::Show(of) => {
            let found = inspect(&of.folder).await?;
            let text = if of.json {
                json(&found)?
            } else {
                shown(&found)
            };
            terminal::print(&text)
        }
        LogCommand::Verify(of) => {
            let found = inspect(&of.folder).await?;
            let text = if of.json {
                json(&found)?
            } else {
                judged(&found)
            };
            terminal::print(&text)?;
            if found.is_sound() {
                Ok(())
            } else {
                Err(Failure::negative())
            }
        }
    }
}

/// Reads the log of a data folder, or one that is named itself.
async fn inspect(folder: &Path) -> Result<Inspection, Failure> {
    let inside = folder.join("log");
    let log = if inside.is_dir() {
        inside.as_path()
    } else {
        folder
    };
    let is_log = log.join("plan.txt").is_file() || log.join("shard-0").is_dir();
    if !is_log {
        return Err(Failure::usage(&format!(
            "'{}' holds no log: name a job's data folder, as in `millstream log show data/vwap`",
            folder.display()
        )));
    }
    let store = LocalFileSystem::new_with_prefix(log);
    let store = store.map_err(|error| Failure::run(&Error::from(error)))?;
    let log = Log::new(Arc::new(store), "".into(), 0);
    log.inspect().await.map_err(|error| Failure::run(&error))
}

fn json(found: &Inspection) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(found);
    let unfit = |error| Error::internal("the log cannot be told as JSON").caused_by(error);
    Ok(text.map_err(|error| Failure::run(&unfit(error)))? + "\n")
}

fn shown(found: &Inspection) -> String {
    let mut text = String::new();
    if let Some(plan) = &found.plan {
        line(&mut text, &format!("reads    {}", plan.tables.join(", ")));
        line(&mut text, &format!("writes   {}", plan.targets.join(", ")));
    }
    line(&mut text, &format!("holds    {}", told(found)));
    let mut snapshots = found.snapshots.iter().peekable();
    for record in &found.records {
        while let Some(before) = snapshots.next_if(|s| s.epoch < record.epoch) {
            show_snapshot(&mut text, before);
        }
        show_record(&mut text, record);
        while let Some(same) = snapshots.next_if(|s| s.epoch == record.epoch) {
            show_snapshot(&mut text, same);
        }
    }
    snapshots.for_each(|snapshot| show_snapshot(&mut text, snapshot));
    if !found.published_at_end.is_empty() {
        let published = pairs(&found.published_at_end);
        line(
            &mut text,
            &format!("published when the job ended: {published}"),
        );
    }
    for other in &found.others {
        line(&mut text, &format!("{other}: no object of a log"));
    }
    if !found.is_sound() {
        text.push_str(&faults(&found.faults));
    }
    text
}

/// How much there is, and where a start goes on.
fn told(found: &Inspection) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let held = format!(
        "{} and {}",
        count(found.records.len(), "record"),
        count(found.snapshots.len(), "snapshot")
    );
    match (found.recovers_from.0, found.last.0) {
        (_, 0) => format!("{held}: the job has not run"),
        (0, last) => format!("{held}; a start repeats epochs 1 to {last}"),
        (from, last) if from == last => {
            format!("{held}; a start takes up the snapshot of epoch {from}")
        }
        (from, last) => format!(
            "{held}; a start takes up the snapshot of epoch {from} and repeats the epochs up to \
             {last}"
        ),
    }
}

fn show_record(text: &mut String, record: &RecordView) {
    let mut head = format!("epoch {}  record, {} bytes", record.epoch, record.bytes);
    if let Some(first) = record.first_arrival {
        let _ = write!(head, ", from {}", Timestamp(first));
    }
    if let Some(follows) = record.follows {
        let _ = write!(head, ", the fence of a start after epoch {follows}");
    }
    if record.abandoned {
        head.push_str(", never committed: it does not count");
    }
    if record.finished {
        head.push_str(", the last: all inputs have ended");
    }
    line(text, &head);
    part(text, "journal", &pairs(&record.entries));
    let arrived = record
        .arrived
        .iter()
        .map(|(table, (rows, rejected))| match rejected {
            0 => format!("{table} {rows}"),
            rejected => format!("{table} {rows} and {rejected} rejected"),
        });
    part(text, "arrived", &arrived.collect::<Vec<_>>().join(", "));
    part(text, "redriven", &pairs(&record.redriven));
    part(text, "read to", &positions(&record.positions));
    part(text, "kept", &pairs(&record.kept));
    part(text, "to publish", &pairs(&record.outputs));
    part(text, "published", &pairs(&record.published));
}

fn show_snapshot(text: &mut String, snapshot: &SnapshotView) {
    let SnapshotView {
        epoch,
        bytes,
        steps,
        state_rows,
        ..
    } = snapshot;
    let head = format!(
        "epoch {epoch}  snapshot, {bytes} bytes, {steps} steps with {state_rows} rows of state"
    );
    line(text, &head);
    part(text, "read to", &positions(&snapshot.positions));
}

fn judged(found: &Inspection) -> String {
    let mut text = String::new();
    line(&mut text, &format!("holds {}", told(found)));
    if found.is_sound() {
        line(
            &mut text,
            "sound: everything was read, and a start can go on from it",
        );
        return text;
    }
    text.push_str(&faults(&found.faults));
    let stops = found.faults.iter().any(|fault| fault.stops_recovery);
    line(
        &mut text,
        match stops {
            true => "damaged: a start would refuse",
            false => "damaged, but a start can go on from it",
        },
    );
    text
}

fn faults(faults: &[Fault]) -> String {
    let mut text = String::new();
    for fault in faults {
        line(&mut text, &format!("{}: {}", fault.object, fault.problem));
        line(&mut text, &format!("  what to do: {}", fault.remedy));
    }
    text
}

fn positions(positions: &BTreeMap<String, Position>) -> String {
    let table = |(table, position): (&String, &Position)| {
        let splits = position.iter().map(|(split, offset)| match *offset {
            END => format!("{split} at its end"),
            offset => format!("{split} at {offset}"),
        });
        format!("{table} ({})", splits.collect::<Vec<_>>().join(", "))
    };
    positions.iter().map(table).collect::<Vec<_>>().join(", ")
}

fn pairs<K: Display, V: Display>(map: &BTreeMap<K, V>) -> String {
    let pair = |(key, value): (&K, &V)| format!("{key} {value}");
    map.iter().map(pair).collect::<Vec<_>>().join(", ")
}

fn part(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        line(text, &format!("    {name:<11}{value}"));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
