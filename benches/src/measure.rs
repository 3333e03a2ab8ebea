//! Rounds of contestants in turn, and what they cost: wall clock and processor time.

use std::time::Instant;

use anyhow::{Context, Result};

/// Ticks a second in `/proc/self/stat`: fixed at 100 for programs by Linux on every platform
/// that Rust runs on.
const TICKS: f64 = 100.0;

/// Whose processor time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This thread's, to the nanosecond: for work that is done here.
    Thread,
    /// This process's, to 10 ms: for jobs with threads of their own.
    Process,
}

impl Scope {
    /// Seconds of processor time so far, user and system.
    pub fn processor_time(self) -> Result<f64> {
        match self {
            Self::Thread => {
                let text = std::fs::read_to_string("/proc/thread-self/schedstat")
                    .context("processor time is read from /proc, which only Linux has")?;
                let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse().ok());
                let nanoseconds: f64 = nanoseconds.context("/proc/thread-self/schedstat")?;
                Ok(nanoseconds / 1e9)
            }
            Self::Process => {
                let text = std::fs::read_to_string("/proc/self/stat")
                    .context("processor time is read from /proc, which only Linux has")?;
                // The name in parentheses may hold spaces; user and system time are the 14th
                // and 15th fields, the 12th and 13th behind it.
                let fields = text.rsplit(')').next().unwrap_or_default();
                let ticks = fields.split_whitespace().skip(11).take(2);
                let ticks = ticks.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
                Ok(ticks.iter().sum::<f64>() / TICKS)
            }
        }
    }
}

/// What one run cost.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Rows or messages.
    pub rows: usize,
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of processors.
    pub processor: f64,
}

impl Sample {
    /// Nanoseconds of processor time a row.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        self.processor * 1e9 / self.rows as f64
    }

    /// Nanoseconds by the clock a row.
    #[must_use]
    pub fn wall_nanoseconds(&self) -> f64 {
        self.wall * 1e9 / self.rows as f64
    }
}

/// Runs `work`, which does `rows` rows.
pub fn sample(scope: Scope, rows: usize, work: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let (started, before) = (Instant::now(), scope.processor_time()?);
    work()?;
    let processor = scope.processor_time()? - before;
    let wall = started.elapsed().as_secs_f64();
    Ok(Sample {
        rows,
        wall,
        processor,
    })
}

/// One of those compared: prepares, takes a [`sample`], tidies up.
pub struct Contestant<'a> {
    name: String,
    run: Box<dyn FnMut() -> Result<Sample> + 'a>,
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Contestant").field(&self.name).finish()
    }
}

/// A contestant of that name.
pub fn contestant<'a>(
    name: impl Into<String>,
    run: impl FnMut() -> Result<Sample> + 'a,
) -> Contestant<'a> {
    Contestant {
        name: name.into(),
        run: Box::new(run),
    }
}

/// The samples of one contestant.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// One a round.
    pub samples: Vec<Sample>,
}

impl Series {
    /// The least of a figure.
    #[must_use]
    pub fn best(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(figure).fold(f64::MAX, f64::min)
    }

    /// The middle of a figure.
    #[must_use]
    pub fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How many times as much processor time a row takes here as there, by the medians.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.median(Sample::nanoseconds) / other.median(Sample::nanoseconds)
    }

    /// How many times as long a row takes here as there, by the medians.
    #[must_use]
    pub fn wall_ratio(&self, other: &Self) -> f64 {
        self.median(Sample::wall_nanoseconds) / other.median(Sample::wall_nanoseconds)
    }
}

/// Lets the contestants run in turn, `rounds` times, so that a machine that slows down slows all
/// of them down.
pub fn contest(rounds: usize, mut contestants: Vec<Contestant<'_>>) -> Result<Vec<Series>> {
    let start = |contestant: &Contestant<'_>| Series {
        name: contestant.name.clone(),
        samples: vec![],
    };
    let mut series: Vec<Series> = contestants.iter().map(start).collect();
    for _ in 0..rounds {
        for (contestant, series) in contestants.iter_mut().zip(&mut series) {
            let sample = (contestant.run)().with_context(|| contestant.name.clone())?;
            series.samples.push(sample);
        }
    }
    Ok(series)
}

/// The most memory that a process, by its number or `self`, has had resident so far, in bytes.
pub fn peak_memory(process: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))
        .context("memory is read from /proc, which only Linux has")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.context("VmHWM in its status")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time_and_sleep_does_not() -> Result<()> {
        for scope in [Scope::Thread, Scope::Process] {
            let busy = sample(scope, 1, || {
                let until = Instant::now() + std::time::Duration::from_millis(300);
                while Instant::now() < until {}
                Ok(())
            })?;
            assert!(busy.wall >= 0.3 && busy.processor > 0.02, "{busy:?}");
        }
        let idle = sample(Scope::Thread, 1, || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            Ok(())
        })?;
        assert!(idle.wall >= 0.1 && idle.processor < 0.05, "{idle:?}");
        Ok(())
    }

    #[test]
    fn contestants_alternate() -> Result<()> {
        let order = std::cell::RefCell::new(vec![]);
        let run = |name: &'static str, wall| {
            let order = &order;
            contestant(name, move || {
                order.borrow_mut().push(name);
                let processor = wall;
                Ok(Sample {
                    rows: 2,
                    wall,
                    processor,
                })
            })
        };
        let series = contest(3, vec![run("a", 4.0), run("b", 2.0)])?;
        assert_eq!(*order.borrow(), ["a", "b", "a", "b", "a", "b"]);
        assert!((series[0].ratio(&series[1]) - 2.0).abs() < 1e-12);
        assert!((series[1].best(Sample::nanoseconds) - 1e9).abs() < 1e-3);
        Ok(())
    }
}
