//! What the server is told: flags over environment over one YAML file over defaults, by the same
//! names: `--max-connections`, `MILLSTREAM_MAX_CONNECTIONS`, `max_connections:`.
//!
//! A name that is not known is refused wherever it stands. To add one: a field of [`Config`] with
//! its default, and one of [`Flags`].

mod flags;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use config::{Environment, File, FileFormat, Source};
use connectors::options::nearest;
use engine::stream::is_secret;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use crate::auth::{Mode, tls};
pub(crate) use flags::Flags;

/// What the names of environment variables begin with.
const PREFIX: &str = "MILLSTREAM";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The folder for the store and for every job's log, state, late and dead rows.
    pub data: PathBuf,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// HTTP connections at most; more wait until one ends.
    pub max_connections: usize,
    /// Connections of one address of another machine at most.
    pub max_connections_per_address: usize,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// Live connections at most, WebSocket and SSE.
    pub max_live_connections: usize,
    /// Subscriptions of one live connection at most.
    pub max_subscriptions: usize,
    /// The largest frame that a client of a live connection may send, in bytes.
    pub max_frame: usize,
    /// Whether clients have to say who they are.
    pub auth: Mode,
    /// Says again that `auth` is off where other machines can reach the server.
    pub insecure: bool,
    /// The origins of web pages that may use the server besides its own, with commas between
    /// them; `*` are all.
    pub origins: String,
    /// Requests a second of one client; a frame that it sends on a live connection is one.
    pub rate_limit: u32,
    /// Requests of one client at once.
    pub rate_burst: u32,
    /// The PEM file with the certificate and its chain: HTTPS is served then.
    pub tls_certificate: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// Queries that run at once.
    pub max_queries: usize,
    /// What a query may hold in memory, in bytes.
    pub query_memory: usize,
    /// Replays that run at once.
    pub max_replays: usize,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged: `warn`, `info`, or directives such as `info,server=debug`.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data/server"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            max_connections: 20_000,
            max_connections_per_address: 1_000,
            max_body: 8 << 20,
            max_live_connections: 20_000,
            max_subscriptions: 64,
            max_frame: 64 << 10,
            auth: Mode::Auto,
            insecure: false,
            origins: String::new(),
            rate_limit: 1_000,
            rate_burst: 2_000,
            tls_certificate: None,
            tls_key: None,
            max_queries: 4,
            query_memory: 256 << 20,
            max_replays: 2,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Config {
    /// All sources merged, each checked for names that are not known.
    pub(crate) fn read(flags: &Flags) -> Result<Self> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::merge(flags, environment)
    }

    fn merge(flags: &Flags, mut environment: BTreeMap<String, String>) -> Result<Self> {
        let file = environment.remove(&format!("{PREFIX}_CONFIG"));
        let file = flags.config.clone().or(file.map(PathBuf::from));
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator("_")
            .source(Some(environment.into_iter().collect()));
        let defaults = config::Config::try_from(&Self::default()).map_err(wrong)?;
        let given = config::Config::try_from(flags).map_err(wrong)?;
        let mut builder = config::Config::builder().add_source(defaults);
        if let Some(path) = file {
            let told = format!("'{}'", path.display());
            let file = File::from(path).format(FileFormat::Yaml).required(true);
            check(&file, |key| format!("{told} sets '{key}'"))?;
            builder = builder.add_source(file);
        }
        check(&environment, |key| {
            format!("the environment has '{PREFIX}_{}'", key.to_uppercase())
        })?;
        let merged = builder.add_source(environment).add_source(given).build();
        let config: Self = merged
            .and_then(config::Config::try_deserialize)
            .map_err(wrong)?;
        Ok(config)
    }

    /// What takes TLS connections, where there are to be such.
    pub(crate) fn tls(&self) -> Result<Option<TlsAcceptor>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => tls::acceptor(certificate, key).map(Some),
            (None, None) => Ok(None),
            _ => Err(Error::invalid(
                "TLS needs both a certificate and its key: set tls_certificate and tls_key",
            )),
        }
    }

    /// As a YAML file would set it, secrets hidden.
    pub(crate) fn shown(&self) -> Result<String> {
        let value = serde_json::to_value(self)
            .map_err(|error| Error::internal("the settings cannot be written").caused_by(error))?;
        let mut text = String::new();
        for (key, value) in value.as_object().into_iter().flatten() {
            let hidden = is_secret(key) && !value.is_null();
            let _ = match hidden {
                true => writeln!(text, "{key}: '***'"),
                // What JSON writes in one line is YAML.
                false => writeln!(text, "{key}: {value}"),
            };
        }
        Ok(text)
    }
}

