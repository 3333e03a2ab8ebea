//! A kill while a savepoint is kept, and while a job begins from one.

use connectors::testing::Broker;
use engine::crash::Point;
use serde_json::{Value, json};

use super::open::Open;
use crate::api::ENDLESS;
use crate::serve::{Serving, ask};
use crate::support::{Place, Ran};

/// The points of keeping a savepoint, and of a start from one without a server.
const KEPT: [Point; 2] = [Point::SavepointDue, Point::SavepointStored];
const BEGUN: [Point; 2] = [Point::BeginStaged, Point::BeginCleared];

/// Whether a point is tried here: no job that just runs comes to it.
pub(super) fn are_tried_here(point: Point) -> bool {
    let here = [&KEPT[..], &BEGUN, &[Point::BeginNoted]].concat();
    here.contains(&point)
}

#[track_caller]
fn crashed(ran: &Ran, point: Point) {
    let name = point.name();
    assert_eq!(ran.code, None, "{name} was not passed: {}", ran.err);
}

#[test]
fn a_kill_while_a_savepoint_is_kept_or_begun_from_costs_nothing() {
    let job = Open::new(Broker::shared().unwrap(), &[], "");
    let mut fed = 0;
    // More rows, and a stop in order.
    let mut go_on = |name: &str| {
        job.feed(fed..fed + 400);
        fed += 400;
        let running = job.start(&[], name);
        job.wait_for(fed, &running);
        let (code, said) = running.stop("-TERM");
        assert_eq!(code, Some(0), "{said}");
        fed
    };
    go_on("first");
    let savepoint = |command: &[&str], more: &[&str]| {
        let arguments = [&["savepoint"], command, &["--data", "data"], more].concat();
        job.place.run(&arguments)
    };
    for (point, kept) in KEPT.into_iter().zip([false, true]) {
        let create = ["create", "job.sql", "state"];
        crashed(&savepoint(&create, &["--crash-at", point.name()]), point);
        let listed = savepoint(&["list", "job.sql"], &[]).well();
        assert_eq!(listed.contains("state"), kept, "{}: {listed}", point.name());
    }
    let mut all = 0;
    for (number, point) in BEGUN.into_iter().enumerate() {
        // The first begins from what a kill has left.
        let name = if number == 0 { "state" } else { "second" };
        if number > 0 {
            savepoint(&["create", "job.sql", name], &[]).well();
        }
        let from = format!("savepoint:{name}");
        let begin = ["run", "job.sql", "--data", "data", "--from", &from];
        let ran = job
            .place
            .run(&[&begin[..], &["--crash-at", point.name()]].concat());
        crashed(&ran, point);
        all = go_on(name);
    }
    job.each_once(all);
}

#[test]
fn a_kill_in_a_start_from_a_savepoint_leaves_the_job_as_it_was_or_starts_it() {
    let place = Place::new();
    let begun = || !place.files("data/server/jobs", "begun-from.txt").is_empty();
    let arrived = |job: &Value| job["tables"][0]["arrived"].as_u64().unwrap_or_default();
    let kill_at = |point: Point, said: &str, method: &str, path: &str, body: &Value| {
        let mut server = Serving::start_with(&place, said, &["--crash-at", point.name()]);
        let path = format!("/api/v1/jobs/prices{path}");
        server.wait("prices", |job| job["state"] != "recovering");
        assert_eq!(ask(&server.address, method, &path, &body.to_string()), None);
        let (code, said) = server.running.end();
        assert_eq!(code, None, "{said}");
    };

    // A job that runs is kept whole or not at all, and goes on.
    let server = Serving::start(&place, "first");
    let job = json!({"name": "prices", "sql": ENDLESS});
    server.json("POST", "/api/v1/jobs", &job);
    server.running.kill();
    for (point, name) in KEPT.into_iter().zip(["due", "stored"]) {
        let body = json!({"name": name});
        kill_at(point, name, "POST", "/savepoint", &body);
    }
    let mut server = Serving::start(&place, "kept");
    let listed = server.json("GET", "/api/v1/jobs/prices/savepoints", &Value::Null);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1, "{listed}");
    assert_eq!(names[0]["name"], "stored");
    server.wait("prices", |job| job["state"] == "running");
    server.json("POST", "/api/v1/jobs/prices/stop", &Value::Null);
    let stopped = server.wait("prices", |job| job["state"] == "stopped");
    server.running.kill();

    // Before the start is noted, the job is as it was.
    let from = json!({"from": {"savepoint": "stored"}});
    kill_at(Point::BeginStaged, "staged", "POST", "/start", &from);
    let mut server = Serving::start(&place, "as it was");
    assert_eq!(server.job("prices")["state"], "stopped");
    let state = json!({"from": "state"});
    server.json("POST", "/api/v1/jobs/prices/start", &state);
    let again = server.wait("prices", |job| job["state"] == "running");
    assert!(arrived(&again) >= arrived(&stopped), "{stopped}\n{again}");
    assert!(!begun());
    server.json("POST", "/api/v1/jobs/prices/stop", &Value::Null);
    server.wait("prices", |job| job["state"] == "stopped");
    server.running.kill();

    // After it, the job comes back from the savepoint.
    for (point, said) in [
        (Point::BeginNoted, "noted"),
        (Point::BeginCleared, "cleared"),
    ] {
        kill_at(point, said, "POST", "/start", &from);
        let mut server = Serving::start(&place, &format!("after {said}"));
        server.wait("prices", |job| job["state"] == "running");
        assert!(begun());
        server.json("POST", "/api/v1/jobs/prices/stop", &Value::Null);
        server.wait("prices", |job| job["state"] == "stopped");
        server.running.kill();
    }
}
