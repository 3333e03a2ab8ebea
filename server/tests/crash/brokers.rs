//! Brokers that are killed, paused, or refuse a message while a job commits: it waits, says so, and
//! goes on by itself.

use std::thread::sleep;
use std::time::Duration;

use connectors::testing::Broker;

use super::open::Open;

#[test]
fn a_broker_killed_in_a_commit_costs_nothing() {
    let broker = Broker::launch().unwrap();
    let job = Open::new(&broker, &[], "");
    job.feed(0..500);
    let mut running = job.start(&[], "said");
    job.wait_for(500, &running);
    for round in 1..4 {
        // Rows are on their way while it goes.
        job.feed(round * 500..round * 500 + 500);
        broker.stop().unwrap();
        running.wait_until("it says what it waits for", |running| {
            running.said().contains("waiting: ")
        });
        broker.start().unwrap();
        job.wait_for(round * 500 + 500, &running);
    }
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(2_000);
}

#[test]
fn a_broker_that_sleeps_longer_than_a_transaction_may_take_costs_nothing() {
    let broker = Broker::launch().unwrap();
    let timeout = ", 'properties.transaction.timeout.ms' = '2000'";
    let job = Open::new(&broker, &[], timeout);
    job.feed(0..500);
    let running = job.start(&[], "said");
    job.wait_for(500, &running);
    for round in 1..3 {
        job.feed(round * 500..round * 500 + 500);
        broker.pause().unwrap();
        sleep(Duration::from_secs(5));
        broker.resume().unwrap();
        job.wait_for(round * 500 + 500, &running);
    }
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(1_500);
}

#[test]
fn a_message_that_is_too_large_is_waited_for_until_the_topic_takes_it() {
    let broker = Broker::shared().unwrap();
    let plain = ", 'properties.compression.type' = 'none', 'properties.batch.size' = '1500'";
    let job = Open::new(broker, &[("max.message.bytes", "2000")], plain);
    job.feed(0..100);
    let mut running = job.start(&[], "said");
    job.wait_for(100, &running);
    job.feed_padded(100..101, 5_000);
    job.feed(101..200);
    running.wait_until("it says what it waits for", |running| {
        running
            .said()
            .contains("raise the topic's 'max.message.bytes'")
    });
    job.allow(1_000_000);
    job.wait_for(200, &running);
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(200);
}

#[test]
fn partitions_that_are_added_are_read_from_their_start() {
    let job = Open::new(Broker::shared().unwrap(), &[], "");
    job.feed(0..300);
    let running = job.start(&[], "first");
    job.wait_for(300, &running);
    job.grow(6);
    job.feed(300..900);
    job.wait_for(900, &running);
    running.kill();
    job.grow(9);
    job.feed(900..1_500);
    let running = job.start(&[], "second");
    job.wait_for(1_500, &running);
    let (code, said) = running.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    job.each_once(1_500);
}
