//! Starts at once of a job that a transaction commits, beside a predecessor that is at work: whoever
//! sleeps at whichever step, the log keeps every record that was committed, and no other counts.

use super::broker::{Broker, Mark};
use super::executor::{below, here, note, put_to_sleep, simulate, sleep, spawn, wake, within};
use super::faults::{Faults, Rates};
use super::store::FickleStore;
use super::*;
use crate::commit::Transaction;
use crate::intake::journal::Entry;
use crate::log::record::{Record, Start};
use crate::runtime::fence::Fence;
use crate::runtime::patience::{Patience, patiently};
use crate::runtime::status::SharedStatus;
use crate::runtime::stop::Stop;
use crate::sink::Epoch;

/// What outlives the processes.
#[derive(Clone, Default)]
struct Place {
    store: FickleStore,
    broker: Broker,
}

impl Place {
    fn log(&self) -> Log {
        Log::new(Arc::new(self.store.clone()), "job".into(), 0)
    }

    /// A process: it starts, and commits some epochs more.
    async fn live(self, process: u64, epochs: u64) -> crate::Result<()> {
        let (_stopper, stop) = Stop::channel();
        let patience = || Patience::new("it", &SharedStatus::default(), &stop);
        let (log, mut point) = (self.log(), Some(self.broker.commit_point()));
        let fence = Fence {
            log: log.clone(),
            patience: patience(),
            point: &mut point,
            point_patience: patience(),
            start: Start {
                at: 0,
                process: process as u32,
                follows: Epoch(0),
            },
        };
        let mut epoch = { fence }.take().await?.epoch;
        note(|| format!("begins after epoch {epoch}"));
        let mut point = point.unwrap();
        for _ in 0..epochs {
            epoch = epoch.next();
            let record = Record {
                epoch,
                journal: vec![Entry::Tick { at: process as i64 }],
                ..Record::default()
            };
            let transaction = Transaction {
                epoch,
                rows: &[],
                positions: Some(&[]),
            };
            let never = "it is never asked to stop";
            patiently!(patience(), log.append(&record)).expect(never);
            patiently!(patience(), point.commit(transaction)).expect(never);
            sleep(Duration::from_micros(below(3_000))).await;
        }
        Ok(())
    }

    /// Whose record an epoch has.
    async fn owner(&self, epoch: Epoch) -> u64 {
        let record = self.log().read(epoch).await.unwrap();
        match (record.start, record.journal.as_slice()) {
            (Some(start), _) => u64::from(start.process),
            (None, [Entry::Tick { at }]) => *at as u64,
            (None, journal) => panic!("{journal:?}"),
        }
    }

    /// Lets a process live beside others; only another one ends it with an error.
    fn begin(&self, process: u64, epochs: u64) {
        let place = self.clone();
        within(process, || {
            spawn(async move {
                if let Err(error) = place.live(process, epochs).await {
                    let said = error.chain();
                    assert!(said.contains("another process"), "{said}");
                    note(|| said);
                }
            });
        });
    }

    /// The records that count are those that were committed, by who committed them; how many others
    /// there are.
    async fn check(&self) -> usize {
        let (log, marks) = (self.log(), self.broker.marks());
        let contents = log.contents().await.unwrap();
        let through = marks.last().unwrap().epoch;
        let history = log.history(&contents, Epoch(0), through).await.unwrap();
        assert_eq!(history.follows, Epoch(0));
        let committed: Vec<Epoch> = marks.iter().map(|mark| mark.epoch).collect();
        assert_eq!(history.epochs, committed);
        for Mark { epoch, process } in marks {
            assert_eq!(self.owner(epoch).await, process, "of epoch {epoch}");
        }
        contents.records.len() - history.epochs.len()
    }
}

/// Slow calls, lost answers and deaths, while processes fall asleep and wake.
async fn starts_at_once(place: &Place) {
    place.begin(1, 1 + below(6));
    sleep(Duration::from_micros(below(30_000))).await;
    here(|world| {
        let rates = Rates::draw(world);
        world.faults.broker = Rates {
            refused: 0,
            ..rates
        };
        world.faults.store.slow = world.below(150);
    });
    for process in 2..5 {
        place.begin(process, below(3));
        sleep(Duration::from_micros(below(4_000))).await;
        let sleeper = 1 + below(process);
        put_to_sleep(sleeper);
        sleep(Duration::from_micros(below(20_000))).await;
        if below(2) == 0 {
            wake(sleeper);
        }
    }
    (1..5).for_each(wake);
    sleep(Duration::from_mins(10)).await;
}

#[test]
fn starts_at_once_lose_no_record_and_count_none_that_was_not_committed() {
    let mut abandoned = 0;
    seeds(|seed, told| {
        // They are short: many of them.
        for seed in seed * 20..seed * 20 + 20 {
            abandoned += simulate(seed, Faults::none(told), async {
                let place = Place::default();
                starts_at_once(&place).await;
                here(|world| world.faults.calm());
                place.begin(9, 1);
                sleep(Duration::from_mins(10)).await;
                place.check().await
            });
        }
    });
    assert!(abandoned > 0, "nothing was left that does not count");
}
