//! How to connect: handshake, TLS, and the messages that subscribe.

use std::sync::Arc;
use std::time::Duration;

use engine::stream::without_secrets;
use engine::{Error, Result, StreamSpec};
use futures::SinkExt;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, error::UrlError};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::Options;
use crate::options::invalid;
use crate::tls;

/// How long a connection may take to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Largest message that is taken; a larger one breaks the connection.
const MOST_BYTES: usize = 64 << 20;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where to connect, and what to say there.
pub(super) struct Target {
    request: Request,
    connector: Connector,
    subscriptions: Vec<Message>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Trying again does not help.
    Final(Error),
    /// It may work later.
    Later(String),
}

impl Target {
    pub(super) fn new(stream: &StreamSpec, options: &Options) -> Result<Self> {
        let refused = |reason: &str| invalid(stream, "url", reason);
        let mut request = (*options.url)
            .into_client_request()
            .map_err(|error| refused(&format!("is not a URL: {error}")))?;
        if !["ws", "wss"].contains(&request.uri().scheme_str().unwrap_or_default()) {
            return Err(refused("must begin with 'wss://' or 'ws://'"));
        }
        for (name, value) in &options.headers {
            let key = format!("headers.{name}");
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(stream, &key, "is not the name of a header"))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| invalid(stream, &key, "has a value that no header can have"))?;
            request.headers_mut().insert(name, value);
        }
        let subscriptions = options
            .subscribe
            .as_deref()
            .map(subscriptions)
            .unwrap_or_default();
        Ok(Self {
            request,
            connector: Connector::Rustls(Arc::new(tls::client()?)),
            subscriptions,
        })
    }

    /// The URL as logs may show it.
    pub(super) fn shown(&self) -> String {
        without_secrets(&self.request.uri().to_string())
    }

    /// Connects and subscribes.
    pub(super) async fn connect(&self) -> Result<Socket, Refusal> {
        match timeout(CONNECT_WITHIN, self.open()).await {
            Ok(opened) => opened.map_err(|error| self.judge(error)),
            Err(_) => Err(Refusal::Later(format!(
                "no connection within {CONNECT_WITHIN:?}"
            ))),
        }
    }

    async fn open(&self) -> tungstenite::Result<Socket> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MOST_BYTES))
            .max_frame_size(Some(MOST_BYTES));
        let connector = Some(self.connector.clone());
        // Subscriptions are small and wanted at once: no waiting for more to send.
        let (mut socket, _) = Box::pin(connect_async_tls_with_config(
            self.request.clone(),
            Some(config),
            true,
            connector,
        ))
        .await?;
        for message in &self.subscriptions {
            socket.feed(message.clone()).await?;
        }
        socket.flush().await?;
        Ok(socket)
    }

    fn judge(&self, error: tungstenite::Error) -> Refusal {
        let status = match &error {
            tungstenite::Error::Http(response) => response.status(),
            tungstenite::Error::Url(UrlError::UnableToConnect(_)) => {
                return Refusal::Later(error.to_string());
            }
            tungstenite::Error::Url(_) | tungstenite::Error::HttpFormat(_) => {
                let shown = self.shown();
                let error = Error::invalid(format!("cannot connect to {shown}")).caused_by(error);
                return Refusal::Final(error);
            }
            _ => return Refusal::Later(error.to_string()),
        };
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if !status.is_client_error() || passing.contains(&status) {
            return Refusal::Later(format!("the server answers {status}"));
        }
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; check the key in 'url' or 'headers.*'"
            }
            StatusCode::NOT_FOUND => "; check 'url'",
            _ => "",
        };
        let shown = self.shown();
        Refusal::Final(Error::invalid(format!(
            "{shown} answers {status} to the handshake, trying again would not help{remedy}"
        )))
    }
}

/// One message, or the elements of a JSON array of messages.
fn subscriptions(text: &str) -> Vec<Message> {
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) => elements
            .into_iter()
            .map(
                |element| match serde_json::from_str::<String>(element.get()) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::text(element.get()),
                },
            )
            .collect(),
        Err(_) => vec![Message::text(text)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_one_message_or_many() {
        let texts = |text| -> Vec<String> {
            let messages = subscriptions(text).into_iter();
            messages
                .map(|message| message.into_text().unwrap().to_string())
                .collect()
        };
        assert_eq!(texts(r#"{"op": "go"}"#), [r#"{"op": "go"}"#]);
        assert_eq!(texts("SUBSCRIBE all"), ["SUBSCRIBE all"]);
        assert_eq!(
            texts(r#"[{"a":  1}, "ping", [2]]"#),
            [r#"{"a":  1}"#, "ping", "[2]"]
        );
    }
}
