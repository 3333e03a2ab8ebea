//! The server beside the demo: its job can be looked at over HTTP while it runs live.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use engine::runtime::job::Observer;
use engine::{Graph, Result, Taps};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::listen::Listener;
use crate::script::Plan;
use crate::serve::Server;
use crate::terminal;

/// The folder of the server, below the demo's.
pub(super) const FOLDER: &str = "server";
/// Where it listens, unless something else does.
const PORT: u16 = 8080;

/// A server about to serve.
pub(super) struct Serving {
    server: Server,
    listener: Listener,
}

/// A server that serves.
pub(super) struct Served {
    close: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// What the demo's job is called, and from what it was made.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) sql: &'a str,
    pub(super) options: &'a BTreeMap<String, String>,
    /// The folder with its log.
    pub(super) home: &'a Path,
}

impl Serving {
    /// Opens a server in the demo's folder, with the live windows of the job to be. The demo is
    /// worth seeing without one: where there is none, that is said.
    pub(super) async fn open(data: &Path, name: &str, graph: &Graph) -> (Option<Self>, Taps) {
        match Self::try_open(data).await {
            Ok(serving) => {
                let taps = serving.server.open_windows(name, graph);
                (Some(serving), taps)
            }
            Err(error) => {
                terminal::say(&format!("there is no server beside it: {}", error.chain()));
                (None, Taps::default())
            }
        }
    }

    async fn try_open(data: &Path) -> Result<Self> {
        let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let listener = match Listener::bind(at(PORT)).await {
            Ok(listener) => listener,
            Err(_) => Listener::bind(at(0)).await?,
        };
        let config = Config {
            data: data.join(FOLDER),
            listen: listener.address(),
            ..Config::default()
        };
        let server = Box::pin(Server::open(config)).await?;
        Ok(Self { server, listener })
    }

    /// Shows the job, tells where, and serves in the background.
    pub(super) fn serve(self, shown: &Shown, plan: Plan, observer: Observer) -> Served {
        let Self { server, listener } = self;
        let (sql, options, home) = (shown.sql, shown.options, shown.home);
        server.host(shown.name, sql, options, plan, observer, home);
        let (url, name) = (format!("http://{}", listener.address()), shown.name);
        terminal::say(&format!(
            "The server is at {url}\n  {url}/                      the live page\n  {url}/api/v1/jobs/{name}   the job\n  \
             {url}/docs                  the API\n"
        ));
        let (close, closing) = watch::channel(false);
        let serving = tokio::spawn(Box::pin(server.serve_at(listener, closing)));
        Served { close, serving }
    }
}

impl Served {
    /// Ends it, with what was submitted to it.
    pub(super) async fn end(self) {
        let _ = self.close.send(true);
        let _ = self.serving.await;
    }
}
