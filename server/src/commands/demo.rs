//! `millstream demo`: a simulated market live, its recording replayed, and both compared.

mod serving;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::runtime::status::State;
use engine::runtime::{Backlog, Bindings, Job, JobSpec, Replay, Speed, Status};
use engine::{Error, Graph, SystemClock};
use sql::catalog::Overrides;

use crate::board::{Shared, Table, Tap};
use crate::exit::Failure;
use crate::folder::Folder;
use crate::progress::{Progress, arrived};
use crate::script::{self, Text};
use crate::supervise::supervise;
use crate::{bind, cli, figures, recordings, report, terminal};

use serving::{Serving, Shown};

const SCRIPT: &str = include_str!("../../../sql/examples/demo.sql");
/// Where it is in the repository.
const SCRIPT_FILE: &str = "sql/examples/demo.sql";
/// The table that is read.
const INPUT: &str = "trades";
/// The tables that are written.
const OUTPUTS: [&str; 3] = ["indicators", "bars", "alerts"];
/// The folder of the recording, below the data folder.
const RECORDING: &str = "recording";
/// Tells that a folder is the demo's own, to be emptied.
const MARK: &str = "millstream-demo";
/// Short, because rows are shown once they are committed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// How often the table is drawn in place, and how often a plain line is written.
const FRAME: Duration = Duration::from_millis(200);
const PLAIN: Duration = Duration::from_secs(2);

pub(super) async fn demo(arguments: &cli::Demo, started: Instant) -> Result<(), Failure> {
    let input = |error: Error| Failure::input(&error);
    let text = Text {
        file: "demo.sql".to_owned(),
        stem: "demo".to_owned(),
        sql: SCRIPT.to_owned(),
    };
    let options = options(arguments);
    let plan = script::plan_to_run(&text, &overrides(&options))?;
    let graph = Arc::clone(&plan.graph);
    let folder = empty(&arguments.data, &graph).await?;
    let owner = folder.owner(&text.stem).map_err(input)?;
    let bindings = bind::live(&graph, &owner, &folder.tables()).map_err(input)?;
    bind::declare(&graph).map_err(|error| Failure::run(&error))?;
    let board = Shared::default();
    let (serving, taps) = Serving::open(&arguments.data, &text.stem, &graph).await;
    let bindings = Bindings {
        targets: tapped(&graph, bindings.targets, &board),
        taps,
        ..bindings
    };
    let spec = JobSpec {
        graph: Arc::clone(&graph),
        commit_interval: COMMIT_INTERVAL,
        snapshot_after: Backlog::A_SECOND,
        digests: true,
    };
    let mut job = Job::start(spec, bindings, folder.log().clone(), Arc::new(SystemClock));
    let shown = Shown {
        name: &text.stem,
        sql: &text.sql,
        options: &options,
        home: &arguments.data,
    };
    let served = serving.map(|serving| serving.serve(&shown, plan, job.observer()));
    let mut screen = Screen::new(board, started);
    let every = if screen.watched {
        FRAME
    } else {
        PLAIN.min(FRAME)
    };
    let ended = supervise(&mut job, arguments.duration, every, |status| {
        screen.show(status);
    })
    .await;
    ended?;
    if let Some(served) = served {
        served.end().await;
    }
    let live = job.status();
    comparable(&live)?;
    terminal::print("\nThe live run has ended; its recording is replayed as fast as it goes.\n")?;
    let recording = arguments.data.join(RECORDING);
    let (again, elapsed) = Box::pin(replayed(&graph, &recording)).await?;
    if again.state != State::Finished {
        return Err(Failure::failed(
            "the replay was stopped before its end: there is nothing to compare",
        ));
    }
    conclude(&live, &again, elapsed, &arguments.data)
}

/// Refuses to compare a live run whose recording or whose results may lack something: a
/// difference would say nothing.
fn comparable(live: &Status) -> Result<(), Failure> {
    let ended = matches!(live.state, State::Stopped | State::Finished);
    if ended && live.unsettled.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        "the live run could not be ended as it should (see above): its recording is not complete, \
         so there is nothing to compare; remedy that and start the demo again",
    ))
}

/// Everything that is written goes below the data folder.
fn options(arguments: &cli::Demo) -> BTreeMap<String, String> {
    let below = |name: &str| arguments.data.join(name).to_string_lossy().into_owned();
    let path = |output: &str| (format!("{output}.path"), below(output));
    let mut options: BTreeMap<String, String> = OUTPUTS.into_iter().map(path).collect();
    options.insert(format!("{INPUT}.archive"), below(RECORDING));
    let figures = [("symbols", arguments.symbols), ("rate", arguments.rate)];
    let given = figures
        .into_iter()
        .filter_map(|(key, figure)| Some((key, figure?)));
    options.extend(given.map(|(key, figure)| (format!("{INPUT}.{key}"), figure.to_string())));
    options
}

