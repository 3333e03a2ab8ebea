//! What a log is bound to, as text: whatever its state and its journal depend on.

use std::fmt::{self, Display};
use std::ops::Range;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::{EventTime, Graph, Input, Port, Target, Timing};
use crate::stream::{is_secret, url_secrets};

/// Options of a source, or beginnings of their keys, that say how its rows are fetched, how many,
/// or from where on; not what they mean. They may change from start to start.
const FETCHING: [&str; 9] = [
    "body.limit",
    "headers.",
    "heartbeat",
    "interval",
    "mode",
    "properties.",
    "rows",
    "scan.",
    "timeout",
];

/// A graph as a log remembers it: two that print alike may go on from each other's state. EXPLAIN
/// leaves out what a reader has before his eyes; here every table has its columns with their types
/// and how they are computed, its timing and its options, without secrets.
#[derive(Debug)]
struct Plan<'a>(&'a Graph);

impl Graph {
    /// The text that tells this job from another over the same log, by lines that can be compared.
    #[must_use]
    pub fn plan(&self) -> String {
        Plan(self).to_string()
    }

    /// What the plan calls a port: a table by its name, a step by its number.
    #[must_use]
    pub fn name_of(&self, port: Port) -> String {
        match port {
            Port::Input(table) => self.inputs[table].stream.name.clone(),
            Port::Node(step) => format!("step {step}"),
        }
    }
}

impl Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(graph) = self;
        for (_, line) in graph.inputs.iter().flat_map(table_lines) {
            writeln!(f, "{line}")?;
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|from| graph.name_of(*from));
            let inputs = inputs.collect::<Vec<_>>().join(", ");
            writeln!(f, "step {number} of {inputs}: {}", node.spec)?;
        }
        let mut targets = graph.targets.iter();
        targets.try_for_each(|to| target(f, graph, to))
    }
}

/// What a line about a table says something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// What the table itself remembers: how far it is read, its watermark, its keys.
    State,
    /// The columns that its readers see.
    Columns,
    /// Both.
    Both,
    /// Neither.
    Archive,
}

/// A table, by lines.
pub(super) fn table_lines(input: &Input) -> Vec<(About, String)> {
    let Input {
        stream,
        schema,
        columns,
        event_time,
        timing,
        archive,
    } = input;
    let name = &stream.name;
    let mut lines = vec![(About::State, format!("table {name} ({})", stream.connector))];
    let mut line = |about: About, text: String| lines.push((about, format!("{name}: {text}")));
    for (key, value) in &stream.options {
        if !is_fetching(key) && !is_secret(key) {
            line(About::State, format!("option {key} = '{}'", shown(value)));
        }
    }
    for field in stream.schema.fields() {
        line(About::Columns, format!("reads {}", column(field)));
    }
    if !stream.key.is_empty() {
        let key = stream.key.join(", ");
        line(About::State, format!("every key ({key}) on one split"));
    }
    for metadata in &stream.metadata {
        let field = column(&metadata.field);
        line(
            About::Columns,
            format!("reads {field} from {}", metadata.key),
        );
    }
    let time = event_time.map(|time| time.column);
    for (number, (field, expression)) in schema.fields().iter().zip(columns).enumerate() {
        let about = match Some(number) == time || stream.key.contains(field.name()) {
            true => About::Both,
            false => About::Columns,
        };
        line(about, format!("column {} = {expression}", column(field)));
    }
    if let Some(EventTime { column, delay }) = event_time {
        let column = schema.field(*column).name();
        line(About::State, format!("watermark {column} - {delay:?}"));
    }
    let Timing {
        idle_timeout,
        max_future_skew,
        advance_in_silence,
    } = timing;
    let silence = match advance_in_silence {
        true => "advance",
        false => "hold",
    };
    let (idle, skew) = (duration(*idle_timeout), duration(*max_future_skew));
    line(About::State, format!("idle-timeout {idle}"));
    line(About::State, format!("max-future-skew {skew}"));
    line(About::State, format!("silence {silence}"));
    line(
        About::Archive,
        match archive {
            Some(path) => format!("archive '{path}'"),
            None => "no archive".to_owned(),
        },
    );
    lines
}

fn is_fetching(key: &str) -> bool {
    let is = |of: &&str| key == *of || (of.ends_with('.') && key.starts_with(*of));
    FETCHING.iter().any(is)
}

fn duration(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "none".to_owned(), |duration| format!("{duration:?}"))
}

fn target(f: &mut fmt::Formatter<'_>, graph: &Graph, target: &Target) -> fmt::Result {
    let Target {
        stream,
        from,
        columns,
        // When rows are shown says nothing of the state.
        shown: _,
    } = target;
    let (name, from) = (&stream.name, graph.name_of(*from));
    writeln!(f, "sink {name} ({}) of {from}", stream.connector)?;
    for (field, expression) in stream.schema.fields().iter().zip(columns) {
        writeln!(f, "{name}: writes {} = {expression}", column(field))?;
    }
    match stream.key.is_empty() {
        true => Ok(()),
        false => writeln!(f, "{name}: key {}", stream.key.join(", ")),
    }
}

