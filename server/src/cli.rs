//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::runtime::Speed;

use crate::auth::Scope;
use crate::config::Flags;
use crate::exit::CODES;

/// Streaming SQL for market data: one text, live, replayed and recovered.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, after_help = CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Die at a step of a commit or a start, as by a kill: what the tests of crashes ask for.
    #[arg(long, hide = true, global = true, value_name = "POINT[:TIMES]")]
    pub(crate) crash_at: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the job of a script; the same command again goes on where it stopped
    Run(Run),
    /// Tell everything that is wrong with a script, without touching what it names
    #[command(after_help = format!("Example:\n  millstream check vwap.sql\n\n{CODES}"))]
    Check(Script),
    /// Print the steps of a script's job
    #[command(after_help = format!("Example:\n  millstream explain vwap.sql\n\n{CODES}"))]
    Explain(Script),
    /// Run one SELECT over files and over the late and dead rows of jobs
    Query(Query),
    /// Run the job of a script over recordings or Parquet files
    Replay(Replay),
    /// List the indicators, or describe one
    Indicators(Indicators),
    /// Serve jobs over HTTP: submit, watch, stop
    #[command(after_help = format!("Example:\n  millstream serve --data data/server --listen 127.0.0.1:8080\n\n\
        Flags win over the environment (MILLSTREAM_LISTEN), it over --config FILE.yaml.\n{CODES}"))]
    Serve(Flags),
    /// Print the settings of `serve`, all sources merged, secrets hidden
    Config(Flags),
    /// Make, list and revoke the API keys of a server
    #[command(after_help = format!("Examples:\n  millstream keys create --name desk --scope read\n  \
        millstream keys list\n\nA running server sees what is changed within seconds.\n{CODES}"))]
    Keys(Keys),
    /// Give dead rows back: to a job of a running server, or to one that `run` ran
    #[command(after_help = format!("Examples:\n  millstream redrive vwap --reason future\n  \
        millstream redrive vwap --table trades --where \"stage = 'source'\" --until 2024-01-02\n  \
        millstream redrive vwap.sql\n\n\
        Rows of trades$dead arrive again, each once whatever is asked again. The key of a server \
        that wants one is\nread from MILLSTREAM_KEY. Late rows are not dead: query \
        \"trades$late\".\n{CODES}"))]
    Redrive(Redrive),
    /// Keep the state of a job under a name, to start from it later, also with a changed script
    #[command(after_help = format!("Examples:\n  millstream savepoint create vwap before-change\n  \
        millstream savepoint create vwap.sql before-change\n  \
        millstream run vwap.sql --from savepoint:before-change\n\n\
        A job of a server is kept while it runs or rests, one that `run` ran when it has stopped. The \
        key of a\nserver that wants one is read from MILLSTREAM_KEY.\n{CODES}"))]
    Savepoint(Savepoint),
    /// Look into the log of a job, running or not: what it holds, whether it is sound
    #[command(after_help = format!("Examples:\n  millstream log show data/vwap\n  \
        millstream log verify data/vwap --json\n\n`verify` ends with 1 where something is damaged or \
        missing.\n{CODES}"))]
    Log(Log),
    /// Run a simulated market live, then replay its recording and compare
    Demo(Demo),
}

/// A script and what to change in it.
#[derive(Debug, Args)]
pub(crate) struct Script {
    /// The script
    #[arg(value_name = "FILE.sql")]
    pub(crate) file: PathBuf,
    /// Replace an option of a table
    #[arg(long = "option", value_name = "TABLE.KEY=VALUE")]
    pub(crate) options: Vec<String>,
}

/// `millstream run`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  millstream run vwap.sql\n  millstream run vwap.sql --duration 1m \
     --option trades.properties.bootstrap.servers=localhost:9092\n\n\
     Ctrl-C stops the job after a last commit, a second Ctrl-C at once.\n{CODES}"
))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) script: Script,
    /// Where the log, the state, and the late and dead rows are kept [default: ./data/<file>]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Forget the log and the state and start empty, as --from empty does; outputs and recordings
    /// stay
    #[arg(long, conflicts_with = "from")]
    pub(crate) fresh: bool,
    /// With what to start: state (what it stopped with), empty, recording (what the recordings of
    /// its tables give, should the state be lost), offset (what it stopped with, going past messages
    /// that Kafka has removed meanwhile), or savepoint:NAME
    #[arg(long, value_name = "WHERE", value_parser = from, default_value = "state")]
    pub(crate) from: Origin,
    /// Start from the savepoint though the script has no place for a part of its state, which is
    /// then given up
    #[arg(long)]
    pub(crate) allow_dropped_state: bool,
    /// Run the job though another process that does not answer has its data folder; that one can
    /// commit nothing any more
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Stop after this time, as Ctrl-C does
    #[arg(long, value_name = "20s", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Keep a digest of each output and print it in the end
    #[arg(long)]
    pub(crate) digest: bool,
}