fn overrides(options: &BTreeMap<String, String>) -> Overrides {
    let mut overrides = Overrides::default();
    for (name, value) in options {
        if let Some((table, key)) = name.split_once('.') {
            overrides.set(table, key, value);
        }
    }
    overrides
}

/// The demo's folder, emptied of what an earlier demo left. A folder that is something else's
/// is not touched.
async fn empty(path: &Path, graph: &Graph) -> Result<Folder, Failure> {
    let mark = path.join(MARK);
    let foreign =
        |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != "lock");
    let used = fs::read_dir(path).is_ok_and(|mut entries| entries.any(foreign));
    if used && !mark.exists() {
        let message = format!(
            "'{}' holds other files, which the demo would remove: choose another --data",
            path.display()
        );
        return Err(Failure::usage(&message));
    }
    let folder = Folder::open(path).map_err(|error| Failure::run(&error))?;
    let cleared = folder.clear(graph).await;
    cleared.map_err(|error| Failure::run(&error))?;
    let failed = |path: PathBuf, error: io::Error| {
        let message = format!("'{}' cannot be replaced", path.display());
        Failure::run(&Error::invalid(message).caused_by(error))
    };
    for name in OUTPUTS.into_iter().chain([RECORDING, serving::FOLDER]) {
        let path = path.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(path, error));
            }
            _ => {}
        }
    }
    fs::write(&mark, "").map_err(|error| failed(mark, error))?;
    Ok(folder)
}

/// The sinks, those of the shown tables tapped.
fn tapped(
    graph: &Graph,
    sinks: Vec<Option<Box<dyn engine::Sink>>>,
    board: &Shared,
) -> Vec<Option<Box<dyn engine::Sink>>> {
    let names = graph
        .targets
        .iter()
        .map(|target| target.stream.name.as_str());
    let tap = |name: &str, sink: Box<dyn engine::Sink>| -> Box<dyn engine::Sink> {
        let table = match name {
            "indicators" => Table::Indicators,
            "alerts" => Table::Alerts,
            _ => return sink,
        };
        Box::new(Tap {
            sink,
            table,
            board: board.clone(),
        })
    };
    names
        .zip(sinks)
        .map(|(name, sink)| sink.map(|sink| tap(name, sink)))
        .collect()
}

/// The live table, drawn in place, or plain lines.
struct Screen {
    board: Shared,
    started: Instant,
    watched: bool,
    /// Lines drawn before.
    drawn: u16,
    /// When the rate was last told, and how many rows had arrived.
    last: (Instant, u64),
    rate: String,
    said: Option<Instant>,
}

impl Screen {
    fn new(board: Shared, started: Instant) -> Self {
        Self {
            board,
            started,
            watched: io::stdout().is_terminal(),
            drawn: 0,
            last: (started, 0),
            rate: "-".to_owned(),
            said: None,
        }
    }

    /// Shows where the run stands. A terminal that is gone needs no table.
    fn show(&mut self, status: &Status) {
        let now = Instant::now();
        let rows = arrived(status);
        let since = now.duration_since(self.last.0);
        if since >= Duration::from_secs(1) {
            self.rate = figures::rate(rows - self.last.1, since);
            self.last = (now, rows);
        }
        let header = self.header(status, rows);
        if self.watched {
            let _ = self.draw(&header);
        } else if self
            .said
            .is_none_or(|said| now.duration_since(said) >= PLAIN)
            && rows > 0
        {
            self.said = Some(now);
            let _ = terminal::print(&header);
        }
    }

    fn header(&self, status: &Status, rows: u64) -> String {
        let late = status.tables.iter().map(|table| table.counts.late).sum();
        let latency = |share| figures::latency(status.latency.quantile(share));
        let mut text = format!(
            "up {}  in {}  {} rows/s  p50 {}  p99 {}  late {}  dead {}",
            figures::duration(self.started.elapsed()),
            figures::count(rows),
            self.rate.trim_end_matches("/s"),
            latency(0.5),
            latency(0.99),
            figures::count(late),
            figures::count(report::dead(status)),
        );
        if let Some(first) = self.board.lock().first() {
            let first = figures::duration(first.duration_since(self.started));
            let _ = write!(text, "  first row after {first}");
        }
        text.push('\n');
        text
    }

