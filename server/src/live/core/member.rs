//! Members of channels: joining, catching up, following.

use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::Result;

use super::Core;
use super::channel::Channel;
use super::verdicts::Verdicts;
use crate::live::cursor::{Cursor, Place};
use crate::live::frame::Frame;
use crate::live::outbox::{Out, Outbox};
use crate::live::protocol::{Column, Reply};
use crate::live::view::{Choice, View};

/// A subscription.
#[derive(Debug)]
pub(super) struct Member {
    /// How its client calls it.
    id: Box<str>,
    pub(super) channel: u64,
    pub(super) outbox: Arc<Outbox>,
    pub(super) state: State,
}

/// How far a member is.
#[derive(Debug)]
pub(super) enum State {
    /// Recovery is not over yet.
    Waiting(Option<Cursor>),
    /// At the channel's cursor.
    Flowing,
    /// Not there yet.
    Behind(Box<Behind>),
}

/// A member that is not at the channel's cursor.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) at: Cursor,
    /// The rest of a snapshot that is cut at `at`.
    pub(super) snapshot: Option<RecordBatch>,
    /// Whether the newest row of each key is enough.
    pub(super) conflate: bool,
    /// Whether a snapshot is to follow once it is at the channel's cursor.
    pub(super) renew: bool,
}

impl State {
    pub(super) fn behind(at: Cursor, snapshot: Option<RecordBatch>, conflate: bool) -> Self {
        Self::Behind(Box::new(Behind {
            at,
            snapshot,
            conflate,
            renew: false,
        }))
    }

    /// Rows after `at` were withdrawn: those that are in their place, then what is so now.
    fn renewing(at: Cursor) -> Self {
        Self::Behind(Box::new(Behind {
            at,
            snapshot: None,
            conflate: false,
            renew: true,
        }))
    }

    pub(super) fn conflating(at: Cursor) -> Self {
        Self::behind(at, None, true)
    }
}

/// A subscription that begins.
#[derive(Debug)]
pub(in crate::live) struct Join<'a> {
    /// A number that no other subscription has, nor had.
    pub(in crate::live) member: u64,
    pub(in crate::live) id: &'a str,
    pub(in crate::live) choice: Choice,
    pub(in crate::live) view: Arc<View>,
    /// The number of its channel, should there be none yet; no other channel has it.
    pub(in crate::live) channel: u64,
    pub(in crate::live) from: Option<Cursor>,
    pub(in crate::live) outbox: Arc<Outbox>,
}

/// What a cursor is worth.
enum Worth {
    /// Rows go on behind it.
    Exact,
    /// What follows this place was never committed.
    Withdrawn(Place),
    /// The same, and the rows since then are gone.
    Gone(Place),
    /// It is none of this stream.
    Unknown,
}

impl Core {
    /// The view of the channel that subscriptions of this choice share, if there is one.
    pub(in crate::live) fn view_of(&self, choice: &Choice) -> Option<Arc<View>> {
        let mut channels = self.channels.values();
        let channel = channels.find(|channel| channel.choice == *choice)?;
        Some(Arc::clone(&channel.view))
    }

    /// Which of these members shows this choice.
    pub(in crate::live) fn showing(&self, members: &[u64], choice: &Choice) -> Option<&str> {
        let mut members = members.iter().filter_map(|number| self.members.get(number));
        let shows = |member: &&Member| {
            let channel = self.channels.get(&member.channel);
            channel.is_some_and(|channel| channel.choice == *choice)
        };
        members.find(shows).map(|member| &*member.id)
    }

    /// Lets a member in; says its channel.
    pub(in crate::live) fn join(&mut self, join: Join<'_>) -> Result<u64> {
        self.flush()?;
        let known = self
            .channels
            .iter()
            .find(|(_, channel)| channel.choice == join.choice);
        let number = known.map_or(join.channel, |(number, _)| *number);
        let sent = self.end;
        let channel = self.channels.entry(number).or_insert_with(|| Channel {
            choice: join.choice,
            view: join.view,
            verdicts: Verdicts::default(),
            sent,
            flowing: vec![],
            members: 0,
            forming: None,
        });
        channel.members += 1;
        let fields = channel.view.schema().fields().iter();
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            data_type: sql::catalog::sql_type(field.data_type()),
        };
        let columns: Vec<Column> = fields.map(column).collect();
        let reply = Reply::Subscribed {
            id: join.id,
            channel: number,
            stream: &self.table.stream,
            columns: &columns,
            key: &self.table.key_names,
        };
        join.outbox
            .push(Out::Message(Frame::of(reply.text(), None)));
        let member = Member {
            id: join.id.into(),
            channel: number,
            outbox: join.outbox,
            state: State::Waiting(join.from),
        };
        self.members.insert(join.member, member);
        if self.ready {
            self.start(join.member)?;
        }
        Ok(number)
    }

    /// Begins to tell a member what it came for.
    pub(super) fn start(&mut self, number: u64) -> Result<()> {
        let Some(member) = self.members.get(&number) else {
            return Ok(());
        };
        let (State::Waiting(from), channel) = (&member.state, member.channel) else {
            return Ok(());
        };
        let (from, outbox) = (*from, Arc::clone(&member.outbox));
        let reset = |cursor: Cursor, reason| {
            let cursor = cursor.to_string();
            let reply = Reply::Reset {
                channel,
                cursor,
                reason,
            };
            outbox.push(Out::Message(Frame::of(reply.text(), None)));
        };
        let state = match from.map(|from| (from, self.worth(from))) {
            None => self.cut(channel)?,
            Some((from, Worth::Exact)) => State::behind(from, None, false),
            Some((_, Worth::Withdrawn(place))) => {
                reset(self.cursor(place), "withdrawn");
                State::renewing(self.cursor(place))
            }
            Some((_, Worth::Gone(place))) => {
                reset(self.cursor(place), "withdrawn");
                self.cut(channel)?
            }
            Some((_, Worth::Unknown)) => {
                reset(self.cursor(self.end), "unknown");
                self.cut(channel)?
            }
        };
        self.set(number, state);
        self.advance(number)
    }

    fn worth(&self, from: Cursor) -> Worth {
        if from.generation == self.generation && from.place <= self.end {
            return Worth::Exact;
        }
        if from.generation >= self.generation {
            return Worth::Unknown;
        }
        let kept = self.lives.kept_of(from.generation);
        if from.place.epoch <= kept && from.place <= self.end {
            return Worth::Exact;
        }
        match self.ring.end_of(kept) {
            Some(place) => Worth::Withdrawn(place),
            None => Worth::Gone(Place::new(kept.next(), 0)),
        }
    }

    pub(super) fn set(&mut self, number: u64, state: State) {
        if let Some(member) = self.members.get_mut(&number) {
            member.state = state;
        }
    }

    /// Lets a member go.
    pub(in crate::live) fn leave(&mut self, number: u64) {
        let Some(member) = self.members.remove(&number) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&member.channel) else {
            return;
        };
        channel.flowing.retain(|to| to.member != number);
        channel.members -= 1;
        if channel.members == 0 {
            self.channels.remove(&member.channel);
        }
    }

    /// Tells all members that there is no more, and lets them go.
    pub(in crate::live) fn close(&mut self, reason: &str) -> Result<()> {
        self.flush()?;
        self.closed = true;
        for member in std::mem::take(&mut self.members).into_values() {
            let reply = Reply::Unsubscribed {
                id: &member.id,
                reason: Some(reason),
            };
            member
                .outbox
                .push(Out::Message(Frame::of(reply.text(), None)));
        }
        self.channels.clear();
        Ok(())
    }
}
