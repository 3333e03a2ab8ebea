//! Golden SQL: every `.slt` file runs four ways against the same expectations.
//!
//! `SLT_ACCEPT=1` writes what came out into the files, `SLT_ONLY=part` runs the files whose path
//! has that part.

mod driver;
mod shards;
pub(crate) mod values;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sqllogictest::{Runner, strict_column_validator};

use driver::{Driver, Mode, Recorded};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
}

/// Leading blanks are part of EXPLAIN.
#[expect(clippy::ptr_arg, reason = "the type that sqllogictest asks for")]
fn normalise(text: &String) -> String {
    text.trim_end().to_owned()
}

fn validate(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual: Vec<String> = actual.iter().map(|row| normalise(&row.join(" "))).collect();
    actual == expected.iter().map(normalise).collect::<Vec<_>>()
}

fn runner(
    mode: Mode,
    recorded: &Arc<Mutex<Recorded>>,
) -> Runner<Driver, impl sqllogictest::MakeConnection<Conn = Driver> + use<>> {
    let recorded = Arc::clone(recorded);
    let mut runner = Runner::new(move || {
        let driver = Driver::new(mode, Arc::clone(&recorded));
        async move { Ok(driver) }
    });
    runner.with_normalizer(normalise);
    runner.with_validator(validate);
    runner.with_column_validator(strict_column_validator);
    runner
}

/// Runs one file all four ways; says whether it was cut into shards.
fn run(path: &Path, accept: bool) -> Result<bool, String> {
    let recorded = Arc::new(Mutex::new(Recorded::default()));
    if accept {
        let mut runner = runner(Mode::Whole, &recorded);
        let update =
            runner.update_test_file(path, " ", validate, normalise, strict_column_validator);
        futures::executor::block_on(update).map_err(|error| error.to_string())?;
        *recorded.lock().unwrap() = Recorded::default();
    }
    for mode in [Mode::Whole, Mode::Rows, Mode::Restored, Mode::Sharded] {
        let done = runner(mode, &recorded).run_file(path);
        done.map_err(|error| format!("{mode:?}: {}", error.display(false)))?;
    }
    let sharded = recorded.lock().unwrap().sharded;
    Ok(sharded)
}

#[test]
fn golden() {
    let accept = std::env::var("SLT_ACCEPT").is_ok_and(|value| value == "1");
    let only = std::env::var("SLT_ONLY").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut found = vec![];
    files(&root, &mut found);
    assert!(found.len() >= 40, "{} files", found.len());
    found.retain(|path| path.to_string_lossy().contains(&only));
    let (mut sharded, mut failures) = (0, vec![]);
    for path in &found {
        let name = path.strip_prefix(&root).unwrap().display();
        match run(path, accept) {
            Ok(cut) => sharded += usize::from(cut),
            Err(failure) => failures.push(format!("{name}: {failure}")),
        }
    }
    let summary = format!("{} of {} files failed", failures.len(), found.len());
    assert!(failures.is_empty(), "{summary}:\n{}", failures.join("\n"));
    println!(
        "{} files, {sharded} of them in four shards as well",
        found.len()
    );
    assert!(
        !only.is_empty() || sharded >= 10,
        "{sharded} files ran in four shards"
    );
}

#[test]
fn files_are_short() {
    let mut found = vec![];
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt"),
        &mut found,
    );
    for path in found {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 150, "{} has {lines} lines", path.display());
    }
}