pub(super) fn column(field: &arrow::datatypes::Field) -> String {
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{} {}{not_null}", field.name(), field.data_type())
}

/// A value in one line. Of a URL, whoever signs in is left out, and of its query only a short
/// hash is kept: it may hold a key.
fn shown(value: &str) -> String {
    let line = value.replace(['\n', '\r'], " ");
    let Some(start) = line.find("://").map(|scheme| scheme + 3) else {
        return line;
    };
    let signs_in =
        |hidden: &Range<usize>| hidden.start == start && line[hidden.end..].starts_with('@');
    let host = url_secrets(&line).into_iter().find(signs_in);
    let host = host.map_or(start, |hidden| hidden.end + 1);
    let (scheme, rest) = (&line[..start], &line[host..]);
    match rest.split_once('?') {
        Some((place, query)) => {
            let hash = xxh3_64(query.as_bytes()) as u32;
            format!("{scheme}{place}?#{hash:08x}")
        }
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::expression::{Column, Expression};
    use crate::stream::{MetadataColumn, StreamSpec};

    fn graph(change: impl FnOnce(&mut Input)) -> Graph {
        let fields = [("ts", DataType::Int64), ("volume", DataType::Int64)];
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let options = [
            ("topic", "trades"),
            ("url", "wss://me:pass@host/feed?symbol=A&key=hidden"),
            ("properties.bootstrap.servers", "a:9092"),
            ("scan.startup.mode", "earliest-offset"),
            ("my.password", "hidden"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let column = |index: usize, name: &str| {
            Arc::new(Column {
                index,
                name: name.to_owned(),
                data_type: DataType::Int64,
            }) as Arc<dyn Expression>
        };
        let mut input = Input {
            stream: StreamSpec {
                name: "t".to_owned(),
                connector: "kafka".to_owned(),
                options: options.into(),
                schema: Arc::clone(&schema),
                metadata: vec![MetadataColumn {
                    field: Arc::new(Field::new("offset", DataType::Int64, true)),
                    key: "offset".to_owned(),
                }],
                key: vec![],
            },
            schema,
            columns: vec![column(0, "ts"), column(1, "volume")],
            event_time: Some(EventTime {
                column: 0,
                delay: Duration::from_secs(2),
            }),
            timing: Timing::default(),
            archive: None,
        };
        change(&mut input);
        let stream = StreamSpec {
            name: "out".to_owned(),
            key: vec!["ts".to_owned()],
            ..input.stream.clone()
        };
        let mut graph = Graph::default();
        let from = graph.add_input(input);
        graph.targets.push(Target::new(stream, from));
        graph
    }

    #[test]
    fn whatever_the_state_depends_on_is_in_the_plan() {
        type Change = fn(&mut Input);
        let same = graph(|_| {}).plan();
        assert_eq!(same, graph(|_| {}).plan());
        assert!(same.contains("t: reads volume Int64\n"), "{same}");
        let changes: [Change; 12] = [
            |i| i.stream.key = vec!["volume".to_owned()],
            |i| {
                let fields = [("ts", DataType::Int64), ("volume", DataType::Float64)];
                let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
                i.stream.schema = Arc::new(Schema::new(fields.to_vec()));
            },
            |i| {
                let fields = [("ts", DataType::Int64), ("volume", DataType::Int64)];
                let fields = fields.map(|(name, kind)| Field::new(name, kind, name == "ts"));
                i.schema = Arc::new(Schema::new(fields.to_vec()));
            },
            |i| i.columns.swap(0, 1),
            |i| i.stream.metadata[0].key = "partition".to_owned(),
            |i| i.event_time = None,
            |i| {
                let delay = Duration::from_secs(3);
                i.event_time = Some(EventTime { column: 0, delay });
            },
            |i| i.timing.idle_timeout = None,
            |i| i.timing.max_future_skew = Some(Duration::from_secs(1)),
            |i| i.timing.advance_in_silence = true,
            |i| i.archive = Some("recording".to_owned()),
            |i| {
                i.stream.options.insert("topic".into(), "other".into());
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_ne!(same, graph(change).plan(), "{number}");
        }
    }

    #[test]
    fn secrets_and_how_rows_are_fetched_are_not() {
        let same = graph(|_| {}).plan();
        assert!(!same.contains("hidden") && !same.contains("pass"), "{same}");
        assert!(
            same.contains("t: option url = 'wss://host/feed?#"),
            "{same}"
        );
        let changed = graph(|i| {
            let changes = [
                ("url", "wss://you:word@host/feed?symbol=A&key=hidden"),
                ("properties.bootstrap.servers", "b:9092"),
                ("scan.startup.mode", "latest-offset"),
                ("my.password", "other"),
            ];
            for (key, value) in changes {
                i.stream.options.insert(key.to_owned(), value.to_owned());
            }
        });
        assert_eq!(same, changed.plan());
        let query = graph(|i| {
            let url = "wss://me:pass@host/feed?symbol=B&key=hidden";
            i.stream.options.insert("url".to_owned(), url.to_owned());
        });
        assert_ne!(same, query.plan());
    }
}
