//! Readers: they count what comes and look at no more of it than that takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use server::live::websocket::{OpCode, encode_masked};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::feeding;
use super::serving::Server;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Millstream with rows of indicators.
    Millstream,
    /// The same with rows of prices and sizes.
    Quotes,
    /// Millstream with a whole job behind it.
    Feed(Look),
    Tungstenite,
}

/// What a reader looks at of a job's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Some symbols, which nobody else looks at.
    Own,
    /// Everything, as all others.
    All,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Millstream => "millstream",
            Self::Quotes => "quotes",
            Self::Feed(_) => "feed",
            Self::Tungstenite => "tokio-tungstenite",
        }
    }
}

/// Nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i64)
}

/// What one reader has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The number of the last row, those that were left out counted.
    last: AtomicU64,
    /// The same when counting began.
    first: AtomicU64,
    /// Rows of which it was told only that they were left out.
    left_out: AtomicU64,
    bytes: AtomicU64,
    messages: AtomicU64,
    latencies: Mutex<Vec<u32>>,
    /// Whether it is told what comes from now on.
    ready: AtomicBool,
}

/// Connections that read as fast as they can, until they are dropped.
#[derive(Debug)]
pub(super) struct Readers {
    seen: Vec<Arc<Seen>>,
    tasks: JoinSet<Result<()>>,
}

impl Kind {
    /// What a reader says first.
    fn subscription(self, reader: usize, readers: usize) -> Option<String> {
        match self {
            Self::Millstream | Self::Quotes => {
                Some(r#"{"type":"subscribe","id":"a","stream":"rows"}"#.to_owned())
            }
            Self::Feed(look) => Some(feeding::subscription(look, reader, readers)),
            Self::Tungstenite => None,
        }
    }
}

/// A connection, made; the handshake, and a subscription where there is one.
async fn open(
    server: &Server,
    mut stream: TcpStream,
    (reader, readers): (usize, usize),
    deflate: bool,
) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    let extension = match deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        false => "",
    };
    let head = format!(
        "GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
        ensure!(
            answer.len() < 4_096,
            "the answer to the handshake has no end"
        );
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    if let Some(subscribe) = server.kind.subscription(reader, readers) {
        let frame = encode_masked(OpCode::Text, false, subscribe.as_bytes(), [1, 2, 3, 4]);
        stream.write_all(&frame).await?;
    }
    Ok(stream)
}

/// Connections that never read, and for which the system keeps little.
pub(super) async fn stuck(server: &Server, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = vec![];
    for reader in 0..count {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let stream = socket.connect(server.address).await?;
        streams.push(open(server, stream, (reader, count), false).await?);
    }
    Ok(streams)
}

