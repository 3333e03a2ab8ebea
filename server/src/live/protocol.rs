//! The frames of live windows, as JSON texts.
//!
//! | from the client | |
//! |---|---|
//! | `{"type":"auth","token":…}` | first, where neither a header nor a ticket says who it is |
//! | `{"type":"subscribe","id":…,"stream":…,"where"?,"columns"?,"from"?,"mode"?}` | answered by `subscribed`, or `error` |
//! | `{"type":"unsubscribe","id":…}` | answered by `unsubscribed` |
//! | `{"type":"ping"}` | answered by `pong` |
//!
//! | from the server | |
//! |---|---|
//! | `subscribed` `{id, channel, stream, columns, key}` | equal subscriptions of all clients share a channel; every later frame names it |
//! | `snapshot` `{channel, cursor, rows, more}` | the newest row of every key at the cursor, those that fulfil the condition; of a table without a key its newest rows, 1,000 at most. With `more` another page follows |
//! | `update` `{channel, after, cursor, rows, conflated?}` | the rows between two cursors; `after` is the cursor of the frame before. `conflated` rows were left out because the reader was slow: only the newest of each key are there |
//! | `forming` `{channel, rows}` | what the windows that are open would have now; replaces what the one before said |
//! | `reset` `{channel, cursor, reason}` | rows after the cursor are withdrawn: they were never committed (`withdrawn`), or the cursor is one of another history (`unknown`); or the rows since then are gone (`moved-on`). Where rows were withdrawn, `update`s from that cursor on follow if they are still there; a `snapshot` comes in any case. Who is cut off before that is whole resumes from the cursor that it had before the `reset` |
//! | `heartbeat` `{at}` | after 15 s of silence |
//! | `unsubscribed` `{id, reason?}` | with a reason where it was not asked for: the job has stopped |
//! | `error` `{id?, code, message, errors?}` | what was wrong; the connection stays |
//! | `pong` | |
//!
//! Rows are objects by column name; instants are RFC 3339. In mode `changes` a row has its key and
//! the columns that differ from the row of its key before, NULL where one became NULL; all columns
//! where that one was not shown. A cursor is opaque to clients.

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::frame::Text;
pub use super::view::Mode;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Who it is.
    Auth {
        /// A key or a ticket.
        token: String,
    },
    /// Rows of a stream, from now or from a cursor on.
    Subscribe(Subscribe),
    /// No more of them.
    Unsubscribe {
        /// The name that the client gave.
        id: String,
    },
    /// Is anybody there?
    Ping {},
}

/// A subscription, as a client asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// How the client calls it.
    #[serde(default)]
    pub id: String,
    /// The stream: a table that a job writes.
    pub stream: String,
    /// A condition in SQL.
    #[serde(default, rename = "where")]
    pub condition: Option<String>,
    /// The columns; all where it is left out.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// The cursor of the last frame that the client has.
    #[serde(default)]
    pub from: Option<String>,
    /// Whole rows or changes.
    #[serde(default)]
    pub mode: Mode,
}

impl Request {
    /// Reads a frame; the error says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => error.to_string(),
            _ => format!("the frame is not JSON: {error}"),
        })
    }
}

/// Why a request is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A word that programs can tell apart: `malformed`, `unauthorized`, `not-found`, `ambiguous`,
    /// `invalid`, `duplicate`, `limit`, `unavailable`, `internal`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The errors in a condition, with their places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Place>,
}

/// One error in a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What is wrong there.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
}

impl Fault {
    /// A fault without places.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            errors: vec![],
        }
    }

    /// What is wrong with a condition.
    #[must_use]
    pub fn of_condition(errors: Vec<sql::Error>) -> Self {
        let message = errors.first().map_or_else(String::new, ToString::to_string);
        let place = |error: sql::Error| {
            let place = sql::filter::place(&error);
            Place {
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                message: error.message,
                help: error.hint,
            }
        };
        Self {
            code: "invalid",
            message: format!("the condition is wrong: {message}"),
            errors: errors.into_iter().map(place).collect(),
        }
    }
}

impl From<&engine::Error> for Fault {
    fn from(error: &engine::Error) -> Self {
        Self::new("internal", error.chain())
    }
}

/// A column of a channel.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
}

/// A small frame of the server.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Reply<'a> {
    Subscribed {
        id: &'a str,
        channel: u64,
        stream: &'a str,
        columns: &'a [Column],
        key: &'a [String],
    },
    Unsubscribed {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Reset {
        channel: u64,
        cursor: String,
        reason: &'static str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(flatten)]
        fault: &'a Fault,
    },
    Heartbeat {
        at: &'a str,
    },
    Pong {},
}

impl Reply<'_> {
    pub(super) fn text(&self) -> Text {
        // Such a value is written without fail: it has neither maps nor odd numbers.
        Text::new(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The beginning of an `update`, up to where its rows stand.
pub(super) fn update(channel: u64, after: Cursor) -> Text {
    Text::new(&format!(
        r#"{{"type":"update","channel":{channel},"after":"{after}","rows":["#
    ))
}

/// The beginning of a `snapshot`.
pub(super) fn snapshot(channel: u64, cursor: Cursor) -> Text {
    Text::new(&format!(
        r#"{{"type":"snapshot","channel":{channel},"cursor":"{cursor}","rows":["#
    ))
}

/// The beginning of a `forming`; `]}` ends it.
pub(super) fn forming(channel: u64) -> Text {
    Text::new(&format!(
        r#"{{"type":"forming","channel":{channel},"rows":["#
    ))
}

/// Ends an `update`.
pub(super) fn end_update(text: &mut Text, cursor: Cursor, conflated: usize) {
    text.raw(&format!(r#"],"cursor":"{cursor}""#));
    if conflated > 0 {
        text.raw(&format!(r#","conflated":{conflated}"#));
    }
    text.raw("}");
}

/// Ends a `snapshot`.
pub(super) fn end_snapshot(text: &mut Text, more: bool) {
    text.raw(&format!(r#"],"more":{more}}}"#));
}
