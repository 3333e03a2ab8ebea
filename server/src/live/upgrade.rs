//! From an HTTP request to a WebSocket: the socket is taken out of hyper, whose buffers go.

use axum::body::Body;
use axum::http::header::SEC_WEBSOCKET_VERSION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Hubs;
use super::client::Who;
use super::session::serve;
use super::websocket::{Handshake, Refusal};
use crate::listen::Stream;

/// Answers a request by an upgrade and serves the connection from then on, on the runtime that it
/// is called on; or says what is wrong with the request.
pub fn upgrade<B>(
    mut request: Request<B>,
    hubs: &Hubs,
    who: Who,
) -> Result<Response<Body>, Refusal> {
    let handshake = Handshake::read(request.method(), request.headers())?;
    let waiting = request.extensions_mut().remove::<OnUpgrade>();
    let waiting = waiting.ok_or(Refusal {
        status: StatusCode::UPGRADE_REQUIRED,
        reason: "this connection cannot be upgraded: use HTTP/1.1",
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in handshake.headers() {
        let value = HeaderValue::try_from(value).map_err(|_| Refusal {
            status: StatusCode::BAD_REQUEST,
            reason: "the handshake cannot be answered",
        })?;
        response.headers_mut().insert(name, value);
    }
    let (hubs, deflate) = (hubs.clone(), handshake.deflate);
    tokio::spawn(async move {
        match waiting.await {
            Ok(upgraded) => begin(upgraded, deflate, hubs, who),
            Err(error) => tracing::debug!("an upgrade was not finished: {error}"),
        }
    });
    Ok(response)
}

/// The header that goes with a refusal of status 426.
#[must_use]
pub fn spoken_version() -> (axum::http::HeaderName, HeaderValue) {
    (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// Serves the connection by a task of its own: that of the upgrade, larger, goes.
fn begin(upgraded: Upgraded, deflate: bool, hubs: Hubs, who: Who) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let (stream, read) = (parts.io.into_inner(), parts.read_buf);
            // Frames are whole when they are written: waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move { serve(stream, read, deflate, hubs, who).await });
            return;
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => {
            let (stream, read) = (parts.io.into_inner(), parts.read_buf);
            tokio::spawn(async move { serve(stream, read, deflate, hubs, who).await });
        }
        Err(upgraded) => {
            let stream = TokioIo::new(upgraded);
            tokio::spawn(async move { serve(stream, Bytes::new(), deflate, hubs, who).await });
        }
    }
}
