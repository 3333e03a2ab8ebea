//! What a line of a `.slt` file does.
//!
//! DDL and `INSERT INTO … SELECT` make up the job, which starts with the first row. Then
//! `INSERT INTO t VALUES …` lets rows arrive, `ADVANCE t TO 'time'` sends a watermark, `END t`
//! ends a table, `CLOCK 'time'` sets the arrival time, `TICK 'time'` lets nothing arrive until then
//! and be noticed, and `EMIT sink`, `LATE t`, `DEAD t` and
//! `COUNTS t` return what came out since they were last asked. `SPLIT 'name'` says where the rows
//! after it come from: such a file begins with it, and is not run in four shards. `EXPLAIN INSERT
//! …` prints the graph.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast::SetExpr;
use engine::Graph;
use engine::intake::Counts;
use engine::testing::Harness;
use sql::catalog::Overrides;
use sql::compile::compile;
use sql::statement::{self, Insert, StatementKind};
use sql::{Error, Script};
use sqllogictest::{ColumnType, DB, DBOutput};

use super::shards::{self, Shards};
use super::values;

/// How a file is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it stands.
    Whole,
    /// One row a batch.
    Rows,
    /// With a snapshot and a restore before each record.
    Restored,
    /// In four shards by key.
    Sharded,
}

/// What [`Mode::Whole`] returned, for [`Mode::Sharded`] to be compared with.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) answers: Vec<Vec<Vec<String>>>,
    pub(super) asked: usize,
    pub(super) sharded: bool,
}

/// The type of a column: its letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter(pub(super) char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        "TIRPDBX?".contains(value).then_some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

/// What is wrong with a line.
#[derive(Debug)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl From<engine::Error> for Refused {
    fn from(error: engine::Error) -> Self {
        Self(error.chain())
    }
}

type Answer = Result<DBOutput<Letter>, Refused>;

/// One run of a file.
pub(super) struct Driver {
    mode: Mode,
    script: String,
    job: Option<Shards>,
    /// Where rows come from, once a file says it.
    split: Option<String>,
    recorded: Arc<Mutex<Recorded>>,
}

impl DB for Driver {
    type Error = Refused;
    type ColumnType = Letter;

    fn run(&mut self, sql: &str) -> Answer {
        let mut words = sql.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let name = words.next().unwrap_or_default();
        let time = || {
            let quoted = sql.split('\'').nth(1).unwrap_or_default();
            values::nanos(quoted).ok_or_else(|| Refused(format!("no time: {sql}")))
        };
        match verb {
            "ADVANCE" => {
                let time = time()?;
                self.with_table(name, |shards, table| shards.advance(table, time))
            }
            "END" => self.with_table(name, Shards::end),
            "CLOCK" => {
                let time = time()?;
                self.job()?.set_clock(time);
                Ok(DBOutput::StatementComplete(0))
            }
            "TICK" => {
                let time = time()?;
                self.job()?.tick(time)?;
                Ok(DBOutput::StatementComplete(0))
            }
            "SPLIT" => {
                self.split = sql.split('\'').nth(1).map(ToOwned::to_owned);
                Ok(DBOutput::StatementComplete(0))
            }
            "EMIT" => self.emit(name),
            "LATE" => self.rejected(name, Harness::late),
            "DEAD" => self.rejected(name, Harness::dead),
            "COUNTS" => self.counts(name),
            _ => self.statement(sql),
        }
    }
}

impl Driver {
    pub(super) fn new(mode: Mode, recorded: Arc<Mutex<Recorded>>) -> Self {
        recorded.lock().unwrap().asked = 0;
        Self {
            mode,
            script: String::new(),
            job: None,
            split: None,
            recorded,
        }
    }

    fn statement(&mut self, sql: &str) -> Answer {
        let parsed = statement::parse(sql).map_err(|errors| refused(&errors, 0))?;
        let first = parsed.into_iter().next().map(|statement| statement.kind);
        match first {
            Some(StatementKind::Insert(insert)) if is_rows(&insert) => self.insert(&insert),
            Some(StatementKind::Explain(_)) => self.explain(sql),
            _ => {
                self.compile(sql)?;
                self.script.push_str(sql);
                self.script.push_str("\n;\n");
                Ok(DBOutput::StatementComplete(0))
            }
        }
    }

    /// The script so far and this statement as a graph; errors are placed in the statement.
    fn compile(&self, sql: &str) -> Result<(Script, Graph), Refused> {
        let before = self.script.lines().count() as u64;
        let text = format!("{}{sql}", self.script);
        let script = Script::parse(&text, &Overrides::default());
        let script = script.map_err(|errors| refused(&errors, before))?;
        let inserts = [script.inserts.as_slice(), script.explained.as_slice()].concat();
        let graph = compile(&script.catalog, &inserts);
        let graph = graph.map_err(|errors| refused(&errors, before))?;
        Ok((script, graph))
    }

    fn explain(&self, sql: &str) -> Answer {
        let driver = Self {
            script: self
                .script
                .split("\n;\n")
                .filter(|s| !s.trim().starts_with("INSERT"))
                .fold(String::new(), |all, statement| {
                    if statement.is_empty() {
                        all
                    } else {
                        all + statement + "\n;\n"
                    }
                }),
            job: None,
            split: None,
            mode: self.mode,
            recorded: Arc::clone(&self.recorded),
        };
        let (_, graph) = driver.compile(sql)?;
        let rows = graph
            .to_string()
            .lines()
            .map(|line| vec![line.to_owned()])
            .collect();
        Ok(DBOutput::Rows {
            types: vec![Letter('T')],
            rows,
        })
    }

