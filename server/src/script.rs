//! From a file with SQL to a graph, and every error in it as the reader wants to see it.

pub(crate) mod mask;
mod options;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use engine::{Error, Graph};
use sql::Script;
use sql::catalog::Overrides;

use crate::exit::Failure;
use crate::places;

/// Longest piece of a source line that is shown, in characters.
const WIDTH: usize = 120;
/// The remedy of a script without an `INSERT`.
const INSERT: &str = "write INSERT INTO table SELECT …";

/// A script as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// What errors call it.
    pub(crate) file: String,
    /// The file's name without its ending: the job's name unless the script sets one.
    pub(crate) stem: String,
    /// The SQL.
    pub(crate) sql: String,
}

impl Text {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::input(&Error::not_found(format!("cannot read '{file}'")).caused_by(error))
        })?;
        let sql = String::from_utf8(bytes).map_err(|error| {
            let place = error.utf8_error().valid_up_to();
            Failure::usage(&format!("'{file}' is no UTF-8 text from byte {place} on"))
        })?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            stem: stem.into_owned(),
            file,
            sql,
        })
    }
}

/// A script that can run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What it declares.
    pub(crate) script: Script,
    /// What it does.
    pub(crate) graph: Arc<Graph>,
    /// What it only asks to be explained, a graph each: none of it is run.
    pub(crate) explained: Vec<Graph>,
}

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// At places of the text or of its options.
    Errors(Vec<sql::Error>),
    /// It inserts nothing.
    Idle,
    /// It only explains.
    OnlyExplains,
}

impl Fault {
    /// The errors, for readers that were not given a file.
    pub(crate) fn errors(self) -> Vec<sql::Error> {
        let error = sql::Error::of_whole;
        match self {
            Self::Errors(errors) => errors,
            Self::Idle => vec![error("the text inserts nothing").hint(INSERT)],
            Self::OnlyExplains => {
                let error = error("the text only explains and inserts nothing");
                vec![error.hint("write INSERT INTO without EXPLAIN before it")]
            }
        }
    }
}

/// The plan of a script that is to be run: it must insert something.
pub(crate) fn plan_to_run(text: &Text, overrides: &Overrides) -> Result<Plan, Failure> {
    compile_to_run(&text.sql, overrides).map_err(|fault| told(text, fault))
}

/// The graphs of a script, or everything that is wrong with it.
pub(crate) fn plan(text: &Text, overrides: &Overrides) -> Result<Plan, Failure> {
    compile(&text.sql, overrides).map_err(|fault| told(text, fault))
}

/// What is wrong with a file, as the command line tells it.
fn told(text: &Text, fault: Fault) -> Failure {
    let file = &text.file;
    match fault {
        Fault::Errors(errors) => Failure::script(render(text, errors)),
        Fault::Idle => Failure::usage(&format!("'{file}' inserts nothing: {INSERT}")),
        Fault::OnlyExplains => Failure::usage(&format!(
            "'{file}' only explains and inserts nothing: `millstream explain` tells its steps, \
             INSERT INTO without EXPLAIN before it is run"
        )),
    }
}

/// [`compile`], of a text that is to be run: it must insert something.
pub(crate) fn compile_to_run(sql: &str, overrides: &Overrides) -> Result<Plan, Fault> {
    let plan = compile(sql, overrides)?;
    match plan.graph.targets.is_empty() {
        true => Err(Fault::OnlyExplains),
        false => Ok(plan),
    }
}

/// The graph of all `INSERT`s and that of every `EXPLAIN INSERT`, or all errors that are
/// independent of each other: those of the text, of the queries, of the connectors' options, and
/// of tables that share files.
pub(crate) fn compile(sql: &str, overrides: &Overrides) -> Result<Plan, Fault> {
    let (script, mut errors) = Script::read(sql, overrides);
    let explained = script.explained.iter().map(std::slice::from_ref);
    let (mut graphs, mut wrong) = (vec![], vec![]);
    for inserts in std::iter::once(script.inserts.as_slice()).chain(explained) {
        match sql::compile(&script.catalog, inserts) {
            Ok(graph) => graphs.push(graph),
            Err(errors) => wrong.extend(errors),
        }
    }
    errors.extend(options::errors(&script));
    errors.append(&mut wrong);
    if errors.is_empty() {
        let tables = &script.catalog.tables;
        errors = graphs
            .iter()
            .flat_map(|graph| places::shared(tables, graph))
            .collect();
    }
    if !errors.is_empty() {
        // A statement that could not be read may be an INSERT.
        let idle = script.inserts.is_empty() && script.explained.is_empty();
        if idle && !script.catalog.incomplete {
            errors.push(sql::Error::of_whole("the script inserts nothing").hint(INSERT));
        }
        return Err(Fault::Errors(errors));
    }
    let mut graphs = graphs.into_iter();
    let graph = graphs.next().unwrap_or_default();
    let explained: Vec<Graph> = graphs.collect();
    if graph.targets.is_empty() && explained.is_empty() {
        return Err(Fault::Idle);
    }
    Ok(Plan {
        script,
        graph: Arc::new(graph),
        explained,
    })
}

