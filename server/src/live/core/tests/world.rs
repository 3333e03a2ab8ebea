//! A hub, its readers, kills and restarts; and what is so, kept as a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use engine::{Epoch, Snapshot};
use proptest::prelude::*;
use serde_json::json;
use sql::Filter;

use super::reader::{Reader, Row, Told};
use crate::live::core::{Core, Join, Sizes, Table};
use crate::live::cursor::{Cursor, Place};
use crate::live::latest::Keys;
use crate::live::ring::Bounds;
use crate::live::view::{Choice, Mode, View};

const READERS: usize = 4;
const PAGE: usize = 6;
/// More than there are.
const KEYS: usize = 1_000;

/// Everything; a condition and some columns; changes; changes of a condition; keys; changes of keys
/// and a condition.
const VIEWS: [(Option<&str>, &[usize], Mode); 6] = [
    (None, &[0, 1, 2], Mode::Rows),
    (Some("n % 2 = 0"), &[0, 1], Mode::Rows),
    (None, &[0, 1, 2], Mode::Changes),
    (Some("n % 3 > 0"), &[0, 2], Mode::Changes),
    (Some("k IN ('K1', 'K2')"), &[0, 1, 2], Mode::Rows),
    (Some("n % 2 = 0 AND k <> 'K1'"), &[0, 1, 2], Mode::Changes),
];

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Rows of the epoch under way.
    Publish(Vec<(u8, i64)>),
    /// The epoch ends; it is committed later.
    Barrier,
    /// The oldest epoch that has ended is committed.
    Commit,
    Flush,
    Forward,
    Subscribe {
        reader: usize,
        view: usize,
    },
    /// Gone, and back with its cursor.
    Resume {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
    Read {
        reader: usize,
        frames: usize,
    },
    /// A snapshot of the shard after the epoch that ended last.
    Snapshot,
    /// What is not committed is lost, and is other rows in the next life.
    Kill,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reader = || 0..READERS;
    let step = prop_oneof![
        12 => prop::collection::vec((0..4_u8, 0..40_i64), 1..9).prop_map(Step::Publish),
        4 => Just(Step::Barrier),
        4 => Just(Step::Commit),
        8 => Just(Step::Flush),
        1 => Just(Step::Forward),
        5 => (reader(), 0..VIEWS.len()).prop_map(|(reader, view)| Step::Subscribe { reader, view }),
        4 => reader().prop_map(|reader| Step::Resume { reader }),
        1 => reader().prop_map(|reader| Step::Leave { reader }),
        8 => (reader(), 1..5_usize).prop_map(|(reader, frames)| Step::Read { reader, frames }),
        1 => Just(Step::Snapshot),
        2 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..80)
}

/// A row of the list.
type Fact = (Place, u8, i64);

pub(super) struct World {
    pub(super) core: Core,
    pub(super) readers: Vec<Reader>,
    keyed: bool,
    after_commit: bool,
    generation: u64,
    /// Everything given, in order; and per life that is over, what was told then and is no more.
    facts: Vec<Fact>,
    epoch: u64,
    committed: u64,
    snapshot: Option<(u64, Snapshot)>,
    next: u64,
}

fn table(keyed: bool, after_commit: bool) -> Table {
    Table {
        stream: "t".to_owned(),
        schema: super::rows(&[]).schema(),
        key: if keyed { vec![0] } else { vec![] },
        key_names: if keyed { vec!["k".to_owned()] } else { vec![] },
        after_commit,
    }
}

fn core(keyed: bool, after_commit: bool, generation: u64, keys: usize) -> Core {
    let sizes = Sizes {
        ring: Bounds {
            rows: 60,
            bytes: 1 << 20,
        },
        keys,
        page_rows: PAGE,
        frame_bytes: 400,
    };
    let table = table(keyed, after_commit);
    let keys = keyed.then(|| Keys::new(&table.schema, vec![0]).unwrap());
    Core::new(table, keys, sizes, generation)
}

