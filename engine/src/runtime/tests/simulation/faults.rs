//! What goes wrong, and how often: everything outside refuses, lies, is slow, and the process dies
//! at any of its calls.

use std::collections::BTreeSet;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::executor::{World, here, note, process, sleep, step_aside};

/// Of 1,000 calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// Not made, and answered by an error.
    pub(super) refused: u64,
    /// Made, and answered by an error.
    pub(super) denied: u64,
    /// Answered after a long while.
    pub(super) slow: u64,
    /// The process dies before or after.
    pub(super) deadly: u64,
}

impl Rates {
    /// Each is nought as often as not, so that the others show what they do alone.
    pub(super) fn draw(world: &mut World) -> Self {
        let mut rate = |most: u64| match world.below(2) {
            0 => 0,
            _ => world.below(most),
        };
        Self {
            refused: rate(250),
            denied: rate(250),
            slow: rate(150),
            deadly: rate(30),
        }
    }
}

/// Who is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Store,
    Source,
    Sink,
    /// Of transactions.
    Broker,
}

/// The faults of a world.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) store: Rates,
    pub(super) source: Rates,
    pub(super) sink: Rates,
    pub(super) broker: Rates,
    /// How often the clock jumps, of 1,000 times that it is looked at; and how far it is off.
    pub(super) jumps: u64,
    pub(super) off: i64,
    /// Whether what happens is said.
    pub(super) told: bool,
    /// The processes that have died of a call.
    dead: BTreeSet<u64>,
    mourner: Option<Waker>,
}

impl Faults {
    fn of(&self, place: Place) -> Rates {
        match place {
            Place::Store => self.store,
            Place::Source => self.source,
            Place::Sink => self.sink,
            Place::Broker => self.broker,
        }
    }

    /// None, said or not.
    pub(super) fn none(told: bool) -> Self {
        Self {
            told,
            ..Self::default()
        }
    }

    pub(super) fn draw(world: &mut World) -> Self {
        Self {
            store: Rates::draw(world),
            source: Rates::draw(world),
            sink: Rates::draw(world),
            broker: Rates::draw(world),
            jumps: world.below(2) * world.below(20),
            ..Self::none(world.faults.told)
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm(&mut self) {
        let dead = std::mem::take(&mut self.dead);
        *self = Self {
            dead,
            ..Self::none(self.told)
        };
    }

    pub(super) fn is_dead(&self, process: u64) -> bool {
        self.dead.contains(&process)
    }
}

fn one_of(world: &mut World, rate: u64) -> bool {
    world.below(1_000) < rate
}

/// Dies.
fn die() {
    let process = process();
    let mourner = here(|world| {
        world.faults.dead.insert(process);
        world.faults.mourner.take()
    });
    mourner.into_iter().for_each(Waker::wake);
}

/// Over when a process has died of a call.
pub(super) async fn death(process: u64) {
    std::future::poll_fn(|cx| {
        here(|world| {
            world.faults.mourner = Some(cx.waker().clone());
            match world.faults.is_dead(process) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    })
    .await;
}

/// The dead do nothing more.
async fn alive() {
    let process = process();
    if here(|world| world.faults.is_dead(process)) {
        std::future::pending::<()>().await;
    }
}

async fn may_die(place: Place, when: &str) {
    alive().await;
    if here(|world| one_of(world, world.faults.of(place).deadly)) {
        note(|| format!("dies {when} a call of the {place:?}"));
        die();
        alive().await;
    }
}

/// Before a call has an effect: it takes its time; an error where it has none.
pub(super) async fn before(place: Place) -> Result<(), ()> {
    alive().await;
    let (how, long) = here(|world| {
        let slow = one_of(world, world.faults.of(place).slow);
        (world.below(10), slow.then(|| world.below(700_000)))
    });
    match (long, how) {
        (Some(micros), _) => sleep(Duration::from_micros(micros)).await,
        (None, 0..4) => {}
        (None, 4..8) => step_aside().await,
        (None, _) => {
            let micros = here(|world| world.below(2_500));
            sleep(Duration::from_micros(micros)).await;
        }
    }
    may_die(place, "before").await;
    match here(|world| one_of(world, world.faults.of(place).refused)) {
        true => {
            note(|| format!("the {place:?} refuses"));
            Err(())
        }
        false => Ok(()),
    }
}

/// After a call had its effect: an error where that is denied.
pub(super) async fn after(place: Place) -> Result<(), ()> {
    may_die(place, "after").await;
    match here(|world| one_of(world, world.faults.of(place).denied)) {
        true => {
            note(|| format!("the {place:?} denies"));
            Err(())
        }
        false => Ok(()),
    }
}

/// What the clock is off by now.
pub(super) fn clock_error() -> i64 {
    here(|world| {
        if one_of(world, world.faults.jumps) {
            // Up to eight seconds, both ways; one jump of eight is a thousand times as long.
            let far = if world.below(8) == 0 { 1_000 } else { 1 };
            world.faults.off = (world.below(16_000_000_000) as i64 - 8_000_000_000) * far;
        }
        world.faults.off
    })
}
