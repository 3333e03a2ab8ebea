//! Which crate may depend on which: the floors of the house, read from `cargo metadata`.
//!
//! Read as plain JSON: the crate `cargo_metadata` turns on a feature of `serde_json` that no other
//! crate asks for, and arrow and DataFusion would be built twice, for tests and for the binary.

use std::process::Command;

use serde_json::Value;

/// The packages of the workspace.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn name(item: &Value) -> &str {
    item["name"].as_str().unwrap()
}

/// What a package depends on, optional dependencies included: to build it, or just to test it.
fn dependencies(package: &Value, tests: bool) -> Vec<&str> {
    let all = package["dependencies"].as_array().unwrap();
    let of_kind = all
        .iter()
        .filter(|dependency| (dependency["kind"] == "dev") == tests);
    of_kind.map(name).collect()
}

#[test]
fn the_crates_stand_on_each_other_as_drawn() {
    let packages = packages();
    let members: Vec<&str> = packages.iter().map(name).collect();
    let below = |crate_name: &str| {
        let package = packages.iter().find(|package| name(package) == crate_name);
        let mut below = dependencies(package.expect(crate_name), false);
        below.retain(|dependency| members.contains(dependency));
        below.sort_unstable();
        below
    };
    assert_eq!(below("engine"), Vec::<&str>::new());
    assert_eq!(below("connectors"), ["engine"]);
    assert_eq!(below("sql"), ["engine"]);
    assert_eq!(below("server"), ["connectors", "engine", "sql"]);
}

#[test]
fn heavy_libraries_stay_on_one_floor() {
    let packages = packages();
    let users = |library: &str, tests: bool| {
        let uses = |package: &&Value| dependencies(package, tests).contains(&library);
        packages.iter().filter(uses).map(name).collect::<Vec<_>>()
    };
    assert_eq!(users("datafusion", false), ["sql"]);
    assert_eq!(users("datafusion", true), Vec::<&str>::new());
    let mut kafka = users("rdkafka", false);
    kafka.sort_unstable();
    assert_eq!(kafka, ["benches", "connectors"]);
    for library in ["axum", "sqlx"] {
        assert!(
            users(library, false).iter().all(|user| *user == "server"),
            "{library}"
        );
    }
}
