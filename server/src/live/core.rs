//! The core of a hub: what it knows of a stream, and who is told what. Pure and synchronous: it is
//! given rows, commits and subscriptions, and puts frames into outboxes.
//!
//! All channels are at the place that the last flush left them at. Rows that came since are
//! `fresh`; a flush makes of them one frame per channel. A frame covers the rows between two
//! cursors, of which the first is where the channel's last frame ended: rows that a condition leaves
//! out make no frame, the next one covers them. A newcomer's snapshot is cut behind a flush at the
//! channel's cursor, so its next frame follows. A member that is not there yet (a long snapshot, a
//! resume, a queue that was full) is behind, and gets frames of its own until it has caught up.
//!
//! What a condition says of the key alone is asked once a key (`verdicts`): a row then costs a channel
//! that leaves its key out next to nothing, so that there may be many with conditions of their own.
//!
//! What is not committed may be withdrawn, from the end of an epoch on: so no frame has rows on both
//! sides of the end of an epoch that is not committed.
//!
//! The base of a change is the row of the same key right before it in the stream, if it was shown;
//! whoever is at the channel's cursor has it, however it came there.

mod behind;
mod channel;
mod member;
mod saved;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::{Epoch, Result};

use super::cursor::{Cursor, Lives, Place};
use super::latest::{Before, Keys, Latest, Slots};
use super::ring::{Bounds, Piece, Ring};
use channel::Channel;
pub(super) use member::Join;
use member::Member;

/// What a stream is.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// How clients call it.
    pub(super) stream: String,
    pub(super) schema: SchemaRef,
    /// Positions of the key's columns.
    pub(super) key: Vec<usize>,
    pub(super) key_names: Vec<String>,
    /// Whether rows are shown once they are committed, not as they come.
    pub(super) after_commit: bool,
}

/// How much is kept and sent at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) ring: Bounds,
    /// Keys whose newest row is kept at most.
    pub(super) keys: usize,
    /// Rows of a page; a reader that is behind by no more is given them all.
    pub(super) page_rows: usize,
    /// Bytes after which a frame ends.
    pub(super) frame_bytes: usize,
}

/// Rows that no frame has yet.
#[derive(Debug)]
struct Fresh {
    piece: Piece,
    /// Where the table has a key.
    slots: Option<Slots>,
    /// The rows before them, where a channel asks for that.
    before: Option<Before>,
}

/// The state of a hub.
#[derive(Debug)]
pub(super) struct Core {
    table: Table,
    sizes: Sizes,
    generation: u64,
    lives: Lives,
    /// Whether recovery is over: nobody is told anything before.
    ready: bool,
    closed: bool,
    committed: Epoch,
    /// Rows that wait for their commit.
    held: VecDeque<Piece>,
    /// The last row that was given, and the last that is shown.
    given: Place,
    end: Place,
    ring: Ring,
    latest: Option<Latest>,
    /// Shown since the last flush.
    fresh: Vec<Fresh>,
    channels: BTreeMap<u64, Channel>,
    members: BTreeMap<u64, Member>,
}

impl Core {
    /// A hub in one start of its job; `keys` are those of the table, if it has a key.
    pub(super) fn new(table: Table, keys: Option<Keys>, sizes: Sizes, generation: u64) -> Self {
        let latest =
            keys.map(|keys| Latest::new(SchemaRef::clone(&table.schema), keys, sizes.keys));
        Self {
            ring: Ring::new(sizes.ring, Place::START),
            table,
            sizes,
            generation,
            lives: Lives::default(),
            ready: false,
            closed: false,
            committed: Epoch(0),
            held: VecDeque::new(),
            given: Place::START,
            end: Place::START,
            latest,
            fresh: vec![],
            channels: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// Takes rows of an epoch, in order.
    pub(super) fn rows(&mut self, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let seq = match epoch == self.given.epoch {
            true => self.given.seq + 1,
            false => 1,
        };
        let first = Place::new(epoch, seq);
        let piece = Piece { rows, first };
        self.given = piece.last();
        // What recovery repeats is committed.
        if self.table.after_commit && self.ready {
            self.held.push_back(piece);
            return Ok(());
        }
        self.show(piece)
    }

    /// Takes note that an epoch is in the log. The first one ends recovery.
    pub(super) fn committed(&mut self, epoch: Epoch) -> Result<()> {
        self.committed = epoch;
        while let Some(piece) = self.held.pop_front_if(|piece| piece.first.epoch <= epoch) {
            self.show(piece)?;
        }
        if !self.ready {
            self.ready = true;
            self.lives.start(self.generation, epoch);
            for channel in self.channels.values_mut() {
                channel.sent = self.end;
            }
            let waiting: Vec<u64> = self.members.keys().copied().collect();
            for member in waiting {
                self.start(member)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, piece: Piece) -> Result<()> {
        let changes = self.channels.values().any(|channel| channel.view.changes);
        let (slots, before) = match &mut self.latest {
            Some(latest) => latest
                .update(&piece, changes)
                .map(|(slots, before)| (Some(slots), before))?,
            None => (None, None),
        };
        self.end = piece.last();
        self.ring.push(piece.clone())?;
        if self.ready && !self.channels.is_empty() {
            self.fresh.push(Fresh {
                piece,
                slots,
                before,
            });
        }
        Ok(())
    }

    fn cursor(&self, place: Place) -> Cursor {
        Cursor {
            generation: self.generation,
            place,
        }
    }

    /// Whether somebody looks.
    pub(super) fn is_watched(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Channels and subscriptions.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.members.len())
    }

    /// The rows of all epochs after one, oldest first; `None` where some of them are gone.
    pub(super) fn after(&self, epoch: Epoch) -> Option<Vec<Piece>> {
        self.ring.between(self.ring.end_of(epoch)?, self.end)
    }

    /// The newest rows that the ring has, oldest first.
    pub(super) fn newest(&self, most: usize) -> Vec<Piece> {
        self.ring.newest(most)
    }
}