    fn job(&mut self) -> Result<&mut Shards, Refused> {
        if self.job.is_none() {
            let (script, graph) = self.compile("")?;
            let mode = match self.split {
                Some(_) => Mode::Whole,
                None => self.mode,
            };
            let shards = Shards::new(&script.catalog, Arc::new(graph), mode)?;
            if shards.count() > 1 {
                self.recorded.lock().unwrap().sharded = true;
            }
            self.job = Some(shards);
        }
        let mode = self.mode;
        let Some(shards) = &mut self.job else {
            return Err(Refused("no job".to_owned()));
        };
        if mode == Mode::Restored {
            shards.restore()?;
        }
        Ok(shards)
    }

    fn with_table(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Shards, usize) -> engine::Result<()>,
    ) -> Answer {
        let shards = self.job()?;
        let table = shards
            .table(name)
            .ok_or_else(|| Refused(format!("{name} is not read")))?;
        run(shards, table)?;
        Ok(DBOutput::StatementComplete(0))
    }

    fn insert(&mut self, insert: &Insert) -> Answer {
        let (mode, name) = (self.mode, sql::catalog::normalised(&insert.table));
        let split = self.split.clone().unwrap_or_else(|| "0".to_owned());
        self.with_table(&name, |shards, table| {
            let rows = values::rows(insert, &shards.source_schema(table))?;
            if mode != Mode::Rows {
                return shards.insert(table, &split, &rows);
            }
            let mut each = (0..rows.num_rows()).map(|row| rows.slice(row, 1));
            each.try_for_each(|row| shards.insert(table, &split, &row))
        })
    }

    fn emit(&mut self, name: &str) -> Answer {
        let shards = self.job()?;
        let target = shards
            .target(name)
            .ok_or_else(|| Refused(format!("{name} is not written")))?;
        let emitted = shards.gather(|harness| Ok(harness.emitted(target)))?;
        let schema = shards.target_schema(target);
        let types = schema
            .fields()
            .iter()
            .map(|f| Letter(values::letter(f.data_type())));
        let types: Vec<Letter> = types.collect();
        let key = shards.key_in(&schema);
        Ok(self.answer(types, &emitted, key.as_deref()))
    }

    fn rejected(
        &mut self,
        name: &str,
        take: impl Fn(&mut Harness, usize) -> Vec<RecordBatch>,
    ) -> Answer {
        let shards = self.job()?;
        let table = shards
            .table(name)
            .ok_or_else(|| Refused(format!("{name} is not read")))?;
        let mut rows = shards.gather(|harness| Ok(take(harness, table)))?;
        let dead = rows
            .iter()
            .flatten()
            .any(|batch| batch.schema().index_of("stage").is_ok());
        let hidden = |name: &str| {
            if dead {
                !["stage", "reason"].contains(&name)
            } else {
                name.starts_with('_')
            }
        };
        for batch in rows.iter_mut().flatten() {
            let visible: Vec<usize> = (0..batch.num_columns())
                .filter(|i| !hidden(batch.schema().field(*i).name()))
                .collect();
            *batch = batch.project(&visible).map_err(engine::Error::from)?;
        }
        let types = rows.iter().flatten().next().map_or(vec![], |batch| {
            let schema = batch.schema();
            schema
                .fields()
                .iter()
                .map(|f| Letter(values::letter(f.data_type())))
                .collect()
        });
        Ok(self.answer(types, &rows, None))
    }

    fn counts(&mut self, name: &str) -> Answer {
        let shards = self.job()?;
        let table = shards
            .table(name)
            .ok_or_else(|| Refused(format!("{name} is not read")))?;
        let Counts {
            arrived,
            accepted,
            late,
            future,
            dead,
        } = shards.counts(table);
        let row = [arrived, accepted, late, future, dead].map(|count| count.to_string());
        Ok(DBOutput::Rows {
            types: vec![Letter('I'); 5],
            rows: vec![row.into()],
        })
    }

    fn answer(
        &mut self,
        types: Vec<Letter>,
        shards: &[Vec<RecordBatch>],
        key: Option<&[usize]>,
    ) -> DBOutput<Letter> {
        let print = |batches: &Vec<RecordBatch>| batches.iter().flat_map(values::print).collect();
        let by_shard: Vec<Vec<Vec<String>>> = shards.iter().map(print).collect();
        let mut recorded = self.recorded.lock().unwrap();
        let rows = match self.mode {
            Mode::Sharded if by_shard.len() > 1 => {
                let asked = recorded.asked;
                let expected = recorded.answers.get(asked).cloned().unwrap_or_default();
                shards::in_order(expected, &by_shard, key)
            }
            _ => by_shard.concat(),
        };
        if self.mode == Mode::Whole {
            recorded.answers.push(rows.clone());
        }
        recorded.asked += 1;
        DBOutput::Rows { types, rows }
    }
}

fn is_rows(insert: &Insert) -> bool {
    matches!(insert.query.body.as_ref(), SetExpr::Values(_))
}

fn refused(errors: &[Error], lines_before: u64) -> Refused {
    let placed = errors.iter().map(|error| {
        let mut error = error.clone();
        error.span.start.line = error.span.start.line.saturating_sub(lines_before);
        error.to_string()
    });
    Refused(placed.collect::<Vec<_>>().join("\n"))
}
