//! Equal subscriptions share a channel: its frames are made once.

use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::Result;

use super::member::State;
use super::verdicts::Verdicts;
use super::{Core, Fresh};
use crate::live::cursor::Place;
use crate::live::frame::{Frame, Text};
use crate::live::outbox::Outbox;
use crate::live::protocol;
use crate::live::view::{Choice, View};

/// A member that gets every frame.
#[derive(Debug)]
pub(super) struct Flowing {
    pub(super) member: u64,
    pub(super) outbox: Arc<Outbox>,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) choice: Choice,
    pub(super) view: Arc<View>,
    /// Of which keys its condition lets rows through.
    pub(super) verdicts: Verdicts,
    /// Where its last frame ended.
    pub(super) sent: Place,
    pub(super) flowing: Vec<Flowing>,
    /// Members, those that are behind too.
    pub(super) members: usize,
    /// The last frame of open windows.
    pub(super) forming: Option<Arc<Frame>>,
}

impl Core {
    /// Tells every channel the rows that came since the last flush.
    pub(in crate::live) fn flush(&mut self) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let fresh = std::mem::take(&mut self.fresh);
        let numbers: Vec<u64> = self.channels.keys().copied().collect();
        for number in numbers {
            let Some(channel) = self.channels.get_mut(&number) else {
                continue;
            };
            if channel.flowing.is_empty() {
                // Nobody is at its cursor: those who come up take it from the ring.
                channel.sent = self.end;
                continue;
            }
            let view = Arc::clone(&channel.view);
            let (mut text, mut rows, mut reached) = (None, 0, self.end);
            for Fresh {
                piece,
                slots,
                before,
            } in &fresh
            {
                let of_key = match (self.channels.get_mut(&number), slots) {
                    (Some(channel), Some(slots)) => channel.verdicts.of(&view, piece, slots)?,
                    _ => None,
                };
                if of_key.as_ref().is_some_and(Vec::is_empty) {
                    continue;
                }
                let length = text.as_ref().map_or(0, Text::len);
                let long = length >= self.sizes.frame_bytes;
                if rows > 0 && (piece.first.epoch != reached.epoch || long) {
                    self.finish(number, text.take(), reached);
                    rows = 0;
                }
                let after = self
                    .channels
                    .get(&number)
                    .map_or(self.end, |channel| channel.sent);
                let after = self.cursor(after);
                let text = text.get_or_insert_with(|| protocol::update(number, after));
                let (shown, before) = (&piece.rows, before.as_ref());
                view.write_of(shown, of_key, before, &mut rows, &mut text.bytes)?;
                reached = piece.last();
            }
            if rows > 0 {
                self.finish(number, text, self.end);
            }
        }
        Ok(())
    }

    /// Sends an update that ends at a place.
    fn finish(&mut self, number: u64, text: Option<Text>, end: Place) {
        let Some(mut text) = text else { return };
        let cursor = self.cursor(end);
        protocol::end_update(&mut text, cursor, 0);
        self.deliver(number, &Frame::of(text, Some(cursor)));
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.sent = end;
        }
    }

    /// Gives a frame to all who follow; who cannot take it is behind from here on.
    fn deliver(&mut self, number: u64, frame: &Arc<Frame>) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let full = channel.flowing.extract_if(.., |to| !to.outbox.offer(frame));
        let full: Vec<Flowing> = full.collect();
        let at = channel.sent;
        for Flowing { member, outbox } in full {
            let at = self.cursor(at);
            if let Some(member) = self.members.get_mut(&member) {
                member.state = State::conflating(at);
            }
            outbox.set_behind();
        }
    }

    /// Lets the cursors of channels follow whose conditions have left out all rows for a while, so
    /// that their readers can resume.
    pub(in crate::live) fn bring_all_forward(&mut self) {
        let numbers: Vec<u64> = self.channels.keys().copied().collect();
        for number in numbers {
            self.bring_forward(number);
        }
    }

    /// Lets a channel's cursor follow, by a frame without rows. Call it behind a flush.
    pub(super) fn bring_forward(&mut self, number: u64) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let sent = channel.sent;
        if sent == self.end || !self.fresh.is_empty() {
            return;
        }
        if channel.flowing.is_empty() {
            channel.sent = self.end;
            return;
        }
        let text = protocol::update(number, self.cursor(sent));
        self.finish(number, Some(text), self.end);
    }

    /// Shows the windows that are open, where they differ from what was shown before.
    pub(in crate::live) fn forming(&mut self, windows: &[RecordBatch]) -> Result<()> {
        if !self.ready {
            return Ok(());
        }
        self.flush()?;
        for (number, channel) in &mut self.channels {
            let mut text = protocol::forming(*number);
            let mut rows = 0;
            for batch in windows.iter().filter(|batch| batch.num_rows() > 0) {
                channel.view.write(batch, &mut rows, &mut text.bytes)?;
            }
            text.raw("]}");
            let frame = Frame::of(text, None);
            let known = channel.forming.as_ref();
            let known = known.map_or(rows == 0, |known| known.text() == frame.text());
            if known {
                continue;
            }
            // Whoever has no room for it gets the next one.
            for to in &channel.flowing {
                to.outbox.offer(&frame);
            }
            channel.forming = Some(frame);
        }
        Ok(())
    }
}
