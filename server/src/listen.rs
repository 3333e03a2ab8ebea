//! Accepting connections: plain or TLS, counted, each served by hyper itself, so that a live
//! window can take its socket out of the HTTP machinery.

mod body;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use engine::{Error, Result};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use crate::auth::limit::Addresses;
use body::Noted;

/// How long a peer may take to say hello in TLS, and to send the head of a request.
const HELLO: Duration = Duration::from_secs(10);
/// How long nothing is accepted when the system has no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long requests under way may take when the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// A socket as it was accepted: what an upgraded connection is downcast to, inside `TokioIo`.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// What connections pass.
pub(crate) struct Gate {
    /// How they speak TLS, if they are to.
    pub(crate) tls: Option<TlsAcceptor>,
    /// How many there are at most.
    pub(crate) most: usize,
    /// Who counts them by address.
    pub(crate) addresses: Addresses,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds; port 0 is any free one.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let unusable = |error: io::Error| {
            Error::invalid(format!(
                "cannot listen at '{address}'; choose another address or port with --listen"
            ))
            .caused_by(error)
        };
        let listener = TcpListener::bind(address).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `closing` turns true, then lets the requests under way end, for a moment.
    /// Where there are enough connections a new one waits, unaccepted; one of an address that has
    /// enough is closed.
    pub(crate) async fn serve(
        self,
        router: Router,
        gate: Gate,
        mut closing: watch::Receiver<bool>,
    ) {
        let places = gate.most.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = accept(&self.listener, &places) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (socket, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(EXHAUSTED).await;
                    continue;
                }
            };
            let Some(connected) = gate.addresses.enter(peer.ip()) else {
                tracing::debug!(%peer, "the address has enough connections");
                continue;
            };
            let (router, tls, closing) = (router.clone(), gate.tls.clone(), closing.clone());
            connections.spawn(async move {
                if let Err(error) = connection(socket, peer, router, tls, closing).await {
                    // A peer that is gone or speaks no HTTP is its own affair.
                    tracing::debug!(%peer, %error, "the connection ended badly");
                }
                drop((place, connected));
            });
        }
        drop(self.listener);
        let last = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_REQUESTS, last).await.is_err() {
            tracing::warn!("requests under way were cut off");
        }
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, place))
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut closing: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(tls) => Stream::Tls(Box::new(timeout(HELLO, tls.accept(socket)).await??)),
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        let (head, body) = request.into_parts();
        let (body, ended) = Noted::new(body);
        let mut request = axum::extract::Request::from_parts(head, axum::body::Body::new(body));
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            let mut answer = router.oneshot(request).await?;
            ended.tell(&mut answer);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        served = &mut connection => return Ok(served?),
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, bytes),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
