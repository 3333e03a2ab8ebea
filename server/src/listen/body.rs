//! The body of a request, and whether it was read to its end. Behind one that was not hyper ends the
//! connection; a client that is not told would send its next request there, and lose it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Whether a body was read to its end; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ended(Arc<AtomicBool>);

impl Ended {
    /// Says in an answer that the connection ends with it, if it does.
    pub(super) fn tell<B>(&self, answer: &mut Response<B>) {
        if !self.0.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
    }
}

/// A body that takes note of its end.
#[derive(Debug)]
pub(super) struct Noted {
    body: Incoming,
    ended: Ended,
}

impl Noted {
    pub(super) fn new(body: Incoming) -> (Self, Ended) {
        let ended = Ended(Arc::new(AtomicBool::new(body.is_end_stream())));
        let noted = Self {
            body,
            ended: ended.clone(),
        };
        (noted, ended)
    }
}

impl Body for Noted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if frame.is_none() || this.body.is_end_stream() {
            this.ended.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
