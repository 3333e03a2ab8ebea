//! A kill at every step of a commit, a roll, a snapshot and a start; and at random times.

use std::thread;
use std::time::Duration;

use engine::crash::Point;

use connectors::testing::Broker;

use super::number;
use super::open::Open;
use super::savepoints::are_tried_here;
use super::world::World;

/// Kills a job at a point, at the `time`th pass, and lets it finish.
fn kill_at(world: &World, point: Point, time: u64) {
    let (name, job) = (point.name(), world.job(""));
    if name.starts_with("recovery-") {
        // A start has something to do where the one before was killed in a commit.
        job.crash_at(&format!("appended:{}", time + 1));
    }
    job.crash_at(&format!("{name}:{time}"));
    world.check(&job.finish(world), &format!("killed at {name}:{time}"));
}

/// Every other round is a pass later; but a start passes its points once, and a machine that is busy
/// may come to one snapshot only, and to one roll of several files.
fn again(point: Point, round: u64) -> u64 {
    let once = ["recovery-", "snapshot-", "roll-announced"];
    match once.iter().any(|step| point.name().starts_with(step)) {
        true => 0,
        false => round % 2,
    }
}

#[test]
fn a_kill_at_any_point_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    let rounds = number("CRASH_ROUNDS", 1);
    // Two at once: the machine may have two cores, and much of it is waiting.
    thread::scope(|scope| {
        for half in 0..2 {
            let world = &world;
            scope.spawn(move || {
                let elsewhere = |point: Point| point == Point::Cut || are_tried_here(point);
                let points = Point::ALL.iter().filter(|point| !elsewhere(**point));
                for point in points.skip(half).step_by(2) {
                    for round in 0..rounds {
                        // The first transaction is that of the start.
                        let first = u64::from(point.name().starts_with("transaction-"));
                        kill_at(world, *point, 1 + first + again(*point, round));
                    }
                }
            });
        }
    });
}

#[test]
fn a_kill_while_the_log_is_cut_costs_nothing() {
    // The log of a job without late or dead rows is cut as its files are rolled.
    let job = Open::new(Broker::shared().unwrap(), &[], "");
    let mut running = job.start(&["--crash-at", "cut"], "first");
    let mut fed = 0;
    while !running.has_ended() {
        job.feed(fed..fed + 250);
        fed += 250;
        thread::sleep(Duration::from_millis(100));
    }
    let running = job.start(&[], "second");
    // A stop while it still recovers would leave rows in the log.
    job.feed(fed..fed + 250);
    fed += 250;
    job.wait_for(fed, &running);
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(fed);
}

#[test]
fn kills_at_random_times_lose_nothing_and_double_nothing() {
    let world = World::new();
    let (mut left, seed) = (number("CRASH_KILLS", 6), number("CRASH_SEED", 20_241));
    let mut random = seed;
    while left > 0 {
        let job = world.job("");
        // Several kills of one job, then its end.
        for kill in 0..left.min(4) {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let arguments = ["run", "job.sql", "--data", "data", "--digest"];
            let running = job.place.start(&arguments, &format!("said-{kill}"));
            thread::sleep(Duration::from_millis(40 + (random >> 33) % 900));
            running.kill();
            left -= 1;
        }
        world.check(
            &job.finish(&world),
            &format!("CRASH_SEED={seed}, {left} left"),
        );
    }
}
