//! The servers, each in a process of its own, told over standard input what to publish.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use connectors::format::json::objects::Objects;
use engine::graph::{Port, Target};
use engine::{Epoch, StreamSpec, Tap};
use futures::SinkExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use server::live::{Hubs, Limits, Who, upgrade};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::feeding;
use super::readers::{Kind, Look};
use super::rows::{Content, Market};
use crate::{CHILD, job};

/// Ticks a second in `/proc/<pid>/stat`.
const TICKS: f64 = 100.0;

/// A server in a process of its own.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is of no more use, however it ends.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    pub(super) fn start(kind: Kind) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([CHILD, "live", kind.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let output = process.stdout.take().context("no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().parse().context("the address of the server")?;
        Ok(Self {
            kind,
            address,
            process,
            input,
            output,
        })
    }

    /// Publishes so many rows a second; says how many there were.
    pub(super) fn publish(&mut self, rate: f64, seconds: f64) -> Result<u64> {
        writeln!(self.input, "{rate} {seconds}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().context("how many rows were published")
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!(
            "/proc/{}/{file}",
            self.process.id()
        ))?)
    }

    /// Seconds of processor time so far.
    pub(super) fn processor_time(&self) -> Result<f64> {
        let text = self.proc("stat")?;
        let fields = text.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    /// Resident bytes.
    pub(super) fn memory(&self) -> Result<f64> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kibibytes.context("VmRSS")? * 1024.0)
    }
}

/// What publishes rows.
pub(super) type Publish = Box<dyn FnMut(usize) -> Result<()>>;

/// The process of a server: prints its address, publishes what its input asks for.
pub fn child(arguments: &[String]) -> Result<()> {
    let runtime = job::runtime()?;
    let _inside = runtime.enter();
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?;
    let mut publish = match arguments {
        [name] if name == Kind::Millstream.name() => millstream(listener, Content::Indicators)?,
        [name] if name == Kind::Quotes.name() => millstream(listener, Content::Quotes)?,
        [name] if name == Kind::Feed(Look::All).name() => {
            let hubs = Hubs::new(Limits::default());
            let publish = feeding::publish(&hubs)?;
            serve(listener, &hubs);
            publish
        }
        [name] if name == Kind::Tungstenite.name() => tungstenite(listener),
        _ => bail!("the process of 'live' is given a server"),
    };
    // Whoever comes now finds what there is to look at.
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (rate, seconds) = line.split_once(' ').context("a rate and seconds")?;
        let rows = feed(&mut publish, rate.parse()?, seconds.parse()?)?;
        writeln!(out, "{rows}")?;
        out.flush()?;
    }
    Ok(())
}

/// Publishes at an even rate; says how many rows.
fn feed(publish: &mut Publish, rate: f64, seconds: f64) -> Result<u64> {
    let (started, mut rows) = (Instant::now(), 0);
    let step = Duration::from_secs_f64((1.0 / rate).max(0.001));
    while started.elapsed().as_secs_f64() < seconds {
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        if due > rows {
            publish((due - rows) as usize)?;
            rows = due;
        }
        std::thread::sleep(step);
    }
    Ok(rows)
}

/// Serves live windows.
fn serve(listener: TcpListener, hubs: &Hubs) {
    let hubs = hubs.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let hubs = hubs.clone();
            let service = service_fn(move |request| {
                let answer = upgrade(request, &hubs, Who::Anybody);
                std::future::ready(answer.map_err(|refusal| anyhow!(refusal.reason)))
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(serving);
        }
    });
}

fn millstream(listener: TcpListener, content: Content) -> Result<Publish> {
    let hubs = Hubs::new(Limits::default());
    let mut market = Market::new(content);
    let target = Target::new(
        StreamSpec {
            name: "rows".to_owned(),
            connector: "blackhole".to_owned(),
            options: std::collections::BTreeMap::new(),
            schema: market.rows(0)?.schema(),
            metadata: vec![],
            key: vec!["symbol".to_owned()],
        },
        Port::Node(0),
    );
    let hub = hubs.open("bench", &target, 1);
    hub.committed(Epoch(0));
    serve(listener, &hubs);
    Ok(Box::new(move |count| {
        hub.rows(Epoch(1), &market.rows(count)?);
        Ok(())
    }))
}

/// A broadcast, as small as it can be.
fn tungstenite(listener: TcpListener) -> Publish {
    let (sender, _) = broadcast::channel::<Utf8Bytes>(4_096);
    let subscribe = sender.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut messages = subscribe.subscribe();
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let mut socket = tokio_tungstenite::accept_async(stream).await?;
                loop {
                    match messages.recv().await {
                        Ok(text) => socket.send(Message::Text(text)).await?,
                        // Who is slow loses messages.
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return anyhow::Ok(()),
                    }
                }
            });
        }
    });
    let mut market = Market::new(Content::Indicators);
    Box::new(move |count| {
        let rows = market.rows(count)?;
        let objects = Objects::new(rows.schema())?;
        let objects = objects.of(&rows)?;
        for row in 0..count {
            let mut text = vec![];
            objects.write(row, &mut text);
            // Nobody may be there.
            let _ = sender.send(String::from_utf8(text)?.into());
        }
        Ok(())
    })
}
