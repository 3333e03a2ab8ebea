//! A client: believes what it is told, and checks that it fits together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::live::cursor::Cursor;
use crate::live::frame::Frame;
use crate::live::outbox::{Out, Outbox};

/// A row as it is told.
pub(super) type Row = BTreeMap<String, Value>;

/// What was told since the last snapshot or resume, and is not withdrawn.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Snapshot(Cursor, Vec<Row>),
    Update {
        after: Cursor,
        until: Cursor,
        rows: Vec<Row>,
        conflated: usize,
    },
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) outbox: Arc<Outbox>,
    /// The member that it is, while it is subscribed.
    pub(super) member: Option<u64>,
    /// What it looks at.
    pub(super) view: usize,
    pub(super) cursor: Option<Cursor>,
    pub(super) told: Vec<Told>,
    /// By key, what it would show: for a view of changes the merged rows.
    pub(super) table: BTreeMap<String, Row>,
    pages: Vec<Row>,
    /// The cursor before a reset, until the snapshot behind it is whole: to resume from.
    pub(super) anchor: Option<Cursor>,
}

fn row(value: &Value) -> Row {
    let object = value.as_object().expect("a row is an object");
    object
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn cursor(frame: &Value, name: &str) -> Cursor {
    frame[name].as_str().expect(name).parse().expect("a cursor")
}

impl Reader {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            outbox: Outbox::new(limit, 0),
            member: None,
            view: 0,
            cursor: None,
            told: vec![],
            table: BTreeMap::new(),
            pages: vec![],
            anchor: None,
        }
    }

    /// Goes on with a new connection: what was under way on the old one is gone.
    pub(super) fn reconnect(&mut self, limit: usize) {
        self.outbox = Outbox::new(limit, 0);
        self.pages.clear();
    }

    /// Takes the frames that wait.
    pub(super) fn taken(&mut self) -> Vec<Arc<Frame>> {
        let taken = self.outbox.take(usize::MAX, usize::MAX);
        let frame = |out| match out {
            Out::Message(frame) => frame,
            Out::Wire(_) => panic!("a hub sends messages"),
        };
        taken.out.into_iter().map(frame).collect()
    }

    pub(super) fn frames(&mut self) -> Vec<Value> {
        let text = |frame: Arc<Frame>| serde_json::from_slice(&frame.text()).expect("JSON");
        self.taken().into_iter().map(text).collect()
    }

    /// Reads so many frames; says whether it has to be told more because it was behind.
    pub(super) fn read(&mut self, most: usize) -> bool {
        let taken = self.outbox.take(most, usize::MAX);
        for out in taken.out {
            let Out::Message(frame) = out else {
                panic!("a hub sends messages");
            };
            let value: Value = serde_json::from_slice(&frame.text()).expect("JSON");
            let named = value.get("cursor").filter(|_| value["type"] != "reset");
            let whole = value.get("more").is_none_or(|more| more == false);
            let named = named.filter(|_| whole).and_then(Value::as_str);
            assert_eq!(frame.cursor.map(|c| c.to_string()).as_deref(), named);
            self.take(&value);
        }
        taken.behind
    }

    fn take(&mut self, frame: &Value) {
        let rows = || -> Vec<Row> {
            let rows = frame["rows"].as_array().expect("rows");
            rows.iter().map(row).collect()
        };
        match frame["type"].as_str().expect("a type") {
            "subscribed" | "forming" => {}
            "reset" => {
                let to = cursor(frame, "cursor");
                self.anchor = self.anchor.or(self.cursor);
                self.told.retain(|told| match told {
                    Told::Snapshot(at, _) => at.place <= to.place,
                    Told::Update { until, .. } => until.place <= to.place,
                });
                self.cursor = Some(to);
            }
            "snapshot" => {
                self.pages.extend(rows());
                let at = cursor(frame, "cursor");
                if frame["more"] == false {
                    let rows = std::mem::take(&mut self.pages);
                    self.table.clear();
                    for row in &rows {
                        self.merge(row);
                    }
                    if self.cursor != Some(at) {
                        self.told.clear();
                    }
                    self.told.push(Told::Snapshot(at, rows));
                    (self.cursor, self.anchor) = (Some(at), None);
                }
            }
            "update" => {
                let (after, until) = (cursor(frame, "after"), cursor(frame, "cursor"));
                assert_eq!(
                    Some(after),
                    self.cursor,
                    "a gap or an overlap before {frame}"
                );
                assert!(after.place <= until.place, "{frame}");
                let rows = rows();
                for row in &rows {
                    self.merge(row);
                }
                let conflated = frame
                    .get("conflated")
                    .and_then(Value::as_u64)
                    .unwrap_or_default();
                self.told.push(Told::Update {
                    after,
                    until,
                    rows,
                    conflated: conflated as usize,
                });
                self.cursor = Some(until);
            }
            other => panic!("a frame of type {other}"),
        }
    }

    fn merge(&mut self, row: &Row) {
        if let Some(key) = row.get("k") {
            let shown = self.table.entry(key.to_string()).or_default();
            shown.extend(row.clone());
        }
    }
}