impl Readers {
    /// So many readers, each told what comes from now on.
    pub(super) async fn connect(server: &Server, count: usize, deflate: bool) -> Result<Self> {
        let mut readers = Self {
            seen: vec![],
            tasks: JoinSet::new(),
        };
        for reader in 0..count {
            let stream = TcpStream::connect(server.address).await?;
            let stream = open(server, stream, (reader, count), deflate).await?;
            let seen = Arc::new(Seen::default());
            readers.seen.push(Arc::clone(&seen));
            let kind = server.kind;
            let reading = async move { read(stream, kind, &seen).await };
            readers.tasks.spawn(reading);
        }
        let until = Instant::now() + Duration::from_secs(30);
        while server.kind != Kind::Tungstenite && !readers.are_ready() {
            ensure!(Instant::now() < until, "not every reader got its snapshot");
            if let Some(ended) = readers.tasks.try_join_next() {
                ended??;
                bail!("a reader's connection has ended");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(readers)
    }

    fn are_ready(&self) -> bool {
        let mut seen = self.seen.iter();
        seen.all(|seen| seen.ready.load(Ordering::Relaxed))
    }

    /// Counts from here on.
    pub(super) fn forget(&self) {
        for seen in &self.seen {
            let last = seen.last.load(Ordering::Relaxed);
            seen.first.store(last, Ordering::Relaxed);
            seen.left_out.store(0, Ordering::Relaxed);
            seen.bytes.store(0, Ordering::Relaxed);
            seen.messages.store(0, Ordering::Relaxed);
            seen.latencies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }

    /// Waits until the readers have been told of so many rows, or nothing more comes; says when the
    /// last of them came.
    pub(super) async fn all_have(&self, rows: u64) -> Instant {
        let (mut before, mut since) = (self.told(), Instant::now());
        // Whoever drops rows has fewer of them counted.
        while before < rows && since.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(10)).await;
            let now = self.told();
            if now > before {
                (before, since) = (now, Instant::now());
            }
        }
        since
    }

    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    /// Rows that the readers were told of, over all of them: those that came and those that were
    /// left out.
    fn told(&self) -> u64 {
        self.sum(|seen| seen.last.load(Ordering::Relaxed) - seen.first.load(Ordering::Relaxed))
    }

    /// Rows that were left out, over all readers.
    pub(super) fn left_out(&self) -> u64 {
        self.sum(|seen| seen.left_out.load(Ordering::Relaxed))
    }

    /// Rows that came, over all readers.
    pub(super) fn rows(&self) -> u64 {
        self.told().saturating_sub(self.left_out())
    }

    fn sum(&self, figure: impl Fn(&Seen) -> u64) -> u64 {
        self.seen.iter().map(|seen| figure(seen)).sum()
    }

    pub(super) fn messages(&self) -> u64 {
        self.sum(|seen| seen.messages.load(Ordering::Relaxed))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.sum(|seen| seen.bytes.load(Ordering::Relaxed))
    }

    /// Microseconds from the birth of a frame's first row to the reader, sorted.
    pub(super) fn latencies(&self) -> Vec<u32> {
        let mut all = vec![];
        for seen in &self.seen {
            all.extend_from_slice(
                &seen
                    .latencies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
        all.sort_unstable();
        all
    }
}

/// The number behind a mark in a text.
fn number_behind(text: &[u8], mark: &[u8]) -> Option<u64> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    let digits = text[at + mark.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_u64, |n, digit| {
        n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    }))
}

impl Seen {
    /// Notes a message; an error is one here too. Compressed ones are only counted.
    fn take(&self, kind: Kind, payload: &[u8], packed: bool) -> Result<()> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        if packed || payload.starts_with(br#"{"type":"snapshot""#) {
            self.ready.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if payload.starts_with(br#"{"type":"error""#) {
            bail!("{}", String::from_utf8_lossy(payload));
        }
        let tail = &payload[payload.len().saturating_sub(80)..];
        let left_out = number_behind(tail, br#""conflated":"#).unwrap_or_default();
        if kind == Kind::Tungstenite {
            self.last.fetch_add(1, Ordering::Relaxed);
        } else if !payload.starts_with(br#"{"type":"update""#) {
            return Ok(());
        } else if let Kind::Feed(_) = kind {
            // Which of the stream's rows are a reader's own only counting tells: each is an object
            // without others in it, as the message is.
            #[expect(
                clippy::naive_bytecount,
                reason = "it is made into vector instructions"
            )]
            let objects = payload.iter().filter(|byte| **byte == b'{').count() as u64;
            let rows = objects - 1 + left_out;
            self.last.fetch_add(rows, Ordering::Relaxed);
        } else if let Some(last) = number_behind(tail, br#""cursor":"1-1-"#) {
            self.last.store(last, Ordering::Relaxed);
        }
        self.left_out.fetch_add(left_out, Ordering::Relaxed);
        let head = &payload[..payload.len().min(400)];
        if let Some(born) = number_behind(head, br#""at":"#) {
            let micros = (now() - born as i64) / 1_000;
            let mut latencies = self
                .latencies
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            latencies.push(u32::try_from(micros.max(0)).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

/// Reads frames until the connection ends.
async fn read(mut stream: TcpStream, kind: Kind, seen: &Seen) -> Result<()> {
    let (mut buffer, mut filled) = (vec![0; 2_048], 0);
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        seen.bytes.fetch_add(count as u64, Ordering::Relaxed);
        let mut start = 0;
        while let Some((header, length)) = header(&buffer[start..filled])? {
            let end = start + header + length;
            if end > filled {
                break;
            }
            let packed = buffer[start] & 0x40 != 0;
            if buffer[start] & 0x0f == 1 {
                seen.take(kind, &buffer[start + header..end], packed)?;
            }
            start = end;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
}

/// The sizes of a server's frame: header and payload.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let [_, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    Ok(match second {
        0..=125 => Some((2, usize::from(*second))),
        126 => rest
            .first_chunk()
            .map(|n| (4, usize::from(u16::from_be_bytes(*n)))),
        127 => match rest.first_chunk() {
            None => None,
            Some(n) => {
                let length = usize::try_from(u64::from_be_bytes(*n));
                Some((10, length.context("the length of a frame")?))
            }
        },
        _ => bail!("a server's frame is masked"),
    })
}
