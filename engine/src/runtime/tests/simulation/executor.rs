//! A world of one thread: which task goes on is drawn from a seed, and time passes only when none
//! can. Nothing else decides the order of what happens, so a seed repeats it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::faults::Faults;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A task that runs on while others do.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a task is.
struct Place {
    process: u64,
    /// `None` while it is polled.
    task: Option<Task>,
}

/// The task that everything begins with.
const ROOT: u64 = 0;

/// So many turns are taken by no run that ends.
const MOST_TURNS: u64 = 3_000_000;

/// Splitmix64: the same numbers for the same seed, everywhere.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(super) struct World {
    chance: Chance,
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    tasks: BTreeMap<u64, Place>,
    ready: BTreeSet<u64>,
    /// Which process what is begun now belongs to.
    process: u64,
    asleep: BTreeSet<u64>,
    numbers: u64,
    turns: u64,
    pub(super) faults: Faults,
}

impl World {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.chance.next() % end.max(1)
    }

    fn is_awake(&self, task: u64) -> bool {
        let place = self.tasks.get(&task);
        place.is_none_or(|place| !self.asleep.contains(&place.process))
    }

    /// A task that can go on, any of them.
    fn draw(&mut self) -> Option<u64> {
        let ready = self.ready.iter().copied();
        let ready: Vec<u64> = ready.filter(|task| self.is_awake(*task)).collect();
        let place = self.below(ready.len() as u64) as usize;
        let task = *ready.get(place)?;
        self.ready.remove(&task);
        self.turns += 1;
        assert!(self.turns < MOST_TURNS, "it does not end");
        Some(task)
    }

    /// Lets time pass up to the next timers, which are over then.
    fn pass(&mut self) -> Vec<Waker> {
        let next = self.timers.keys().next();
        let next = next
            .expect("nothing can go on, and nothing is waited for")
            .0;
        self.now = self.now.max(next);
        let later = self.timers.split_off(&(self.now, u64::MAX));
        std::mem::replace(&mut self.timers, later)
            .into_values()
            .collect()
    }
}

/// What `ask` finds in the world; `None` where there is none.
pub(super) fn with<T>(ask: impl FnOnce(&mut World) -> T) -> Option<T> {
    let ask = |world: &mut Option<World>| world.as_mut().map(ask);
    WORLD
        .try_with(|world| ask(&mut world.borrow_mut()))
        .ok()
        .flatten()
}

/// The same where there is one.
pub(super) fn here<T>(ask: impl FnOnce(&mut World) -> T) -> T {
    with(ask).expect("a simulation is under way")
}

/// Whether this thread simulates.
pub(in crate::runtime) fn under_way() -> bool {
    with(|_| ()).is_some()
}

/// A number below `end`.
pub(super) fn below(end: u64) -> u64 {
    here(|world| world.below(end))
}

/// What the world's time is.
pub(super) fn now() -> Duration {
    here(|world| world.now)
}

/// How many turns were taken: two runs of one seed take the same.
pub(super) fn turns() -> u64 {
    here(|world| world.turns)
}

/// Says what happens, where a single seed is looked at.
pub(super) fn note(what: impl FnOnce() -> String) {
    let told = with(|world| (world.faults.told, world.now));
    if let Some((true, now)) = told {
        let (millis, process) = (now.as_secs_f64() * 1e3, process());
        println!("{millis:>12.3} ms  {process}: {}", what());
    }
}

struct Call(u64);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        with(|world| {
            if self.0 == ROOT || world.tasks.contains_key(&self.0) {
                world.ready.insert(self.0);
            }
        });
    }
}