/// `millstream query`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  millstream query \"SELECT symbol, rsi(close, 14) OVER (PARTITION BY symbol ORDER \
     BY ts) FROM 'bars.parquet'\"\n  millstream query 'SELECT reason, count(*) FROM \"trades$dead\" \
     GROUP BY reason' --data data/vwap\n  millstream query \"SELECT count(*) FROM \
     'data/demo/recording/trades' WHERE _kind = 0\"\n\n\
     A recording holds more than its table's rows: those with _kind = 0 are the rows, the others \
     are marks of time and records that could not be read.\n{CODES}"
))]
pub(crate) struct Query {
    /// The query
    #[arg(value_name = "SELECT")]
    pub(crate) text: String,
    /// The data folder whose tables (trades$late, trades$dead) can be read by name
    /// [default: those of ./data that have the name once]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How rows are written [default: by the name of the output, else table]
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// The file to write; it appears when it is whole
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Drawn as a table
    Table,
    /// One object a line
    Json,
    /// With a header
    Csv,
    /// Parquet, zstd
    Parquet,
}

/// `millstream replay`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  millstream replay demo.sql --source trades=data/demo/recording/trades\n  \
     millstream replay vwap.sql --source trades='ticks/*.parquet' --from 2024-01-02 --output out\n\n\
     A recording is replayed by arrival, rows of any other Parquet by event time.\n\
     Outputs go nowhere, or below --output; never to where the script says.\n{CODES}"
))]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) script: Script,
    /// Where the rows of a table come from: a recording, or Parquet files
    #[arg(long = "source", value_name = "TABLE=PATH", required = true)]
    pub(crate) sources: Vec<String>,
    /// Leave out rows before this instant: arrival of recordings, event time of files
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) from: Option<i64>,
    /// Leave out rows at and after this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) to: Option<i64>,
    /// How fast recorded time passes: max, realtime, or a multiple such as 10x
    #[arg(long, default_value = "max", value_parser = speed)]
    pub(crate) speed: Speed,
    /// Write each output to DIR/<table>/*.parquet
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Whether open windows close at the end [default: stop for recordings, close for files]
    #[arg(long)]
    pub(crate) end: Option<End>,
}

/// How a replay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    /// As a job that is stopped: nothing comes after the last row
    Stop,
    /// As a bounded input: open windows close
    Close,
}

/// `millstream keys`.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
    /// A YAML file with the server's settings [environment: `MILLSTREAM_CONFIG`]
    #[arg(long, global = true, value_name = "FILE.yaml")]
    pub(crate) config: Option<PathBuf>,
    /// The server's data folder [default: data/server]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl Keys {
    /// The settings that are given.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data: self.data.clone(),
            ..Flags::default()
        }
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its text is printed once
    Create {
        /// What you call it: who or what uses it
        #[arg(long)]
        name: String,
        /// What it may; several times for several rights
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
    },
    /// List the keys, without their texts
    List,
    /// Revoke a key, for good
    Revoke {
        /// Its id
        id: String,
    },
}

/// With what a job starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What it stopped with.
    State,
    /// Nothing.
    Empty,
    /// What the recordings of its tables give.
    Recording,
    /// What it stopped with, past what is gone.
    Offset,
    /// What was kept under a name.
    Savepoint(String),
}

/// A job of a running server, or one that `run` ran.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// A job of a running server, by its name or its id; or the script of a job that `run` ran and
    /// that does not run now
    #[arg(value_name = "JOB|FILE.sql")]
    pub(crate) job: String,
    /// Of a script: its data folder [default: ./data/<file>]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Of a script: an option of a table that it was run with
    #[arg(long = "option", value_name = "TABLE.KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// The answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Whose {
    /// The script, where it is one: no job's name has a dot in it.
    pub(crate) fn script(&self) -> Option<Script> {
        let file = PathBuf::from(&self.job);
        let is_script = file.extension().is_some_and(|extension| extension == "sql");
        is_script.then(|| Script {
            file,
            options: self.options.clone(),
        })
    }
}

/// `millstream savepoint`.
#[derive(Debug, Args)]
pub(crate) struct Savepoint {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: SavepointCommand,
}

