//! Members that are behind: snapshots, resumes, slow readers.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use engine::Result;

use super::Core;
use super::channel::Flowing;
use super::member::{Behind, Member, State};
use crate::live::cursor::Cursor;
use crate::live::frame::Frame;
use crate::live::outbox::Out;
use crate::live::protocol::{self, Reply};
use crate::live::ring::Piece;
use crate::live::view::View;

impl Core {
    /// A snapshot of a channel, cut at its cursor.
    pub(super) fn cut(&self, number: u64) -> Result<State> {
        let Some(channel) = self.channels.get(&number) else {
            return Ok(State::Waiting(None));
        };
        let rows = match &self.latest {
            Some(latest) => channel.view.select(&latest.all()?)?,
            None => {
                let pieces = self.ring.newest(self.sizes.page_rows);
                let rows = pieces.iter().map(|piece| channel.view.select(&piece.rows));
                concat_batches(&self.table.schema, &rows.collect::<Result<Vec<_>>>()?)?
            }
        };
        Ok(State::behind(self.cursor(channel.sent), Some(rows), false))
    }

    /// Lets a member that is behind come nearer, as far as its queue has room: called when it has
    /// sent everything.
    pub(in crate::live) fn advance(&mut self, number: u64) -> Result<()> {
        // A snapshot is cut at the channel's cursor: nothing may be fresh.
        self.flush()?;
        loop {
            let Some(member) = self.members.get_mut(&number) else {
                return Ok(());
            };
            let State::Behind(behind) = &mut member.state else {
                return Ok(());
            };
            let Some(channel) = self.channels.get_mut(&member.channel) else {
                return Ok(());
            };
            if !member.outbox.has_room() {
                member.outbox.set_behind();
                return Ok(());
            }
            if let Some(rows) = behind.snapshot.take() {
                let page = rows.slice(0, rows.num_rows().min(self.sizes.page_rows));
                let left = rows.slice(page.num_rows(), rows.num_rows() - page.num_rows());
                let more = left.num_rows() > 0;
                let (mut text, mut count) = (protocol::snapshot(member.channel, behind.at), 0);
                channel.view.write(&page, &mut count, &mut text.bytes)?;
                protocol::end_snapshot(&mut text, more);
                let cursor = Some(behind.at).filter(|_| !more);
                member.outbox.push(Out::Message(Frame::of(text, cursor)));
                behind.snapshot = more.then_some(left);
                continue;
            }
            let (at, conflate, renew) = (behind.at, behind.conflate, behind.renew);
            let sent = Cursor {
                generation: self.generation,
                place: channel.sent,
            };
            if at == sent && renew {
                let channel = member.channel;
                let cut = self.cut(channel)?;
                self.set(number, cut);
                continue;
            }
            if at == sent {
                if let Some(forming) = &channel.forming {
                    member.outbox.offer(forming);
                }
                channel.flowing.push(Flowing {
                    member: number,
                    outbox: Arc::clone(&member.outbox),
                });
                member.state = State::Flowing;
                return Ok(());
            }
            if at.place > sent.place {
                let channel = member.channel;
                self.bring_forward(channel);
                continue;
            }
            let next = match self.ring.between(at.place, sent.place) {
                Some(pieces) => {
                    let reached = self.catch_up(number, (at, sent), &pieces, conflate)?;
                    State::Behind(Box::new(Behind {
                        at: reached,
                        snapshot: None,
                        conflate,
                        renew,
                    }))
                }
                None => self.moved_on(number, at)?,
            };
            self.set(number, next);
        }
    }

    /// The rows after a member's cursor are gone from the ring.
    fn moved_on(&mut self, number: u64, at: Cursor) -> Result<State> {
        let Some(Member {
            channel, outbox, ..
        }) = self.members.get(&number)
        else {
            return Ok(State::Waiting(None));
        };
        let reply = Reply::Reset {
            channel: *channel,
            cursor: at.to_string(),
            reason: "moved-on",
        };
        outbox.push(Out::Message(Frame::of(reply.text(), None)));
        self.cut(*channel)
    }

    /// Sends a member rows of the ring after its cursor, all of them or a page; says where it is.
    fn catch_up(
        &self,
        number: u64,
        (at, sent): (Cursor, Cursor),
        pieces: &[Piece],
        conflate: bool,
    ) -> Result<Cursor> {
        let member = self.members.get(&number);
        let channel = member.and_then(|member| self.channels.get(&member.channel));
        let (Some(member), Some(channel)) = (member, channel) else {
            return Ok(sent);
        };
        let view = &channel.view;
        let (mut text, mut rows) = (protocol::update(member.channel, at), 0);
        let together = self.together(pieces);
        let mut reached = match together.last().filter(|_| together.len() < pieces.len()) {
            Some(last) => self.cursor(last.last()),
            None => sent,
        };
        let mut left_out = 0;
        if conflate {
            let (newest, of) = self.conflated(view, together)?;
            view.write(&newest, &mut rows, &mut text.bytes)?;
            left_out = of - rows;
        } else {
            let mut last = at.place;
            for piece in pages(together, self.sizes.page_rows) {
                if rows >= self.sizes.page_rows || text.len() >= self.sizes.frame_bytes {
                    reached = self.cursor(last);
                    break;
                }
                view.write(&piece.rows, &mut rows, &mut text.bytes)?;
                last = piece.last();
            }
        }
        protocol::end_update(&mut text, reached, left_out);
        let frame = Frame::of(text, Some(reached));
        member.outbox.push(Out::Message(frame));
        Ok(reached)
    }

    /// The first of these that may be in one frame: all that are committed, or those of one epoch.
    fn together<'a>(&self, pieces: &'a [Piece]) -> &'a [Piece] {
        let first = pieces
            .first()
            .map_or(self.committed, |piece| piece.first.epoch);
        let last = first.max(self.committed);
        &pieces[..pieces.partition_point(|piece| piece.first.epoch <= last)]
    }

    /// Of the rows that are shown, the newest of each key, and how many they are of; all of them
    /// where they are few; the newest where there is no key.
    fn conflated(&self, view: &View, pieces: &[Piece]) -> Result<(RecordBatch, usize)> {
        let mut batches = vec![];
        for piece in pieces {
            batches.push(view.select(&piece.rows)?);
        }
        let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let all = |batches: &[RecordBatch]| concat_batches(&self.table.schema, batches);
        let most = self.sizes.page_rows;
        if total <= most {
            return Ok((all(&batches)?, total));
        }
        let Some(latest) = &self.latest else {
            return Ok((all(&batches)?.slice(total - most, most), total));
        };
        let places = latest.keys().newest(&batches)?;
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok((interleave_record_batch(&batches, &places)?, total))
    }
}

/// The pieces, cut to so many rows at most.
fn pages(pieces: &[Piece], rows: usize) -> impl Iterator<Item = Piece> {
    pieces.iter().flat_map(move |piece| {
        let all = piece.rows.num_rows();
        (0..all).step_by(rows.max(1)).map(move |from| Piece {
            rows: piece.rows.slice(from, rows.min(all - from)),
            first: piece.place(from),
        })
    })
}