fn view(number: usize, schema: &SchemaRef, key: &[usize]) -> (Choice, View) {
    let (condition, columns, mode) = VIEWS[number];
    let choice = Choice {
        condition: condition.map(str::to_owned),
        columns: columns.to_vec(),
        mode,
    };
    let filter = condition.map(|text| FILTERS.with(|filters| filters(text, schema)));
    let view = View::new(schema, key, &choice, filter).unwrap();
    (choice, view)
}

type Compile = Box<dyn Fn(&str, &SchemaRef) -> Filter>;

thread_local! {
    /// Compiling takes longer than a case.
    static FILTERS: Compile = {
        let known = std::cell::RefCell::new(BTreeMap::<String, Filter>::new());
        Box::new(move |text, schema| {
            let mut known = known.borrow_mut();
            let compile = || Filter::compile(text, schema).unwrap();
            known.entry(text.to_owned()).or_insert_with(compile).clone()
        })
    };
}

fn shows(view: usize, (_, key, n): Fact) -> bool {
    match view {
        1 => n % 2 == 0,
        3 => n % 3 > 0,
        4 => [1, 2].contains(&key),
        5 => n % 2 == 0 && key > 1,
        _ => true,
    }
}

fn shown(view: usize, (_, key, n): Fact) -> Row {
    let key = if key > 0 {
        json!(format!("K{key}"))
    } else {
        json!(null)
    };
    let m = if n % 3 > 0 { json!(n % 2) } else { json!(null) };
    let cells = [("k", key), ("n", json!(n)), ("m", m)];
    let columns = VIEWS[view].1;
    let cells = cells
        .into_iter()
        .enumerate()
        .filter(|(i, _)| columns.contains(i));
    cells
        .map(|(_, (name, value))| (name.to_owned(), value))
        .collect()
}

/// The last row of each key.
fn newest_of(facts: &[Fact]) -> Vec<Fact> {
    let newest: BTreeMap<u8, Fact> = facts.iter().map(|fact| (fact.1, *fact)).collect();
    newest.into_values().collect()
}

impl World {
    pub(super) fn new(keyed: bool, after_commit: bool) -> Self {
        Self::with_keys(keyed, after_commit, KEYS)
    }