/// The overrides that the command line gives.
pub(crate) fn overrides(options: &[String]) -> Result<Overrides, Failure> {
    Overrides::parse(options).map_err(|errors| Failure::script(messages(&errors)))
}

/// Errors of a query on the command line.
pub(crate) fn render_query(query: &str, errors: Vec<sql::Error>) -> String {
    let text = Text {
        file: "query".to_owned(),
        stem: String::new(),
        sql: query.to_owned(),
    };
    render(&text, errors)
}

/// All errors in the order of the text, each with its line and what it points at.
fn render(text: &Text, mut errors: Vec<sql::Error>) -> String {
    errors.sort_by_key(|error| error.span.start);
    let text = &Text {
        sql: mask::masked(&text.sql),
        ..text.clone()
    };
    let mut told = BTreeSet::new();
    let mut rendered = String::new();
    for error in &errors {
        let one = render_one(text, error);
        if told.insert(one.clone()) {
            rendered.push_str(&one);
            rendered.push('\n');
        }
    }
    let count = told.len();
    let plural = if count == 1 { "" } else { "s" };
    let _ = write!(rendered, "{}: {count} error{plural}", text.file);
    rendered
}

fn render_one(text: &Text, error: &sql::Error) -> String {
    let mut rendered = format!("error: {}\n", error.message);
    let (start, end) = (error.span.start, error.span.end);
    let line = usize::try_from(start.line)
        .ok()
        .and_then(|line| line.checked_sub(1));
    if let Some(line) = line.and_then(|line| text.sql.lines().nth(line)) {
        let column = usize::try_from(start.column).unwrap_or(1).max(1) - 1;
        let length = line.chars().count();
        let to = if end.line == start.line {
            usize::try_from(end.column)
                .unwrap_or(column)
                .saturating_sub(1)
        } else {
            length
        };
        // A very long line is shown around the place alone.
        let from = column.saturating_sub(WIDTH / 2);
        let shown: String = line.chars().skip(from).take(WIDTH).collect();
        let shown = shown.replace('\t', " ");
        let carets = to.min(from + WIDTH).saturating_sub(column).max(1);
        let number = start.line.to_string();
        let gutter = " ".repeat(number.len());
        let _ = writeln!(
            rendered,
            "{gutter}--> {}:{}:{}",
            text.file, start.line, start.column
        );
        let _ = writeln!(rendered, "{gutter} |\n{number} | {}", shown.trim_end());
        let indent = " ".repeat(column - from);
        let _ = writeln!(rendered, "{gutter} | {indent}{}", "^".repeat(carets));
    }
    if let Some(option) = &error.option {
        let _ = writeln!(rendered, " --> --option {option}");
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(rendered, "help: {hint}");
    }
    rendered
}

fn messages(errors: &[sql::Error]) -> String {
    let lines = errors.iter().map(|error| format!("error: {error}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(sql: &str) -> String {
        let text = Text {
            file: "job.sql".to_owned(),
            stem: "job".to_owned(),
            sql: sql.to_owned(),
        };
        let (_, errors) = Script::read(sql, &Overrides::default());
        render(&text, errors)
    }

    #[test]
    fn an_error_points_at_its_place() {
        let text = "SET 'commit.interval' = '5 s';\nSET 'comit.interval' = '5 s';";
        let expected = "error: no setting is called 'comit.interval'\n --> job.sql:2:5\n  |\n\
                        2 | SET 'comit.interval' = '5 s';\n  |     ^^^^^^^^^^^^^^^^\n\
                        help: did you mean 'commit.interval'?\n\njob.sql: 1 error";
        assert_eq!(rendered(text), expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!(
            "{}SET 'comit.interval' = '5 s';{}",
            " ".repeat(900),
            " ".repeat(900)
        );
        let rendered = rendered(&text);
        assert!(
            rendered
                .lines()
                .all(|line| line.chars().count() < WIDTH + 10),
            "{rendered}"
        );
        let lines: Vec<&str> = rendered.lines().collect();
        let caret = lines[4].find('^').unwrap();
        assert_eq!(&lines[3][caret..caret + 7], "'comit.");
    }
}