    fn draw(&mut self, header: &str) -> io::Result<()> {
        use crossterm::{cursor, execute, terminal};
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        let table = self
            .board
            .lock()
            .draw(usize::from(lines.saturating_sub(5)).max(1));
        let mut stdout = io::stdout().lock();
        if self.drawn > 0 {
            execute!(stdout, cursor::MoveToPreviousLine(self.drawn))?;
        }
        execute!(stdout, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        self.drawn = 0;
        for line in header.lines().chain(table.lines()) {
            let line: String = line
                .chars()
                .take(usize::from(columns).saturating_sub(1))
                .collect();
            io::Write::write_all(&mut stdout, format!("{line}\n").as_bytes())?;
            self.drawn += 1;
        }
        Ok(())
    }
}

/// The same graph over the recording; its rows go nowhere.
async fn replayed(graph: &Arc<Graph>, recording: &Path) -> Result<(Status, Duration), Failure> {
    let input = |error: Error| Failure::run(&error);
    let open = |input| recordings::open(input, recording, None, None);
    let opened: Vec<_> = graph
        .inputs
        .iter()
        .map(open)
        .collect::<engine::Result<_>>()
        .map_err(input)?;
    let rows = opened.iter().map(|opened| opened.rows).sum();
    let owner = connectors::Owner {
        job: "replay".to_owned(),
        shard: 0,
    };
    let nowhere = |target: &engine::graph::Target| {
        bind::nowhere(&target.stream.name, &target.stream.schema, &owner)
    };
    let targets = graph
        .targets
        .iter()
        .map(nowhere)
        .collect::<engine::Result<_>>()
        .map_err(input)?;
    let replay = Replay {
        graph: Arc::clone(graph),
        readers: opened.into_iter().map(|opened| opened.reader).collect(),
        targets,
        speed: Speed::Max,
        close: false,
    };
    let mut progress = Progress::new(Some(rows));
    let mut job = replay.start();
    let every = crate::progress::EVERY;
    supervise(&mut job, None, every, |status| progress.show(status)).await?;
    Ok((job.status(), progress.elapsed()))
}

/// Both runs side by side, and whether they gave the same rows.
fn conclude(live: &Status, again: &Status, elapsed: Duration, data: &Path) -> Result<(), Failure> {
    let counts =
        |status: &Status| -> Vec<_> { status.tables.iter().map(|table| table.counts).collect() };
    let equal =
        live.digests.is_some() && live.digests == again.digests && counts(live) == counts(again);
    let mut text = String::new();
    for (name, status) in [("live", live), ("replay", again)] {
        for table in &status.tables {
            let counts = table.counts;
            let _ = writeln!(
                text,
                "{name:7} {} in {}, late {}, future {}, dead {}",
                table.name,
                figures::count(counts.arrived),
                figures::count(counts.late),
                figures::count(counts.future),
                figures::count(counts.dead)
            );
        }
    }
    for (number, target) in live.targets.iter().enumerate() {
        for (name, status) in [("live", live), ("replay", again)] {
            let rows = status.targets.get(number).map_or(0, |target| target.rows);
            let digest = report::digest(status, number);
            let digest = digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
            let (table, rows) = (&target.name, figures::count(rows));
            let _ = writeln!(text, "{name:7} {table:11} out {rows:>12}  digest {digest}");
        }
    }
    let rate = figures::rate(arrived(again), elapsed);
    let _ = writeln!(
        text,
        "The replay took {}: {rate}.",
        figures::duration(elapsed)
    );
    text.push_str(if equal { "equal\n" } else { "DIFFERENT\n" });
    text.push_str(&next(data));
    terminal::print(&text)?;
    if equal {
        Ok(())
    } else {
        Err(Failure::negative())
    }
}

/// What to type next: the program as this demo was started, which need not be on the search path.
fn next(data: &Path) -> String {
    let program = env::args().next().unwrap_or_default();
    let program = match program.contains('/') {
        true => program.as_str(),
        false => "millstream",
    };
    let data = data.display();
    let mut text = format!(
        "\nNext:\n  {program} query \"SELECT symbol, window_start, close, vwap FROM '{data}/bars' \
         ORDER BY 1, 2\"\n"
    );
    if Path::new(SCRIPT_FILE).exists() {
        let _ = writeln!(text, "  {program} explain {SCRIPT_FILE}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_ended_as_it_should_is_compared() {
        let status = |state, unsettled: &[&str]| Status {
            state,
            unsettled: unsettled.iter().map(|note| (*note).to_owned()).collect(),
            ..Status::default()
        };
        assert_eq!(comparable(&status(State::Stopped, &[])), Ok(()));
        assert_eq!(comparable(&status(State::Finished, &[])), Ok(()));
        for refused in [
            status(State::Stopped, &["an epoch could not be committed"]),
            status(State::Running, &[]),
            status(State::Failed, &[]),
        ] {
            assert!(comparable(&refused).is_err(), "{refused:?}");
        }
    }
}