    /// One that remembers so many keys.
    pub(super) fn with_keys(keyed: bool, after_commit: bool, keys: usize) -> Self {
        let mut core = core(keyed, after_commit, 1, keys);
        core.committed(Epoch(0)).unwrap();
        Self {
            core,
            readers: (0..READERS).map(|i| Reader::new(200 + 1_200 * i)).collect(),
            keyed,
            after_commit,
            generation: 1,
            facts: vec![],
            epoch: 1,
            committed: 0,
            snapshot: None,
            next: 1,
        }
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Publish(rows) => self.publish(rows),
            Step::Barrier => self.epoch += 1,
            Step::Commit => self.commit(),
            Step::Flush => self.core.flush().unwrap(),
            Step::Forward => {
                self.core.flush().unwrap();
                self.core.bring_all_forward();
            }
            Step::Subscribe { reader, view } => self.join(*reader, *view, None),
            Step::Resume { reader } => {
                let Reader {
                    anchor,
                    cursor,
                    view,
                    ..
                } = self.readers[*reader];
                self.join(*reader, view, anchor.or(cursor));
            }
            Step::Leave { reader } => self.leave(*reader),
            Step::Read { reader, frames } => self.read(*reader, *frames),
            Step::Snapshot => self.save(),
            Step::Kill => self.kill(),
        }
    }

    fn commit(&mut self) {
        if self.committed + 1 < self.epoch {
            self.committed += 1;
            self.core.committed(Epoch(self.committed)).unwrap();
        }
    }

    /// As the shard does: between two epochs.
    fn save(&mut self) {
        let last = self.facts.last().map(|(place, ..)| place.epoch.0);
        if last.is_none_or(|last| last < self.epoch) {
            let state = self.core.snapshot().unwrap();
            self.snapshot = Some((self.epoch - 1, state));
        }
    }

    fn publish(&mut self, rows: &[(u8, i64)]) {
        for (key, n) in rows {
            let last = self.facts.last().map(|(place, ..)| *place);
            let seq = match last {
                Some(place) if place.epoch.0 == self.epoch => place.seq + 1,
                _ => 1,
            };
            self.facts
                .push((Place::new(Epoch(self.epoch), seq), *key, *n));
        }
        self.core
            .rows(Epoch(self.epoch), super::rows(rows))
            .unwrap();
    }

    fn join(&mut self, number: usize, view_number: usize, from: Option<Cursor>) {
        self.leave(number);
        let schema = super::rows(&[]).schema();
        let key: &[usize] = if self.keyed { &[0] } else { &[] };
        let (choice, view) = view(view_number, &schema, key);
        let reader = &mut self.readers[number];
        if from.is_none() {
            (reader.cursor, reader.anchor, reader.told) = (None, None, vec![]);
            reader.table.clear();
        }
        (reader.member, reader.view) = (Some(self.next), view_number);
        let join = Join {
            member: self.next,
            id: &format!("r{number}"),
            choice,
            view: Arc::new(view),
            channel: self.next,
            from,
            outbox: Arc::clone(&reader.outbox),
        };
        self.next += 1;
        self.core.join(join).unwrap();
    }

    /// The connection is gone with all that was on its way.
    fn leave(&mut self, number: usize) {
        let reader = &mut self.readers[number];
        if let Some(member) = reader.member.take() {
            self.core.leave(member);
        }
        reader.reconnect(200 + 1_200 * number);
    }

    fn read(&mut self, number: usize, frames: usize) {
        let behind = self.readers[number].read(frames);
        if let (true, Some(member)) = (behind, self.readers[number].member) {
            self.core.advance(member).unwrap();
        }
    }

    /// The process dies: connections drop, and the next one recovers what is committed.
    fn kill(&mut self) {
        (0..READERS).for_each(|reader| self.leave(reader));
        self.generation += 1;
        self.core = core(self.keyed, self.after_commit, self.generation, KEYS);
        let mut from = 0;
        if let Some((epoch, state)) = self.snapshot.take_if(|(epoch, _)| *epoch <= self.committed) {
            self.core.restore(Epoch(epoch), &state).unwrap();
            from = epoch;
            self.snapshot = Some((epoch, state));
        } else {
            self.snapshot = None;
        }
        let committed = self.committed;
        self.facts.retain(|(place, ..)| place.epoch.0 <= committed);
        for epoch in from + 1..=committed {
            let rows = self
                .facts
                .iter()
                .filter(|(place, ..)| place.epoch.0 == epoch);
            let rows: Vec<(u8, i64)> = rows.map(|(_, key, n)| (*key, *n)).collect();
            // Cut otherwise than it came.
            for rows in rows.chunks(5) {
                self.core.rows(Epoch(epoch), super::rows(rows)).unwrap();
            }
        }
        self.core.committed(Epoch(committed)).unwrap();
        self.epoch = committed + 1;
    }

    /// Lets everything that is under way arrive.
    pub(super) fn settle(&mut self) {
        self.epoch += 1;
        while self.committed + 1 < self.epoch {
            self.apply(&Step::Commit);
        }
        for number in 0..READERS {
            if self.readers[number].member.is_none() && self.readers[number].cursor.is_some() {
                self.apply(&Step::Resume { reader: number });
            }
        }
        for _ in 0..200 {
            self.core.flush().unwrap();
            self.core.bring_all_forward();
            (0..READERS).for_each(|reader| self.read(reader, 1));
        }
    }

    fn between(&self, after: Place, until: Place) -> impl Iterator<Item = Fact> + '_ {
        let facts = self.facts.iter().copied();
        facts.filter(move |(place, ..)| *place > after && *place <= until)
    }

    /// What each reader was told of rows that are so now is what the list has.
    pub(super) fn check(&self) {
        for reader in &self.readers {
            self.check_whole(reader);
            for told in &reader.told {
                match told {
                    // What was never committed is withdrawn once the reader is back.
                    Told::Snapshot(at, _) if !self.holds(*at) => {}
                    Told::Update { until, .. } if !self.holds(*until) => {}
                    Told::Snapshot(at, rows) => self.check_snapshot(reader, at.place, rows),
                    Told::Update {
                        after,
                        until,
                        rows,
                        conflated,
                    } => self.check_update(reader, (after.place, until.place), rows, *conflated),
                }
            }
        }
    }

    /// Between what a reader was told there is nothing that it was not told.
    fn check_whole(&self, reader: &Reader) {
        if reader.anchor.is_some() || !reader.cursor.is_some_and(|cursor| self.holds(cursor)) {
            return;
        }
        let mut end = None;
        for told in &reader.told {
            end = match told {
                Told::Snapshot(at, _) => Some(at.place),
                Told::Update { after, until, .. } => {
                    let lost = self.between(end.unwrap_or(after.place), after.place);
                    let lost: Vec<Fact> = lost.filter(|fact| shows(reader.view, *fact)).collect();
                    assert!(lost.is_empty(), "{lost:?} of {reader:?}");
                    Some(until.place)
                }
            };
        }
    }

    /// Whether a cursor is of what is so now, for certain.
    fn holds(&self, cursor: Cursor) -> bool {
        cursor.generation == self.generation
    }

    fn check_snapshot(&self, reader: &Reader, at: Place, rows: &[Row]) {
        let facts: Vec<Fact> = self.between(Place::START, at).collect();
        let told: BTreeSet<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        let mut newest: Vec<Fact> = facts.clone();
        if self.keyed {
            newest = newest_of(&facts);
        } else {
            newest.drain(..newest.len().saturating_sub(PAGE));
        }
        // A condition may have left out rows behind the cursor, which are of newer keys.
        let wanted = newest.iter().filter(|fact| shows(reader.view, **fact));
        let wanted: BTreeSet<String> = wanted
            .map(|fact| format!("{:?}", shown(reader.view, *fact)))
            .collect();
        if reader.view == 0 || reader.view == 2 {
            assert_eq!(told, wanted, "snapshot at {at:?}");
        } else {
            assert!(
                told.is_subset(&wanted),
                "snapshot at {at:?}: {told:?} of {wanted:?}"
            );
        }
    }

    fn check_update(
        &self,
        reader: &Reader,
        (after, until): (Place, Place),
        rows: &[Row],
        conflated: usize,
    ) {
        let facts = self
            .between(after, until)
            .filter(|fact| shows(reader.view, *fact));
        let facts: Vec<Fact> = facts.collect();
        assert_eq!(
            rows.len() + conflated,
            facts.len(),
            "({after:?}, {until:?}]"
        );
        let mut wanted = facts.clone();
        if conflated > 0 && self.keyed {
            let newest: BTreeMap<u8, Place> =
                facts.iter().map(|(place, key, _)| (*key, *place)).collect();
            wanted.retain(|(place, key, _)| newest[key] == *place);
        } else {
            wanted.drain(..conflated);
        }
        let whole: Vec<Row> = wanted
            .iter()
            .map(|fact| shown(reader.view, *fact))
            .collect();
        match VIEWS[reader.view].2 {
            Mode::Rows => assert_eq!(rows, whole),
            Mode::Changes => {
                for (row, whole) in rows.iter().zip(&whole) {
                    assert!(
                        row.iter().all(|(name, value)| whole[name] == *value),
                        "{row:?} of {whole:?}"
                    );
                }
                assert_eq!(rows.len(), whole.len());
            }
        }
    }

    /// Everybody who is there is at the end and shows what is so.
    pub(super) fn check_settled(&self) {
        let end = self.facts.last().map_or(Place::START, |(place, ..)| *place);
        for reader in self.readers.iter().filter(|reader| reader.member.is_some()) {
            let at = reader.cursor.expect("a cursor");
            assert_eq!((at.place, at.generation), (end, self.generation));
            if !self.keyed {
                continue;
            }
            // What it shows of a key is the newest row that its condition let through, or an
            // older one: never one that was withdrawn.
            for fact in newest_of(&self.facts) {
                if !shows(reader.view, fact) {
                    continue;
                }
                let row = shown(reader.view, fact);
                assert_eq!(
                    reader.table.get(&row["k"].to_string()),
                    Some(&row),
                    "{reader:?}"
                );
            }
        }
    }
}
