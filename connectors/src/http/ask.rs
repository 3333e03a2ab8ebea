//! One request: what a command asks of a server.

use std::time::Duration;

use engine::{Error, Result};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Url};

use super::request::is_local;
use crate::tls;

/// Makes a request, with JSON where there is some and with a key where there is one; the status and
/// the body of the answer. It takes as long as the server does.
pub async fn ask(
    method: &str,
    url: &str,
    key: Option<&str>,
    body: Option<Vec<u8>>,
) -> Result<(u16, Vec<u8>)> {
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|error| Error::internal("no method of HTTP").caused_by(error))?;
    let wrong = |error| Error::invalid(format!("'{url}' is not a URL")).caused_by(error);
    let url = Url::parse(url).map_err(wrong)?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::client()?)
        .user_agent(concat!("millstream/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10));
    if is_local(&url) {
        builder = builder.no_proxy();
    }
    let client = builder
        .build()
        .map_err(|error| Error::internal("cannot set up an HTTP client").caused_by(error))?;
    let mut request = client.request(method, url.clone());
    if let Some(body) = body {
        let json = HeaderValue::from_static("application/json");
        request = request.header(CONTENT_TYPE, json).body(body);
    }
    if let Some(key) = key {
        let bearer = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut bearer = bearer.map_err(|_| Error::invalid("the key is no text of a header"))?;
        bearer.set_sensitive(true);
        request = request.header(AUTHORIZATION, bearer);
    }
    let failed = |error: reqwest::Error| {
        Error::unavailable(format!(
            "{} does not answer",
            url.origin().ascii_serialization()
        ))
        .caused_by(error.without_url())
    };
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.map_err(failed)?;
    Ok((status, body.to_vec()))
}