/// Runs `root` to its end in a world of its own.
pub(super) fn simulate<T>(seed: u64, faults: Faults, root: impl Future<Output = T>) -> T {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            // Tasks look for the world as they go.
            let world = WORLD.with(|world| world.borrow_mut().take());
            drop(world);
        }
    }
    let world = World {
        chance: Chance(seed),
        now: Duration::ZERO,
        timers: BTreeMap::new(),
        tasks: BTreeMap::new(),
        ready: BTreeSet::from([ROOT]),
        process: ROOT,
        asleep: BTreeSet::new(),
        numbers: ROOT,
        turns: 0,
        faults,
    };
    let before = WORLD.with(|place| place.borrow_mut().replace(world));
    assert!(before.is_none(), "one simulation at a time on a thread");
    let _end = End;
    let mut root = pin!(root);
    loop {
        match here(World::draw) {
            None => here(World::pass).into_iter().for_each(Waker::wake),
            Some(ROOT) => {
                let waker = Waker::from(Arc::new(Call(ROOT)));
                if let Poll::Ready(end) = root.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return end;
                }
            }
            Some(task) => turn(task),
        }
    }
}

fn turn(number: u64) {
    let task = here(|world| {
        let place = world.tasks.get_mut(&number)?;
        world.process = place.process;
        place.task.take()
    });
    let Some(mut task) = task else { return };
    let waker = Waker::from(Arc::new(Call(number)));
    let over = task
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready();
    // It may have been given up meanwhile.
    let rest = here(|world| {
        world.process = ROOT;
        if over {
            world.tasks.remove(&number);
        }
        match world.tasks.get_mut(&number) {
            Some(place) => {
                place.task = Some(task);
                None
            }
            None => Some(task),
        }
    });
    drop(rest);
}

/// The process that is at work.
pub(super) fn process() -> u64 {
    here(|world| world.process)
}

/// Lets what `begin` begins be of a process.
pub(super) fn within<T>(process: u64, begin: impl FnOnce() -> T) -> T {
    let before = here(|world| std::mem::replace(&mut world.process, process));
    let started = begin();
    here(|world| world.process = before);
    started
}

/// Stops a process where it stands, until it wakes.
pub(super) fn put_to_sleep(process: u64) {
    here(|world| world.asleep.insert(process));
}

/// Lets a process that sleeps go on.
pub(super) fn wake(process: u64) {
    here(|world| world.asleep.remove(&process));
}

/// Begins a task; its number.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> u64 {
    here(|world| {
        let number = world.number();
        let place = Place {
            process: world.process,
            task: Some(Box::pin(task)),
        };
        world.tasks.insert(number, place);
        world.ready.insert(number);
        number
    })
}

/// Ends a task where it stands.
pub(super) fn give_up(number: u64) {
    let task = with(|world| {
        world.ready.remove(&number);
        world.tasks.remove(&number)
    });
    drop(task);
}

/// Ends every task of a process where it stands.
pub(super) fn kill(process: u64) {
    let tasks = here(|world| {
        let of = |place: &Place| place.process == process;
        let tasks = world.tasks.iter().filter(|(_, place)| of(place));
        let numbers: Vec<u64> = tasks.map(|(number, _)| *number).collect();
        let end = |number: &u64| {
            world.ready.remove(number);
            world.tasks.remove(number)
        };
        numbers.iter().map(end).collect::<Vec<_>>()
    });
    drop(tasks);
}

/// Over once the world's time is `until`.
pub(super) struct Sleep {
    until: Duration,
    timer: Option<u64>,
}

impl Sleep {
    pub(super) fn until(until: Duration) -> Self {
        Self { until, timer: None }
    }

    fn cancel(&mut self, world: &mut World) {
        if let Some(number) = self.timer.take() {
            world.timers.remove(&(self.until, number));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        here(|world| {
            self.cancel(world);
            if world.now >= self.until {
                return Poll::Ready(());
            }
            let number = world.number();
            world
                .timers
                .insert((self.until, number), cx.waker().clone());
            self.timer = Some(number);
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        with(|world| self.cancel(world));
    }
}

/// Over after so long.
pub(super) fn sleep(duration: Duration) -> Sleep {
    Sleep::until(now() + duration)
}

/// Lets other tasks go first.
pub(super) async fn step_aside() {
    let mut aside = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut aside, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
