//! The socket of a connection: both directions, polled by one task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::live::connections::Connected;
use crate::live::outbox::{Out, Outbox};
use crate::live::websocket::{Decoder, Event, Violation, close_frame};

/// What is written by one call at most.
const SLICES: usize = 32;
const WRITE_BYTES: usize = 256 * 1024;
/// What is read by one call, on the stack.
const READ_BYTES: usize = 4 * 1024;

/// What happened on a connection.
pub(super) enum Next {
    /// The peer said something.
    Event(Event),
    /// Everything is sent, and subscriptions are behind.
    Behind,
    /// The peer broke the protocol: nothing more is read.
    Violation(Violation),
    /// It has ended, or is to end.
    Closed,
}

/// A socket with what is on its way.
pub(super) struct Io<S> {
    pub(super) stream: S,
    connected: Connected,
    decoder: Decoder,
    deflate: bool,
    writing: VecDeque<Bytes>,
    /// Something was written since the last flush.
    dirty: bool,
    behind: bool,
    phase: Phase,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing more is read: the peer has closed or broken the protocol.
    Deaf,
    /// The close frame is on its way: nothing more is read or taken.
    Closing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    pub(super) fn new(stream: S, connected: Connected, decoder: Decoder, deflate: bool) -> Self {
        Self {
            stream,
            connected,
            decoder,
            deflate,
            writing: VecDeque::new(),
            dirty: false,
            behind: false,
            phase: Phase::Open,
        }
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.connected.outbox
    }

    /// It has become known whose connection it is.
    pub(super) fn belongs_to(&self, client: &Arc<str>) {
        self.connected.belongs_to(client);
    }

    pub(super) fn shared_outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.connected.outbox)
    }

    /// Whether this side has sent its close frame.
    pub(super) fn is_closed_here(&self) -> bool {
        self.phase == Phase::Closing && self.writing.is_empty()
    }

    /// Sends and reads until something is to be done.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.connected.outbox.watch(cx.waker());
        if self.connected.outbox.is_dead() {
            return Poll::Ready(Next::Closed);
        }
        if let Poll::Ready(next) = self.poll_send(cx) {
            return Poll::Ready(next);
        }
        self.poll_receive(cx)
    }

    /// Sends what waits; ready where the connection ends or more can be made for it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            while !self.writing.is_empty() {
                match ready!(self.poll_write(cx)) {
                    Ok(()) => self.connected.outbox.note_sent(self.connected.now()),
                    Err(()) => return Poll::Ready(Next::Closed),
                }
            }
            let closing = self.phase == Phase::Closing;
            if closing || self.behind {
                if self.flushed(cx).is_err() || closing {
                    return Poll::Ready(Next::Closed);
                }
                self.behind = false;
                return Poll::Ready(Next::Behind);
            }
            let taken = self.connected.outbox.take(SLICES, WRITE_BYTES);
            if taken.out.is_empty() && !taken.behind && taken.closing.is_none() {
                // A connection that waits holds no buffer.
                self.writing = VecDeque::new();
                return match self.flushed(cx) {
                    Ok(()) => Poll::Pending,
                    Err(()) => Poll::Ready(Next::Closed),
                };
            }
            let bytes = taken.out.into_iter().map(|out| match out {
                Out::Message(frame) => frame.wire(self.deflate).clone(),
                Out::Wire(bytes) => bytes,
            });
            self.writing.extend(bytes);
            self.behind = taken.behind;
            if let Some((code, reason)) = taken.closing {
                self.phase = Phase::Closing;
                let frame = close_frame(Some(code), reason);
                self.writing.push_back(frame.into());
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let mut slices = [IoSlice::new(&[]); SLICES + 1];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.writing) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let stream = Pin::new(&mut self.stream);
        let written = match count {
            1 => ready!(stream.poll_write(cx, &self.writing[0])),
            _ => ready!(stream.poll_write_vectored(cx, &slices[..count])),
        };
        let mut written = match written {
            Ok(0) | Err(_) => return Poll::Ready(Err(())),
            Ok(written) => written,
        };
        self.dirty = true;
        while let Some(first) = self.writing.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.writing.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// Pushes out what a stream of its own buffers holds; what it cannot yet, it goes on with.
    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), ()> {
        if !self.dirty {
            return Ok(());
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.dirty = false;
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(()),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        // Who does not read its answers is asked for no more questions.
        while self.phase == Phase::Open && self.connected.outbox.has_room() {
            match self.decoder.next_event() {
                Ok(Some(event)) => {
                    if matches!(event, Event::Close(..)) {
                        self.phase = Phase::Deaf;
                    }
                    return Poll::Ready(Next::Event(event));
                }
                Ok(None) => {}
                Err(violation) => {
                    self.phase = Phase::Deaf;
                    return Poll::Ready(Next::Violation(violation));
                }
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            let received = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
            if received.is_err() || read.filled().is_empty() {
                return Poll::Ready(Next::Closed);
            }
            self.connected.outbox.note_heard(self.connected.now());
            self.decoder.feed(read.filled());
        }
        Poll::Pending
    }
}
