//! The disk with the log of a job runs full under it: a small one, that the process alone sees.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::recovery::JOB;
use crate::support::{Place, digests};

/// Runs the job of a place with its data folder on a disk of so many megabytes. Namespaces of users
/// and mounts must be allowed, as they are by default.
fn on_small_disk(place: &Place, megabytes: u32) -> crate::support::Running {
    fs::create_dir_all(place.path("data")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m tmpfs data && exec '{}' run job.sql --digest",
        env!("CARGO_BIN_EXE_millstream")
    );
    let said = fs::File::create(place.path("said")).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(place.path(""))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said);
    crate::support::Running::of(command.spawn().unwrap(), place.path("said"))
}

#[test]
fn a_job_whose_log_has_no_room_pauses_says_so_and_goes_on() {
    // Outputs are elsewhere: the log alone is short of room.
    let place = Place::new();
    place.write("job.sql", JOB);
    let mut running = on_small_disk(&place, 24);
    // The disk as the process sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", running.id()));
    let disk = seen.join(place.path("data").strip_prefix("/").unwrap());
    running.wait_until("the log", |_| disk.join("job/log/plan.txt").is_file());
    sleep(Duration::from_millis(300));
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    running.wait_until("the disk is full", |running| {
        // What the job frees meanwhile is taken, too.
        while file.write_all(&[0; 4_096]).is_ok() {}
        running.said().contains("waiting: the log")
    });
    assert!(
        running.said().contains("the disk is full, free some space"),
        "{}",
        running.said()
    );
    sleep(Duration::from_millis(500));
    assert!(!running.has_ended(), "{}", running.said());
    drop(file);
    fs::remove_file(&filler).unwrap();
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("finished: all inputs"), "{said}");

    let calm = Place::new();
    calm.write("job.sql", JOB);
    let undisturbed = calm.run(&["run", "job.sql", "--digest"]);
    assert_eq!(digests(&said), digests(&undisturbed.err), "{said}");
    crate::recovery::same_outputs(&place, &calm, &["bars", "signals"]);
}