/// What to do with savepoints.
#[derive(Debug, Subcommand)]
pub(crate) enum SavepointCommand {
    /// Keep the state as it is now
    Create {
        #[command(flatten)]
        whose: Whose,
        /// What it is to be called
        name: String,
    },
    /// List the savepoints of a job
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// Remove one, for good
    Remove {
        #[command(flatten)]
        whose: Whose,
        /// What it is called
        name: String,
    },
}

/// `millstream redrive`.
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The table; needed where the job reads several
    #[arg(long)]
    pub(crate) table: Option<String>,
    /// Only rows whose reason has this in it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only rows that fulfil this condition over the columns of the dead rows
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<String>,
    /// Only rows that arrived before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) until: Option<i64>,
    /// Also rows that were given back before
    #[arg(long)]
    pub(crate) again: bool,
}

/// `millstream log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

/// What to do with a log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show its records and snapshots
    Show(LogOf),
    /// Read all of it, check it, and tell what is damaged or missing and what to do
    Verify(LogOf),
}

/// A log to look into.
#[derive(Debug, Args)]
pub(crate) struct LogOf {
    /// The job's data folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Everything that was found, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `millstream indicators`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  millstream indicators\n  millstream indicators rsi\n\n{CODES}"))]
pub(crate) struct Indicators {
    /// The one to describe
    pub(crate) name: Option<String>,
}

/// `millstream demo`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Example:\n  millstream demo --duration 20s --symbols 100 --rate 50000\n\n\
     It ends with 0 where the replay gave the same rows as the live run, with 1 where not.\n{CODES}"
))]
pub(crate) struct Demo {
    /// End after this time [default: at Ctrl-C]
    #[arg(long, value_name = "20s", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// How many symbols trade
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) symbols: Option<u32>,
    /// Trades a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// The folder for everything that is written; a demo that ran there before is removed
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub(crate) data: PathBuf,
}

/// `20s`, `500ms`, `2 min`.
fn duration(text: &str) -> Result<Duration, String> {
    let positive = sql::catalog::parse_duration(text).filter(|duration| !duration.is_zero());
    positive.ok_or_else(|| "write a time such as 20s, 500ms or 2min".to_owned())
}

/// `state`, `empty`, `recording`, `offset`, `savepoint:NAME`.
fn from(text: &str) -> Result<Origin, String> {
    match (text, text.split_once(':')) {
        ("state", _) => Ok(Origin::State),
        ("empty", _) => Ok(Origin::Empty),
        ("recording", _) => Ok(Origin::Recording),
        ("offset", _) => Ok(Origin::Offset),
        (_, Some(("savepoint", name))) if !name.is_empty() => {
            Ok(Origin::Savepoint(name.to_owned()))
        }
        _ => Err("write state, empty, recording, offset or savepoint:NAME".to_owned()),
    }
}

/// `2024-01-02`, `2024-01-02T14:30:00Z`: nanoseconds.
pub(crate) fn instant(text: &str) -> Result<i64, String> {
    arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text)
        .map_err(|_| "write an instant such as 2024-01-02 or 2024-01-02T14:30:00Z".to_owned())
}

/// `max`, `realtime`, `10x`.
pub(crate) fn speed(text: &str) -> Result<Speed, String> {
    let times = match text {
        "max" => return Ok(Speed::Max),
        "realtime" => Some(1.0),
        other => other.strip_suffix('x').and_then(|times| times.parse().ok()),
    };
    times
        .filter(|times: &f64| times.is_finite() && *times > 0.0)
        .map(Speed::Times)
        .ok_or_else(|| "write max, realtime, or a multiple such as 10x".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_read() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2 min"), Ok(Duration::from_mins(2)));
        assert!(
            ["", "s", "20", "0s", "-1s", "ein"]
                .iter()
                .all(|text| duration(text).is_err())
        );
        assert_eq!(speed("10x"), Ok(Speed::Times(10.0)));
        assert_eq!(speed("realtime"), Ok(Speed::Times(1.0)));
        assert!(
            ["", "x", "-1x", "NaNx", "infx", "0x", "10"]
                .iter()
                .all(|text| speed(text).is_err())
        );
        assert_eq!(from("savepoint:a"), Ok(Origin::Savepoint("a".to_owned())));
        assert_eq!(from("recording"), Ok(Origin::Recording));
        assert!(
            ["", "savepoint", "savepoint:", "a:b", "States"]
                .iter()
                .all(|text| from(text).is_err())
        );
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(1_000_000_000));
        assert_eq!(instant("1970-01-02"), Ok(86_400_000_000_000));
        assert!(instant("tomorrow").is_err());
    }
}