/// Refuses names that are not known, with the nearest that is.
fn check(source: &dyn Source, told: impl Fn(&str) -> String) -> Result<()> {
    let known = config::Config::try_from(&Config::default())
        .and_then(|defaults| defaults.collect())
        .map_err(wrong)?;
    let mut names: Vec<&String> = known.keys().collect();
    names.sort();
    let mut given: Vec<String> = source.collect().map_err(wrong)?.into_keys().collect();
    given.sort();
    let Some(key) = given.iter().find(|key| !known.contains_key(*key)) else {
        return Ok(());
    };
    let hint = match nearest(key, names.iter().map(|name| name.as_str())) {
        Some(near) => format!("did you mean '{near}'?"),
        None => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!("known: {}", names.join(", "))
        }
    };
    let told = told(key);
    Err(Error::invalid(format!(
        "{told}, which is no setting; {hint}"
    )))
}

fn wrong(error: config::ConfigError) -> Error {
    Error::invalid("the settings cannot be used").caused_by(error)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("millstream.yaml");
        let text = "data: /a\nmax_body: 1\nmax_connections: 1\nlog_format: json\n";
        std::fs::write(&file, text).unwrap();
        let flags = Flags {
            config: Some(file),
            data: Some("/c".into()),
            ..Flags::default()
        };
        let environment = environment(&[
            ("MILLSTREAM_DATA", "/b"),
            ("MILLSTREAM_MAX_BODY", "2"),
            ("PATH", "/bin"),
        ]);
        let config = Config::merge(&flags, environment).unwrap();
        let expected = Config {
            data: "/c".into(),
            max_body: 2,
            max_connections: 1,
            log_format: LogFormat::Json,
            ..Config::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let refused = |flags: &Flags, pairs| {
            let error = Config::merge(flags, environment(pairs)).unwrap_err();
            error.chain()
        };
        let told = refused(&Flags::default(), &[("MILLSTREAM_LISTN", "x")]);
        let expected = "the environment has 'MILLSTREAM_LISTN', which is no setting; did you mean \
                        'listen'?";
        assert_eq!(told, expected);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "listen: 127.0.0.1:1\nmax_bodi: 3\n").unwrap();
        let flags = Flags {
            config: Some(file),
            ..Flags::default()
        };
        assert!(refused(&flags, &[]).ends_with("did you mean 'max_body'?"));
        let told = refused(&Flags::default(), &[("MILLSTREAM_LISTEN", "nowhere")]);
        assert!(told.contains("listen"), "{told}");
        let absent = [("MILLSTREAM_CONFIG", "/absent.yaml")];
        assert!(refused(&Flags::default(), &absent).contains("absent"));
    }

    #[test]
    fn every_setting_has_a_flag() {
        let value = serde_json::to_value(Config::default()).unwrap();
        let command = Program::command();
        let flags: Vec<String> = command
            .get_arguments()
            .map(|flag| flag.get_id().to_string())
            .collect();
        for key in value.as_object().unwrap().keys() {
            assert!(flags.contains(key), "{key}");
        }
        assert_eq!(flags.len(), value.as_object().unwrap().len() + 1);
    }

    #[test]
    fn what_is_shown_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let config = Config {
            log_level: "info,server='x': #y".to_owned(),
            ..Config::default()
        };
        std::fs::write(&file, config.shown().unwrap()).unwrap();
        let flags = Flags {
            config: Some(file),
            ..Flags::default()
        };
        assert_eq!(Config::merge(&flags, BTreeMap::new()).unwrap(), config);
    }
}
