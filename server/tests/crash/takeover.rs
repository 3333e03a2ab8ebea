//! A process that sleeps through its replacement.

use connectors::testing::Broker;

use super::open::Open;

#[test]
fn who_wakes_after_its_replacement_changes_nothing_and_says_why() {
    let job = Open::new(Broker::shared().unwrap(), &[], "");
    job.feed(0..1_000);
    let mut old = job.start(&[], "old");
    job.wait_for(1_000, &old);
    old.signal("-STOP");
    // Nobody takes over by accident.
    let refused = job.place.run(&["run", "job.sql", "--data", "data"]);
    let refused = refused.failed(1);
    assert!(refused.contains("run with --take-over"), "{refused}");
    let new = job.start(&["--take-over"], "new");
    job.feed(1_000..2_000);
    job.wait_for(2_000, &new);
    old.signal("-CONT");
    job.feed(2_000..3_000);
    let (code, said) = old.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process has taken over"), "{said}");
    job.wait_for(3_000, &new);
    let (code, said) = new.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(3_000);
}
