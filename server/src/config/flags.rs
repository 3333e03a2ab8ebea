//! The settings as flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::LogFormat;
use crate::auth::Mode;

/// The flags of `serve` and `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Args)]
pub(crate) struct Flags {
    /// A YAML file with settings [environment: `MILLSTREAM_CONFIG`]
    #[arg(long, value_name = "FILE.yaml")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// The folder for everything that is kept [default: data/server]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// HTTP connections at most
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_connections: Option<usize>,
    /// Connections of one address of another machine at most
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_connections_per_address: Option<usize>,
    /// The largest body of a request, in bytes
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_body: Option<usize>,
    /// Live connections at most, WebSocket and SSE
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_live_connections: Option<usize>,
    /// Subscriptions of one live connection at most
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_subscriptions: Option<usize>,
    /// The largest frame that a live client may send, in bytes
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_frame: Option<usize>,
    /// Whether clients need a key [default: auto, unless only this machine can connect]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<Mode>,
    /// Says again that auth is off where other machines can connect
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Option<bool>,
    /// Web pages that may use the server besides its own
    #[arg(long, value_name = "ORIGIN,…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origins: Option<String>,
    /// Requests a second of one client; a frame that it sends on a live connection is one
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_limit: Option<u32>,
    /// Requests of one client at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_burst: Option<u32>,
    /// The certificate and its chain: HTTPS is served then
    #[arg(long, value_name = "FILE.pem")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long, value_name = "FILE.pem")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Queries that run at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_queries: Option<usize>,
    /// What a query may hold in memory, in bytes
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query_memory: Option<usize>,
    /// Replays that run at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_replays: Option<usize>,
    /// How log lines are written [default: text]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged: warn, info, or directives such as info,server=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_level: Option<String>,
}
